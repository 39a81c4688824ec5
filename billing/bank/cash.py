"""Movements of unapplied cash: an account's money that is on no invoice."""

from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.orm import Session

from billing.bank import invoice_effects
from billing.context import Context
from billing.host.invoices import MirroredPayment
from models.transfers import Allocation, Transfer, TransferInvoice, UnappliedCash


def balance(session: Session, account_id: int, currency: str) -> int:
    """Read the account's unapplied minor units."""
    total = select(func.coalesce(func.sum(UnappliedCash.amount_minor), 0)).where(
        UnappliedCash.account_id == account_id, UnappliedCash.currency == currency
    )
    return int(session.execute(total).scalar_one())


def record(ctx: Context, invoice: TransferInvoice, amount: int, why: str, decision_id: int) -> None:
    """Record cash that was taken off an invoice, or used for it if the amount is negative."""
    values = {
        "account_id": invoice.account_id,
        "currency": invoice.currency,
        "amount_minor": amount,
        "why": f"{why} {invoice.number}",
        "decision_id": decision_id,
        "recorded_at": ctx.now,
    }
    ctx.session.execute(insert(UnappliedCash).values(values))


def payment(
    ctx: Context, invoice: TransferInvoice, amount: int, decision_id: int, *, status: str
) -> MirroredPayment:
    """The main app's payment of an invoice with cash, by the decision to use it."""
    return MirroredPayment(
        account_id=invoice.account_id,
        invoice_id=invoice.invoice_id,
        method=invoice_effects.METHOD,
        external_id=f"billing:credit:{decision_id}",
        status=status,
        currency=invoice.currency,
        amount_minor=amount,
        happened_at=ctx.now,
    )


def not_undone(session: Session, condition: ColumnElement[bool]) -> list[Allocation]:
    """The allocations that put money on invoices and were not undone, oldest first."""
    undone = select(Allocation.undoes).where(Allocation.undoes.is_not(None))
    rows = select(Allocation).where(
        condition, Allocation.undoes.is_(None), Allocation.id.not_in(undone)
    )
    return list(session.scalars(rows.order_by(Allocation.id)))


def uses_without(
    session: Session, transfer: Transfer, account_id: int, credited: int
) -> list[Allocation]:
    """The uses of an account's cash that it can't pay without this transfer, the newest first.

    `credited`: the part of the transfer that is the account's cash.
    """
    missing = credited - balance(session, account_id, transfer.currency)
    of_account = select(TransferInvoice.id).where(
        TransferInvoice.account_id == account_id, TransferInvoice.currency == transfer.currency
    )
    condition = Allocation.transfer_id.is_(None), Allocation.transfer_invoice_id.in_(of_account)
    uses: list[Allocation] = []
    if missing > 0:
        for row in reversed(not_undone(session, condition[0] & condition[1])):
            if sum([use.amount_minor for use in uses]) < missing:
                uses.append(row)
    return uses
