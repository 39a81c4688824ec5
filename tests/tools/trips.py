"""`python -m tests.tools.trips [NAME…] [--show]`: how many files a job passes from task to commit.

Each job is done twice before, so that imports and caches are warm, then traced on an account of its
own. A name that ends in `-task` starts at the Celery task, its message's reading
included; the same name without it starts at the function that does the work.
"""

import contextlib
import datetime as dt
import io
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import click
import pytest

from tests.tools.tracer import Trip, trace

#: The accounts that warm up, and the one that is traced.
WARM, TRACED = ("first", "second"), "traced"
IBANS = {
    "first": "DE89370400440532013000",
    "second": "GB29NWBK60161331926819",
    "traced": "FR1420041010050500013M02606",
}


class Job(NamedTuple):
    """What is traced, and whether it did what it is for."""

    run: Callable[[], object]
    is_done: Callable[[], bool]


def debit(*, by_task):
    """One debit of an account with credits: as a batch of the reader, or as a stock task."""
    from billing_client import Debit, new_key
    from tasks import credits
    from tests.story import Books
    from tests.worker.rawmessages import message, raw
    from worker import mailbox
    from worker.app import app
    from worker.debit_reader import DebitReader

    books = Books()
    app.loader.import_default_modules()
    reader = DebitReader(app, "debits@trips")

    def job(slug):
        account_id = books.open_account(slug)
        books.grant(slug, 1000, key=f"grant:{slug}")
        arguments = Debit(account_id, "clustering", new_key()).arguments()
        run = partial(credits.debit, **arguments)
        if not by_task:
            mailbox.connection().lpush(Debit.QUEUE, raw(message(**arguments)))
            run = reader.read_one_set
        return Job(run, lambda: books.see(slug).credits == 990)

    return job


def invoice_paid(*, by_task):
    """A signed webhook: a subscription's invoice of a known customer is paid, its first."""
    from billing_client.messages import StripeWebhook
    from tasks import stripe
    from tests.story import Books
    from tests.stripe.door import Door, body_of, webhook
    from tests.stripe.writing import MONTH_S, Shop
    from worker import clock, stripe_queue

    books = Books(now=clock.now())
    shop = Shop(now=int(books.now.timestamp()))
    books.plan()
    Door().post(shop.event("price.created", shop.price()))

    def job(slug):
        books.open_account(slug, status="trial", stripe_customer_id=f"cus_{slug}")
        shop.customer = f"cus_{slug}"
        line = shop.line(shop.price(), start=shop.now, end=shop.now + MONTH_S)
        invoice = shop.invoice([line], status="paid", subscription=f"sub_{slug}", amount_paid=8900)
        message = webhook(body_of(shop.event("invoice.paid", invoice)))
        run = partial(stripe_queue.work, message)
        if by_task:
            run = partial(_receive, stripe.receive, message)
        return Job(run, lambda: books.see(slug).credits == 1000)

    def _receive(task, message: StripeWebhook):
        # After the commit its log line fails today, for its answer has a field `event`.
        with contextlib.suppress(TypeError):
            task(**message.arguments())

    return job


def bank_match(*, by_task):
    """A transfer with its invoice's reference is matched, and its account becomes active."""
    from tasks import bank
    from tests.bank.story import line, statement
    from worker import transfer_runs

    customers = _customers()

    def job(slug):
        customers.open_account(slug, status="trial")
        reference = customers.announce(slug).reference
        paid = line("89.00", reference=reference, payer=slug, iban=IBANS[slug])
        number = len(customers.ids)
        opening = 8900 * (number - 1)
        day = customers.now.date()
        customers.bank.receive(statement(paid, number=number, opening=opening, day=day))
        run = bank.match_due if by_task else transfer_runs.run
        return Job(run, lambda: customers.status(slug) == "active")

    return job


def bank_import(*, by_task):
    """A camt.053 file of three lines that pay no invoice; its task matches them too."""
    from billing.bank import files
    from tasks import bank
    from tests.bank.story import line, statement
    from worker import statement_imports
    from worker.database import transaction

    customers = _customers()
    closings = [0]

    def job(slug):
        fee = line("7.50", text=slug, mark="DBIT")
        lines = [line("12.00", text=slug), line("3.00", text=slug), fee]
        opening, number = closings[-1], len(closings)
        closings.append(opening + 750)
        content = statement(*lines, number=number, opening=opening, day=customers.now.date())
        with transaction() as session:
            file = files.receive(session, io.BytesIO(content), name=slug, now=customers.now)
        run = partial(statement_imports.import_file, file.id)
        if by_task:
            run = partial(bank.import_statement, file_id=file.id)
        return Job(run, lambda: len(customers.bank.amounts()) == 3 * number)

    return job


def _customers():
    from tests.bank.customers import Customers
    from worker import clock

    customers = Customers(now=clock.now())
    customers.bank.now = customers.now
    customers.bank.register()
    customers.sell("starter", 89)
    return customers


def trial_end(*, by_task):
    """A trial is over: the account is suspended."""
    from billing import trial_sweeps
    from tasks import life
    from tests.life.conftest import Life
    from worker import clock
    from worker.database import transaction

    accounts = Life()

    def end(now):
        with transaction() as session:
            trial_sweeps.expire_due(session, now=now)

    def job(slug):
        accounts.now = clock.now() - dt.timedelta(days=40)
        accounts.try_out(slug)
        run = life.expire_due if by_task else partial(end, clock.now())
        return Job(run, lambda: accounts.status(slug) == "suspended")

    return job


TRIPS = {
    "debit": partial(debit, by_task=False),
    "debit-task": partial(debit, by_task=True),
    "invoice-paid": partial(invoice_paid, by_task=False),
    "invoice-paid-task": partial(invoice_paid, by_task=True),
    "bank-match": partial(bank_match, by_task=False),
    "bank-match-task": partial(bank_match, by_task=True),
    "bank-import": partial(bank_import, by_task=False),
    "bank-import-task": partial(bank_import, by_task=True),
    "trial-end": partial(trial_end, by_task=False),
    "trial-end-task": partial(trial_end, by_task=True),
}


def trip_of(name) -> Trip:
    """Trace the trip of this name, in the database and the Redis of the environment, both emptied."""
    from tests.conftest import empty_database
    from tests.stripe.door import SECRET
    from worker import mailbox
    from worker.settings import settings

    empty_database()
    mailbox.connection().flushdb()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BILLING_STRIPE_WEBHOOK_SECRETS", SECRET)
        environment.setenv("BILLING_INVOICE_CURRENCY", "EUR")
        settings.cache_clear()
        job = TRIPS[name]()
        for slug in WARM:
            _run(job(slug))
        trip = _run(job(TRACED), trace)
    settings.cache_clear()
    return trip


def _run(job, how=lambda run: run()):
    answer = how(job.run)
    assert job.is_done()
    return answer


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(list(TRIPS)))
@click.option("--files", is_flag=True, help="List the files of each trip, and how often it enters each.")
@click.option("--show", is_flag=True, help="Show each trip, one line a change of file.")
def main(names, files, show):
    """Trace trips on embedded servers and print how many files each passes, and the changes."""
    from bench.stack import bench_stack
    from worker import logs

    with bench_stack():
        logs.configure("ERROR")
        trips = {name: trip_of(name) for name in names or TRIPS}
    click.echo(f"{'NAME':20}{'files':>6}{'changes':>9}")
    for name, trip in trips.items():
        click.echo(f"{name:20}{trip.files:6}{trip.changes:9}")
    for name, trip in trips.items():
        if files:
            _list(name, [f"{count:4} {file}" for file, count in trip.entries.items()])
        if show:
            _list(name, [f"{visit.file}: {', '.join(visit.functions)}" for visit in trip.visits])


def _list(name, lines):
    click.echo(f"\n{name}")
    for number, line in enumerate(lines, start=1):
        click.echo(f"{number:4} {line}")


if __name__ == "__main__":
    main()
