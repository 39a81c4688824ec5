"""From the main app's message to an activated account, through a real broker and a real worker."""

import io

import pytest
import sqlalchemy as sa

from billing.bank.intake import accounts as bank_accounts
from billing.bank.intake import files as bank_files
from billing_client import AnnounceTransfer, ConfirmTransfer, ImportStatement
from models.host import Invoice, Plan, User
from models.transfers import Transfer, TransferInvoice
from tests.billing.bank.story import line, statement
from tests.billing.statements.writing import OWN_IBAN
from tests.worker.conftest import wait_until
from worker import clock
from worker.database import transaction

pytestmark = pytest.mark.usefixtures("standing")


@pytest.fixture
def acme(ledger):
    """A customer in trial, a plan with a price, and a bank account of ours in dollars."""
    account_id = ledger.open_account("acme", status="trial")
    with transaction() as ctx:
        ctx.session.execute(sa.update(Plan).values(price=89))
        bank_accounts.add(ctx.by("test"), OWN_IBAN, currency="USD", source_format="camt.053")
    return account_id


def announced(client, acme):
    client.send(AnnounceTransfer(acme, 1, "announce:1"))
    return wait_until(lambda: one(sa.select(TransferInvoice)))


def received(client, **details):
    file = statement(line("89.00", currency="USD", **details), day=clock.now().date())
    content = io.BytesIO(file.replace(b"EUR", b"USD"))
    with transaction() as ctx:
        file_id = bank_files.receive(ctx, content, name="a file").id
    client.send(ImportStatement(file_id))


def one(query):
    with transaction() as ctx:
        return ctx.session.scalars(query).first()


def test_an_announced_transfer_that_comes_with_its_reference_activates(client, acme, ledger):
    invoice = announced(client, acme)

    received(client, reference=invoice.reference)

    wait_until(lambda: ledger.see("acme").status == "active")
    assert one(sa.select(Invoice.status)) == "paid"
    assert ledger.lots("acme") == {"plan": 1000}


def test_a_transfer_without_a_reference_is_confirmed_by_a_reviewer(client, acme, ledger):
    invoice = announced(client, acme)
    with transaction() as ctx:
        user_id = ctx.session.execute(
            sa.insert(User).values(email="dev@example.com", role="developer").returning(User.id)
        ).scalar_one()
    received(client, text="first month")
    waiting = wait_until(lambda: one(sa.select(Transfer).where(Transfer.state == "waiting")))

    client.send(ConfirmTransfer(waiting.id, waiting.version, invoice.invoice_id, user_id))

    wait_until(lambda: ledger.see("acme").status == "active")
