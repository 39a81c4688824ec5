"""A bank statement with a customer's transfer: it pays the invoice and activates the account."""

from contextlib import closing

from sqlalchemy import select

from billing.context import Context
from cli.demo import camt053
from cli.demo.accounts import BANK_PAYER, IDS, status_and_credits
from cli.demo.camt053 import Credit
from cli.demo.stage import Outcome, Stage
from models.operations import OutboxEvent
from models.transfers import Transfer
from worker.database import engine, transaction

ABOUT = "The main app leaves a camt.053 file; a worker matches its lines with open invoices."
#: The plan that the account asks for: 89.00 USD a month.
STARTER = 2
PAID_MINOR, UNKNOWN_MINOR = 8900, 4200


def run(stage: Stage) -> list[Outcome]:
    """Announce a transfer, then import a bank file that holds it and one from somebody unknown."""
    stage.client.announce_transfer(IDS[BANK_PAYER], STARTER, key="demo:announce:1")
    stage.settle()
    with transaction() as ctx:
        reference = _reference(ctx)
        issued = "invoice issued" if reference else "no invoice"
        announced = f"{issued}: {status_and_credits(ctx, BANK_PAYER)}"
    _import(stage, reference)
    stage.settle()
    with transaction() as ctx:
        paid = f"{_state(ctx, PAID_MINOR)}: {status_and_credits(ctx, BANK_PAYER)}"
        unknown = _state(ctx, UNKNOWN_MINOR)
    pending = "invoice issued: account pending_payment, 0 credits"
    return [
        Outcome(f"{BANK_PAYER}: announces a transfer", announced, pending),
        Outcome(f"line of 89.00 USD, {reference}", paid, "settled: account active, 1,000 credits"),
        Outcome("line of 42.00 USD, no reference", unknown, "waiting for review"),
    ]


def _reference(ctx: Context) -> str | None:
    """Read the reference to pay with, from the event that tells the main app of the invoice."""
    issued = select(OutboxEvent.payload).where(
        OutboxEvent.type == "invoice.issued", OutboxEvent.account_id == IDS[BANK_PAYER]
    )
    payload = ctx.session.scalars(issued).first()
    return str(payload["reference"]) if payload else None


def _import(stage: Stage, reference: str | None) -> None:
    """Leave the file in a transaction of the main app, then queue its import."""
    content = camt053.statement(
        Credit(PAID_MINOR, payer="Bank Payer Inc.", reference=reference),
        Credit(UNKNOWN_MINOR, payer="Somebody Else", text="thank you"),
    )
    with closing(engine().raw_connection()) as connection:
        file_id = stage.client.import_statement_in(connection, content, name="demo.camt053.xml")
        connection.commit()
    stage.client.import_statement(file_id)


def _state(ctx: Context, amount_minor: int) -> str:
    of_amount = select(Transfer).where(Transfer.amount_minor == amount_minor)
    transfer = ctx.session.scalars(of_amount).one_or_none()
    if transfer is None:
        return "not imported"
    return "waiting for review" if transfer.review else transfer.state
