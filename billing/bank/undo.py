"""Undoing what a transfer did: by counter-entries that name what they undo, never by a change."""

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from billing.bank import allocate, invoice_effects
from billing.context import Context
from billing.host import accounts
from models.transfers import Allocation, Transfer, UnappliedCash


def take_out(ctx: Context, transfer: Transfer, *, decision_id: int) -> list[int]:
    """Undo all that a transfer did, by counter-entries; returns the accounts that it touched.

    Invoices are open again, what they had bought goes back as far as it is unspent, and an
    account's unapplied cash may go below zero where it was used since. The transfer is locked.
    """
    given = _not_undone(ctx.session, transfer)
    credited = kept(ctx.session, transfer)
    wanted = sorted({one.transfer_invoice_id for one in given})
    accounts.lock(ctx.session, credited)
    locked = allocate.lock_invoices(ctx.session, wanted)
    for one in given:
        ctx.session.execute(
            insert(Allocation).values(
                transfer_id=transfer.id,
                transfer_invoice_id=one.transfer_invoice_id,
                amount_minor=-one.amount_minor,
                decision_id=decision_id,
                undoes=one.id,
                recorded_at=ctx.now,
            )
        )
        locked[one.transfer_invoice_id].settled_minor -= one.amount_minor
        transfer.allocated_minor -= one.amount_minor
        ctx.session.flush()
        allocate.write_payment(ctx, transfer, locked[one.transfer_invoice_id])
    for account_id, amount in sorted(credited.items()):
        allocate.credit(ctx, transfer, account_id, -amount, "undone", decision_id=decision_id)
    ctx.session.flush()
    for invoice in sorted(locked.values(), key=lambda one: one.id):
        invoice_effects.follow(ctx, invoice)
    return sorted({*credited, *(invoice.account_id for invoice in locked.values())})


def _not_undone(session: Session, transfer: Transfer) -> list[Allocation]:
    undone = select(Allocation.undoes).where(
        Allocation.transfer_id == transfer.id, Allocation.undoes.is_not(None)
    )
    rows = select(Allocation).where(
        Allocation.transfer_id == transfer.id,
        Allocation.undoes.is_(None),
        Allocation.id.not_in(undone),
    )
    return list(session.scalars(rows.order_by(Allocation.id)))


def kept(session: Session, transfer: Transfer) -> dict[int, int]:
    """What of this transfer is in which account's unapplied cash."""
    rows = (
        select(UnappliedCash.account_id, func.sum(UnappliedCash.amount_minor))
        .where(UnappliedCash.transfer_id == transfer.id)
        .group_by(UnappliedCash.account_id)
    )
    return {account: int(total) for account, total in session.execute(rows) if total}
