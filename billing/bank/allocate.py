"""A decision about a transfer made true: allocations, unapplied cash, and what follows from them.

One transaction, in this order of locks: the transfer, accounts by id, invoices by id. Money moves
by guarded deltas, so that a transfer never gives more than it has, nor an invoice gets more than is
open, whatever two workers do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from billing.bank import invoice_effects
from billing.bank.errors import PartsRefused, TransferChanged, UnknownInvoice, UnknownTransfer
from billing.bank.matching import payers
from billing.bank.matching.types import ENGINE_VERSION
from billing.context import Context
from billing.events import outbox
from billing.host import accounts, invoices
from billing.host.invoices import MirroredPayment
from models.transfers import Allocation, Decision, Transfer, TransferInvoice, UnappliedCash

Parts = Sequence[tuple[int, int]]


def lock(session: Session, transfer_id: int, *, version: int | None = None) -> Transfer:
    """The transfer, locked. Raises UnknownTransfer, or TransferChanged if it is at another version.

    Waits for whoever decides about it now, then sees what they decided.
    """
    row = (
        select(Transfer)
        .where(Transfer.id == transfer_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    transfer = session.scalars(row).first()
    if transfer is None:
        raise UnknownTransfer(transfer_id=transfer_id)
    if version is not None and transfer.version != version:
        raise TransferChanged(transfer_id=transfer_id, version=transfer.version)
    return transfer


def remember(
    ctx: Context, transfer: Transfer, *, rule: str, outcome: str, evidence: Mapping[str, Any]
) -> int:
    """Write a decision down; returns its id. The transfer is at its next version from now on."""
    decision = ctx.session.execute(
        insert(Decision)
        .values(
            transfer_id=transfer.id,
            rule=rule,
            outcome=outcome,
            evidence=dict(evidence),
            engine_version=ENGINE_VERSION,
            actor=ctx.actor,
            decided_at=ctx.now,
        )
        .returning(Decision.id)
    ).scalar_one()
    transfer.decision_id = decision
    transfer.version += 1
    return decision


def apply(
    ctx: Context,
    transfer: Transfer,
    parts: Parts,
    *,
    decision_id: int,
    credit_to: int | None = None,
) -> None:
    """Allocate the parts [invoice, minor units], and keep the rest as `credit_to`'s unapplied cash.

    The transfer is locked. Raises PartsRefused where they do not fit, or where something would be
    left over that is nobody's; UnknownInvoice; what `paying.follow` raises.
    """
    rest = transfer.amount_minor - transfer.allocated_minor - transfer.credited_minor
    rest -= sum(amount for _, amount in parts)
    if rest < 0:
        raise PartsRefused(problem="the parts are more than the transfer", over_minor=-rest)
    if rest and credit_to is None:
        raise PartsRefused(problem="the rest is nobody's", rest_minor=rest)
    locked = lock_invoices(ctx.session, [invoice for invoice, _ in parts], also=credit_to)
    for invoice_id, amount in sorted(parts):
        _allocate(ctx, transfer, locked[invoice_id], amount, decision_id)
    if rest and credit_to is not None:
        credit(ctx, transfer, credit_to, rest, "kept", decision_id=decision_id)
    transfer.state = "settled" if parts else "credited"
    ctx.session.flush()
    owners = {invoice.account_id for invoice in locked.values()}
    owners |= {credit_to} if credit_to is not None else set()
    payers.show(ctx, transfer.payer_iban, owners)
    for invoice in sorted(locked.values(), key=lambda one: one.id):
        invoice_effects.follow(ctx, invoice)


def lock_invoices(
    session: Session, ids: Sequence[int], *, also: int | None = None
) -> dict[int, TransferInvoice]:
    """These invoices, locked after their accounts, and after the account `also`.

    Raises UnknownInvoice.
    """
    owners = select(TransferInvoice.account_id).where(TransferInvoice.id.in_(ids))
    accounts.lock(session, {*session.scalars(owners), *([also] if also else [])})
    rows = (
        select(TransferInvoice)
        .where(TransferInvoice.id.in_(ids))
        .order_by(TransferInvoice.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = {row.id: row for row in session.scalars(rows)}
    for id in ids:
        if id not in found:
            raise UnknownInvoice(id=id)
    return found


def _allocate(
    ctx: Context, transfer: Transfer, invoice: TransferInvoice, amount: int, decision_id: int
) -> None:
    if invoice.currency != transfer.currency:
        raise PartsRefused(problem=f"{invoice.number} is in {invoice.currency}")
    if invoice.state != "open" or not 0 < amount <= invoice.due_minor - invoice.settled_minor:
        raise PartsRefused(problem=f"{invoice.number} can't take {amount}: it is {invoice.state}")
    ctx.session.execute(
        insert(Allocation).values(
            transfer_id=transfer.id,
            transfer_invoice_id=invoice.id,
            amount_minor=amount,
            decision_id=decision_id,
            recorded_at=ctx.now,
        )
    )
    invoice.settled_minor += amount
    transfer.allocated_minor += amount
    ctx.session.flush()
    write_payment(ctx, transfer, invoice)


def write_payment(ctx: Context, transfer: Transfer, invoice: TransferInvoice) -> None:
    """Make the main app's payment row say what of this transfer is on this invoice."""
    total = ctx.session.scalar(
        select(func.coalesce(func.sum(Allocation.amount_minor), 0)).where(
            Allocation.transfer_id == transfer.id, Allocation.transfer_invoice_id == invoice.id
        )
    )
    given = ctx.session.scalar(
        select(func.max(Allocation.amount_minor)).where(
            Allocation.transfer_id == transfer.id, Allocation.transfer_invoice_id == invoice.id
        )
    )
    invoices.write_payment(
        ctx.session,
        MirroredPayment(
            account_id=invoice.account_id,
            invoice_id=invoice.invoice_id,
            method=invoice_effects.METHOD,
            external_id=f"billing:transfer:{transfer.id}:{invoice.number}",
            status="succeeded" if total else "refunded",
            currency=transfer.currency,
            amount_minor=int(total or given or 0),
            happened_at=ctx.now,
        ),
    )


def credit(
    ctx: Context, transfer: Transfer, account_id: int, amount: int, why: str, *, decision_id: int
) -> None:
    """Move money of a transfer into, or for a negative amount out of, an account's unapplied cash.

    The account is locked already.
    """
    ctx.session.execute(
        insert(UnappliedCash).values(
            account_id=account_id,
            currency=transfer.currency,
            amount_minor=amount,
            why=why,
            transfer_id=transfer.id,
            decision_id=decision_id,
            recorded_at=ctx.now,
        )
    )
    transfer.credited_minor += amount
    payload: dict[str, object] = {
        "transfer_id": transfer.id,
        "currency": transfer.currency,
        "amount_minor": amount,
    }
    outbox.leave(ctx, "transfer.unapplied", account_id=account_id, payload=payload)
