"""Allocations: a transfer's money put on invoices or kept as credit, and taken out again.

One transaction, which locks the transfer first, then accounts by id, then invoices by id. A
transfer never gives more than it has, and an invoice never takes more than is open. Nothing is
changed or deleted: a counter-entry names the entry that it undoes.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from billing.bank import cash, invoice_effects, transfers
from billing.bank.errors import PartsRefused, UnknownInvoice
from billing.context import Context
from billing.host import accounts, invoices
from billing.host.invoices import MirroredPayment
from models.transfers import Allocation, Transfer, TransferInvoice, UnappliedCash

#: (invoice id, minor units) for each invoice that a transfer pays.
Parts = Sequence[tuple[int, int]]


def apply(
    ctx: Context,
    transfer: Transfer,
    parts: Parts,
    *,
    decision_id: int,
    credit_to: int | None = None,
    payer_known_by: Literal["matched", "confirmed"] | None = None,
) -> None:
    """Allocate the parts of a locked transfer; keep the rest as `credit_to`'s unapplied cash.

    The transfer pays nothing yet: what it did before was undone.

    `payer_known_by`: what makes its payer known for the invoices' accounts, or for `credit_to`.
    Raises PartsRefused if the parts do not fit, or if a rest would belong to no account;
    UnknownInvoice; and what `invoice_effects.follow` raises.
    """
    rest = transfer.amount_minor - sum(amount for _, amount in parts)
    if rest < 0:
        raise PartsRefused(problem="the parts are more than the transfer", over_minor=-rest)
    if rest and credit_to is None:
        raise PartsRefused(problem="the rest belongs to no account", rest_minor=rest)
    locked = lock_invoices(ctx.session, [invoice_id for invoice_id, _ in parts], also=credit_to)
    _check_fit(transfer, parts, locked)

    for invoice_id, amount in sorted(parts):
        move(ctx, transfer, locked[invoice_id], amount, decision_id)
    if rest and credit_to is not None:
        credit(ctx, transfer, credit_to, rest, "kept", decision_id=decision_id)
    transfer.state = "settled" if parts else "credited"
    ctx.session.flush()
    _write_payments(ctx, transfer, locked.values())
    creditor = {credit_to} if credit_to is not None else set()
    owners = {invoice.account_id for invoice in locked.values()}
    if payer_known_by is not None:
        transfers.count_payer(
            ctx.session, transfer.payer_iban, owners or creditor, **{payer_known_by: 1}
        )
    transfers.link_payer(ctx, transfer.payer_iban, owners | creditor)
    for invoice in locked.values():
        invoice_effects.follow(ctx, invoice)


def _check_fit(
    transfer: Transfer, parts: Parts, invoices_by_id: dict[int, TransferInvoice]
) -> None:
    wanted: dict[int, int] = {}
    for invoice_id, amount in parts:
        invoice = invoices_by_id[invoice_id]
        wanted[invoice_id] = wanted.get(invoice_id, 0) + amount
        open_minor = invoice.open_minor
        if invoice.currency != transfer.currency:
            raise PartsRefused(problem=f"{invoice.number} is in {invoice.currency}")
        if invoice.state != "open" or amount <= 0 or wanted[invoice_id] > open_minor:
            raise PartsRefused(
                problem=f"{invoice.number} can't take {amount}: it is {invoice.state}"
            )


def take_out(ctx: Context, transfer: Transfer, *, decision_id: int) -> list[int]:
    """Undo all that a locked transfer did; return the accounts that it had reached.

    Its invoices are open again, and their unspent credits go back. So are those that were paid with
    unapplied cash that it had brought.
    """
    allocations = cash.not_undone(ctx.session, Allocation.transfer_id == transfer.id)
    credited = credited_accounts(ctx.session, transfer)
    accounts.lock(ctx.session, credited)
    uses = [
        use
        for account_id, amount in credited.items()
        for use in cash.uses_without(ctx.session, transfer, account_id, amount)
    ]
    ids = [row.transfer_invoice_id for row in (*allocations, *uses)]
    locked = lock_invoices(ctx.session, ids)

    for row in allocations:
        invoice = locked[row.transfer_invoice_id]
        move(ctx, transfer, invoice, -row.amount_minor, decision_id, undoes=row.id)
    for account_id, amount in sorted(credited.items()):
        credit(ctx, transfer, account_id, -amount, "undone", decision_id=decision_id)
    for row in uses:
        _take_cash_off(ctx, row, locked[row.transfer_invoice_id], decision_id)
    ctx.session.flush()
    paid = {row.transfer_invoice_id for row in allocations}
    _write_payments(ctx, transfer, [locked[invoice_id] for invoice_id in sorted(paid)])
    for invoice in locked.values():
        invoice_effects.follow(ctx, invoice)
    return sorted({*credited, *(invoice.account_id for invoice in locked.values())})


def _take_cash_off(
    ctx: Context, row: Allocation, invoice: TransferInvoice, decision_id: int
) -> None:
    """Take unapplied cash off the invoice that it paid: the transfer that brought it is gone."""
    move(ctx, None, invoice, -row.amount_minor, decision_id, undoes=row.id)
    cash.record(ctx, invoice, row.amount_minor, "taken off", decision_id)
    back = cash.payment(ctx, invoice, row.amount_minor, row.decision_id, status="refunded")
    invoices.write_payment(ctx.session, back)


def lock_invoices(
    session: Session, ids: Sequence[int], *, also: int | None = None
) -> dict[int, TransferInvoice]:
    """Lock these invoices, by id, after their accounts and the account `also`.

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
    invoices_by_id = {row.id: row for row in session.scalars(rows)}
    for id in ids:
        if id not in invoices_by_id:
            raise UnknownInvoice(id=id)
    return invoices_by_id


def move(
    ctx: Context,
    transfer: Transfer | None,
    invoice: TransferInvoice,
    amount: int,
    decision_id: int,
    *,
    undoes: int | None = None,
) -> None:
    """Put money of a transfer on an invoice, or take it off if the amount is negative.

    Without a transfer, it is the account's unapplied cash. All rows are locked.
    """
    ctx.session.execute(
        insert(Allocation).values(
            transfer_id=transfer.id if transfer else None,
            transfer_invoice_id=invoice.id,
            amount_minor=amount,
            decision_id=decision_id,
            undoes=undoes,
            recorded_at=ctx.now,
        )
    )
    invoice.settled_minor += amount
    # A payment is a new fact, about which a reviewer was not asked yet.
    invoice.questioned_at = None
    if transfer is not None:
        transfer.allocated_minor += amount


def _write_payments(
    ctx: Context, transfer: Transfer, transfer_invoices: Iterable[TransferInvoice]
) -> None:
    """Make the main app's payments show what this transfer pays of these invoices."""
    rows = (
        select(
            Allocation.transfer_invoice_id,
            func.sum(Allocation.amount_minor),
            func.max(Allocation.amount_minor),
        )
        .where(Allocation.transfer_id == transfer.id)
        .group_by(Allocation.transfer_invoice_id)
    )
    amounts = {id: (int(paid), int(largest)) for id, paid, largest in ctx.session.execute(rows)}
    payments = [
        MirroredPayment(
            account_id=invoice.account_id,
            invoice_id=invoice.invoice_id,
            method=invoice_effects.METHOD,
            external_id=f"billing:transfer:{transfer.id}:{invoice.number}",
            status="succeeded" if amounts[invoice.id][0] else "refunded",
            currency=transfer.currency,
            amount_minor=amounts[invoice.id][0] or amounts[invoice.id][1],
            happened_at=ctx.now,
        )
        for invoice in transfer_invoices
    ]
    invoices.write_payments(ctx.session, [(payment, ()) for payment in payments])


def credit(
    ctx: Context, transfer: Transfer, account_id: int, amount: int, why: str, *, decision_id: int
) -> None:
    """Move money of a transfer into a locked account's unapplied cash, or out if negative."""
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
    transfers.leave_event(
        ctx, "transfer.unapplied", transfer, account_id=account_id, amount_minor=amount
    )


def credited_accounts(session: Session, transfer: Transfer) -> dict[int, int]:
    """Read how much of this transfer is in each account's unapplied cash."""
    rows = (
        select(UnappliedCash.account_id, func.sum(UnappliedCash.amount_minor))
        .where(UnappliedCash.transfer_id == transfer.id)
        .group_by(UnappliedCash.account_id)
    )
    return {account: int(total) for account, total in session.execute(rows) if total}
