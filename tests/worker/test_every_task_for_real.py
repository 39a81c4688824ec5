"""Each task, by its message, through a real worker: its end in Flower, its log line, no dead letter."""

import datetime as dt
import io
import json

import pytest
import sqlalchemy as sa

import celeryconfig
from billing.bank.intake import accounts as bank_accounts
from billing.bank.intake import files as bank_files
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.stripe import events, inbox
from billing.stripe.signature import sign
from billing_client import messages
from models.host import Plan, User
from models.operations import DeadLetter
from models.transfers import Transfer, TransferInvoice
from tests.billing.bank.story import line, statement
from tests.billing.statements.writing import OWN_IBAN
from tests.billing.stripe.door import SECRET, body_of
from tests.billing.stripe.test_real_workers import watched
from tests.billing.stripe.writing import MONTH_S, Shop
from tests.worker.conftest import wait_until
from worker import clock
from worker.app import app
from worker.database import transaction

#: The doorbell of the inbox wakes the reader of debits, which shows what it finds there.
DOORBELL = messages.DrainInbox.TASK
#: Flower shows each debit of a message of many.
SHOWN_AS = {messages.DebitMany.TASK: messages.Debit.TASK}
WORKERS = ("credits,bank,maintenance,stripe", "debits")


@pytest.fixture
def workers(monkeypatch, start):
    monkeypatch.setenv("BILLING_STRIPE_WEBHOOK_SECRETS", SECRET)
    general = start("general", "-Q", WORKERS[0], "--concurrency", "1", "--task-events")
    reader = start("debits", "-Q", WORKERS[1], "--pool", "solo", "--task-events")
    return general, reader


@pytest.fixture
def acme(ledger):
    """A trial customer with credits, a customer at Stripe, a bank account of ours and a reviewer."""
    ledger.now = clock.now()
    acme = ledger.open_account("acme", status="trial", credits=0, stripe_customer_id="cus_1")
    with transaction() as ctx:
        ctx.session.execute(sa.update(Plan).values(price=89))
        ctx.session.execute(sa.insert(User).values(id=7, email="dev@x.example", role="developer"))
        bank_accounts.add(ctx.by("test"), OWN_IBAN, currency="USD", source_format="camt.053")
    return acme


@pytest.fixture
def expired(ledger):
    """A customer whose trial expired a month ago."""
    ledger.now = clock.now() - dt.timedelta(days=60)
    expired = ledger.open_account("expired", status="trial")
    ledger.sweep(trial_sweeps.begin_missing)
    ledger.now = clock.now() - dt.timedelta(days=30)
    ledger.sweep(trial_sweeps.expire_due)
    return expired


class Story:
    """The messages of every task, in an order in which each finds what it needs."""

    def __init__(self, acme, expired):
        self.acme, self.expired = acme, expired

    def told(self):
        """Each message; the caller waits for its end before it asks for the next."""
        acme, later = self.acme, clock.now() + dt.timedelta(days=20)
        yield messages.SeedAccount(acme)
        yield messages.Grant(acme, 500, "goodwill", "grant:1")
        yield messages.Debit(acme, "image_prompt_extraction", "debit:1")
        yield messages.DebitMany([messages.Debit(acme, "image_prompt_extraction", "debit:2")])
        yield messages.Reverse(acme, "debit:1")
        for key in ("hold:1", "hold:2"):
            yield messages.PlaceHold(acme, "image_prompt_extraction", key)
        yield messages.Capture(acme, "hold:1")
        yield messages.Release(acme, "hold:2")
        yield messages.ExtendTrial(acme, later)
        yield messages.RestoreTrial(self.expired, later)
        yield from self._bank()
        yield from self._stripe()
        yield messages.PaymentMethodChanged(acme)

    def _bank(self):
        yield messages.AnnounceTransfer(self.acme, 1, "announce:1")
        invoice = one(sa.select(TransferInvoice))
        lines = [line("89.00", currency="USD", text=text) for text in ("first", "second")]
        file = statement(*lines, day=clock.now().date())
        yield messages.ImportStatement(self._received(file.replace(b"EUR", b"USD")))
        first, second = wait_until(lambda: waiting(2))
        yield messages.ConfirmTransfer(first.id, first.version, invoice.invoice_id, 7)
        yield messages.RejectTransfer(second.id, second.version, 7, "a stranger's")

    def _received(self, file):
        with transaction() as ctx:
            return bank_files.receive(ctx, io.BytesIO(file), name="a file").id

    def _stripe(self):
        shop = Shop(now=int(clock.now().timestamp()), customer="cus_1")
        line_ = shop.line(shop.price(), start=shop.now, end=shop.now + MONTH_S)
        shop.event("invoice.paid", shop.invoice([line_], status="paid", amount_paid=8900))
        shop.event("customer.updated", {"id": "cus_1", "object": "customer"})
        first, second = shop.events
        body = body_of(first)
        now = clock.now()
        yield messages.StripeWebhook(body.decode(), sign(body, secret=SECRET, at=now), now)
        with transaction() as ctx:
            event = events.of_payload(second)
            number = inbox.store(ctx, event, source="webhook", received_at=ctx.now)
        yield messages.ApplyStripeEvent(number)
        yield messages.AnnounceCheckout(self.acme, "cs_test_1")


def one(query):
    with transaction() as ctx:
        return ctx.session.scalars(query).one()


def waiting(count):
    with transaction() as ctx:
        rows = ctx.session.scalars(sa.select(Transfer).where(Transfer.state == "waiting")).all()
    return rows if len(rows) == count else None


def names_of_tasks():
    app.loader.import_default_modules()
    # Other tests of this process may have added tasks of their own.
    return {name for name in app.tasks if not name.startswith(("celery.", "busywork."))}


def lines_of(worker, event):
    lines = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_each_task_ends_in_success_with_one_line_and_no_dead_letter(
    ledger, expired, acme, client, redis_client, workers
):
    general, _ = workers
    sent = []
    with app.connection_for_read() as connection, watched(connection) as ended:

        def await_end(name):
            sent.append(name)
            wait_until(lambda: len(ended) >= len(sent), lambda: f"{name}: {ended[-3:]}")

        for message in Story(acme, expired).told():
            client.send(message)
            await_end(message.TASK)
        for name in celeryconfig.beat_schedule.keys() - {DOORBELL}:
            app.send_task(name, argsrepr="", kwargsrepr="")
            await_end(name)

    assert ended == [("task-succeeded", SHOWN_AS.get(name, name)) for name in sent]
    assert set(sent) == names_of_tasks() - {DOORBELL}
    lines = [line["task"] for line in lines_of(general, "task_done")]
    by_batch = {each.TASK for each in messages.MESSAGES.values() if each.QUEUE == "debits"}
    assert lines == [name for name in sent if name not in by_batch]
    with transaction() as ctx:
        assert ctx.session.scalars(sa.select(DeadLetter)).all() == []
    assert ledger.audit().agrees
