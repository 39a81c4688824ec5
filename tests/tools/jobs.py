"""The jobs whose trips are traced: five, each from its flow and from its Celery task.

A job's function lays its ground and returns `job(slug)`, which makes one more of its kind for an
account of this name. The task's trip has the reading of the message and the task's base besides.
"""

import datetime as dt
import io
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from billing.bank.intake import files
from billing.lifecycle.trials import sweeps
from billing_client import Debit, new_key
from flows.bank import import_file, match
from flows.stripe import batch
from tasks import bank, credits, life, stripe
from tests.billing.bank.customers import Customers
from tests.billing.bank.story import line, statement
from tests.billing.lifecycle.conftest import Life
from tests.billing.stripe.door import Door, body_of, webhook
from tests.billing.stripe.writing import MONTH_S, Shop
from tests.story import Ledger
from tests.worker.rawmessages import message, raw
from worker import clock
from worker.app import app
from worker.database import transaction
from worker.debits.reader import DebitReader
from worker.transport import queues

#: The accounts that warm up, and the one that is traced.
WARM, TRACED = ("first", "second"), "traced"
_IBANS = {
    "first": "DE89370400440532013000",
    "second": "GB29NWBK60161331926819",
    "traced": "FR1420041010050500013M02606",
}


class Job(NamedTuple):
    """The call to trace, and whether it did its work."""

    run: Callable[[], object]
    is_done: Callable[[], bool]


def debit(*, by_task):
    """One debit of an account with credits: a batch of one for the debit reader, or a stock task."""
    ledger = Ledger()
    app.loader.import_default_modules()
    reader = DebitReader(app, "debits@trips")

    def job(slug):
        account_id = ledger.open_account(slug)
        ledger.grant(slug, 1000, key=f"grant:{slug}")
        arguments = Debit(account_id, "clustering", new_key()).arguments()
        run = partial(credits.debit, **arguments)
        if not by_task:
            queues.connection().lpush(Debit.QUEUE, raw(message(**arguments)))
            run = reader.read_batch
        return Job(run, lambda: ledger.see(slug).credits == 990)

    return job


def invoice_paid(*, by_task):
    """A signed webhook: the first invoice of a known customer's subscription is paid."""
    ledger = Ledger(now=clock.now())
    shop = Shop(now=int(ledger.now.timestamp()))
    ledger.plan()
    Door().post(shop.event("price.created", shop.price()))

    def job(slug):
        shop.customer = f"cus_{slug}"
        ledger.open_account(slug, status="trial", stripe_customer_id=shop.customer)
        bought = shop.line(shop.price(), start=shop.now, end=shop.now + MONTH_S)
        how = {"subscription": f"sub_{slug}", "amount_paid": 8900}
        invoice = shop.invoice([bought], status="paid", **how)
        posted = webhook(body_of(shop.event("invoice.paid", invoice)))
        run = (
            partial(stripe.receive, **posted.arguments())
            if by_task
            else partial(batch.work, posted)
        )
        return Job(run, lambda: ledger.see(slug).credits == 1000)

    return job


def bank_match(*, by_task):
    """A transfer with its invoice's reference is matched, and its account becomes active."""
    customers = _customers()

    def job(slug):
        customers.open_account(slug, status="trial")
        reference = customers.announce(slug).reference
        paid = line("89.00", reference=reference, payer=slug, iban=_IBANS[slug])
        number = len(customers.ids)
        when = {"number": number, "day": customers.now.date()}
        customers.bank.receive(statement(paid, opening=8900 * (number - 1), **when))
        run = bank.match_due if by_task else match.run
        return Job(run, lambda: customers.status(slug) == "active")

    return job


def bank_import(*, by_task):
    """A camt.053 file of three lines that pay no invoice; its task matches them too."""
    customers = _customers()
    slugs = []

    def job(slug):
        opening = 750 * len(slugs)
        slugs.append(slug)
        fee = line("7.50", text=slug, mark="DBIT")
        lines = [line("12.00", text=slug), line("3.00", text=slug), fee]
        when = {"number": len(slugs), "day": customers.now.date()}
        content = io.BytesIO(statement(*lines, opening=opening, **when))
        with transaction() as ctx:
            file_id = files.receive(ctx, content, name=slug).id
        run = partial(import_file.import_file, file_id)
        if by_task:
            run = partial(bank.import_statement, file_id=file_id)
        return Job(run, lambda: len(customers.bank.amounts()) == 3 * len(slugs))

    return job


def _customers():
    customers = Customers(now=clock.now())
    customers.bank.now = customers.now
    customers.bank.register()
    customers.sell("starter", 89)
    return customers


def trial_end(*, by_task):
    """A trial is over: the account is suspended. Its task sweeps in two threads, until none is due."""
    accounts = Life()

    def job(slug):
        accounts.now = clock.now() - dt.timedelta(days=40)
        accounts.try_out(slug)
        run = life.expire_due if by_task else _end_trials
        return Job(run, lambda: accounts.status(slug) == "suspended")

    return job


def _end_trials():
    with transaction() as ctx:
        sweeps.expire_due(ctx)
