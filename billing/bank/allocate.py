"""Allocations: a transfer's money put on invoices or kept as credit, and taken out again.

One transaction, which locks the transfer first, then accounts by id, then invoices by id. A
transfer never gives more than it has, and an invoice never takes more than is open. Nothing is
changed or deleted: a counter-entry names the entry that it undoes.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Literal, NamedTuple

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from billing.bank import cash, invoice_effects, transfers
from billing.bank.errors import PartsRefused, UnknownInvoice
from billing.context import Context
from billing.events import outbox
from billing.host import accounts, invoices
from billing.host.invoices import MirroredPayment
from billing.postgres import sql
from models.transfers import Allocation, Transfer, TransferInvoice, UnappliedCash

#: (invoice id, minor units) for each invoice that a transfer pays.
Parts = Sequence[tuple[int, int]]


class Application(NamedTuple):
    """A locked transfer, and the invoices that it pays by a decision.

    `credit_to`: the account whose unapplied cash the rest becomes. `payer_known_by`: what makes its
    payer known for the invoices' accounts, or for `credit_to`.
    """

    transfer: Transfer
    parts: Parts
    decision_id: int
    credit_to: int | None = None
    payer_known_by: Literal["matched", "confirmed"] | None = None

    @property
    def rest(self) -> int:
        """The minor units that no invoice gets."""
        return self.transfer.amount_minor - sum([amount for _, amount in self.parts])

    def accounts(self, invoices_by_id: Mapping[int, TransferInvoice]) -> set[int]:
        """The accounts that get money of it."""
        owners = {invoices_by_id[invoice_id].account_id for invoice_id, _ in self.parts}
        return owners if self.credit_to is None else owners | {self.credit_to}


def apply(ctx: Context, application: Application) -> None:
    """Apply one transfer, as `apply_all` does."""
    apply_all(ctx, [application])


def apply_all(
    ctx: Context, applications: Sequence[Application], *, locked_ids: Collection[int] | None = None
) -> None:
    """Allocate the parts of locked transfers; keep the rest as the account's unapplied cash.

    The transfers pay nothing yet: what they did before was undone. `locked_ids`: the accounts, if
    the caller has locked them. Raises PartsRefused if the parts
    do not fit, or if a rest would belong to no account; UnknownInvoice; and what
    `invoice_effects.follow_all` raises.
    """
    _check_rests(applications)
    ids = [invoice_id for application in applications for invoice_id, _ in application.parts]
    creditors = {item.credit_to for item in applications if item.credit_to is not None}
    locked = lock_invoices(ctx.session, ids, also=creditors, locked_ids=locked_ids)
    _check_fit(applications, locked)

    _move_all(ctx, applications, locked)
    _credit_rests(ctx, applications)
    for application in applications:
        application.transfer.state = "settled" if application.parts else "credited"
    ctx.session.flush()
    counts, links = _payers(applications, locked)
    paid = [(item.transfer, locked[id]) for item in applications for id, _ in item.parts]
    _write_payments(ctx, paid)
    transfers.count_payers(ctx.session, counts)
    transfers.link_payers(ctx, links)
    invoice_effects.follow_all(ctx, list(locked.values()))


def _check_rests(applications: Iterable[Application]) -> None:
    for application in applications:
        rest = application.rest
        if rest < 0:
            raise PartsRefused(problem="the parts are more than the transfer", over_minor=-rest)
        if rest and application.credit_to is None:
            raise PartsRefused(problem="the rest belongs to no account", rest_minor=rest)


def _check_fit(
    applications: Iterable[Application], invoices_by_id: Mapping[int, TransferInvoice]
) -> None:
    wanted: Counter[int] = Counter()
    for application in applications:
        for invoice_id, amount in application.parts:
            invoice = invoices_by_id[invoice_id]
            wanted[invoice_id] += amount
            if invoice.currency != application.transfer.currency:
                raise PartsRefused(problem=f"{invoice.number} is in {invoice.currency}")
            open_minor = invoice.due_minor - invoice.settled_minor - invoice.waived_minor
            is_too_much = wanted[invoice_id] > open_minor
            if invoice.state != "open" or amount <= 0 or is_too_much:
                raise PartsRefused(
                    problem=f"{invoice.number} can't take {amount}: it is {invoice.state}"
                )


def _move_all(
    ctx: Context, applications: Iterable[Application], locked: Mapping[int, TransferInvoice]
) -> None:
    """Put the parts of these transfers on their invoices."""
    rows = [
        {
            "transfer_id": item.transfer.id,
            "transfer_invoice_id": invoice_id,
            "amount_minor": amount,
            "decision_id": item.decision_id,
            "recorded_at": ctx.now,
        }
        for item in applications
        for invoice_id, amount in sorted(item.parts)
    ]
    if rows:
        ctx.session.connection().execute(insert(Allocation), rows)
    for application in applications:
        for invoice_id, amount in application.parts:
            _count(application.transfer, locked[invoice_id], amount)


def _count(transfer: Transfer | None, invoice: TransferInvoice, amount: int) -> None:
    """Count money of a transfer that went on an invoice."""
    invoice.settled_minor += amount
    # A payment is a new fact, about which a reviewer was not asked yet.
    invoice.questioned_at = None
    if transfer is not None:
        transfer.allocated_minor += amount


def _credit_rests(ctx: Context, applications: Iterable[Application]) -> None:
    credits = [
        (item.transfer, item.credit_to, item.rest, item.decision_id)
        for item in applications
        if item.rest and item.credit_to is not None
    ]
    credit_all(ctx, credits, "kept")


def _payers(
    applications: Iterable[Application], locked: Mapping[int, TransferInvoice]
) -> tuple[list[tuple[str | None, int, dict[str, int]]], list[tuple[str | None, int]]]:
    """The counts and the links of these transfers' payers."""
    counts: list[tuple[str | None, int, dict[str, int]]] = []
    links: list[tuple[str | None, int]] = []
    for application in applications:
        iban, known_by = application.transfer.payer_iban, application.payer_known_by
        accounts_paid = application.accounts(locked)
        links += [(iban, account_id) for account_id in sorted(accounts_paid)]
        if known_by is not None:
            owners = {locked[id].account_id for id, _ in application.parts} or accounts_paid
            counts += [(iban, account_id, {known_by: 1}) for account_id in owners]
    return counts, links


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
    back = [(transfer, account_id, -amount, decision_id) for account_id, amount in credited.items()]
    credit_all(ctx, sorted(back, key=itemgetter(1)), "undone")
    for row in uses:
        _take_cash_off(ctx, row, locked[row.transfer_invoice_id], decision_id)
    ctx.session.flush()
    paid = {row.transfer_invoice_id for row in allocations}
    _write_payments(ctx, [(transfer, locked[invoice_id]) for invoice_id in sorted(paid)])
    invoice_effects.follow_all(ctx, list(locked.values()))
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
    session: Session,
    ids: Sequence[int],
    *,
    also: Iterable[int] = (),
    locked_ids: Collection[int] | None = None,
) -> dict[int, TransferInvoice]:
    """Lock these invoices, by id, after their accounts and the accounts `also`.

    `locked_ids`: the accounts, if the caller has locked them. Raises UnknownInvoice; PartsRefused
    if an invoice belongs to none of those.
    """
    if locked_ids is None:
        owners = select(TransferInvoice.account_id).where(TransferInvoice.id.in_(ids))
        accounts.lock(session, {*session.scalars(owners), *also})
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
        if locked_ids is not None and invoices_by_id[id].account_id not in locked_ids:
            raise PartsRefused(problem=f"{invoices_by_id[id].number} is another account's")
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
    _count(transfer, invoice, amount)


_PAID = """
SELECT transfer_id, transfer_invoice_id, sum(amount_minor)::bigint, max(amount_minor)
FROM billing.allocations WHERE transfer_id = ANY(%(ids)s::bigint[]) GROUP BY 1, 2
"""


def _write_payments(ctx: Context, paid: Sequence[tuple[Transfer, TransferInvoice]]) -> None:
    """Make the main app's payments show what these transfers pay of these invoices."""
    if not paid:
        return
    values = {"ids": list({transfer.id for transfer, _ in paid})}
    rows = ctx.session.connection().exec_driver_sql(_PAID, values)
    amounts = {(row[0], row[1]): (row[2], row[3]) for row in rows}
    payments = [_payment(ctx, *pair, *amounts[pair[0].id, pair[1].id]) for pair in paid]
    invoices.write_payments(ctx.session, [(payment, ()) for payment in payments])


def _payment(
    ctx: Context, transfer: Transfer, invoice: TransferInvoice, paid: int, largest: int
) -> MirroredPayment:
    return MirroredPayment(
        account_id=invoice.account_id,
        invoice_id=invoice.invoice_id,
        method=invoice_effects.METHOD,
        external_id=f"billing:transfer:{transfer.id}:{invoice.number}",
        status="succeeded" if paid else "refunded",
        currency=transfer.currency,
        amount_minor=paid or largest,
        happened_at=ctx.now,
    )


def credit_all(ctx: Context, credits: Sequence[tuple[Transfer, int, int, int]], why: str) -> None:
    """Move money of transfers into locked accounts' unapplied cash, or out if negative.

    `credits`: the transfer, the account's id, the minor units and the decision's id of each.
    """
    if not credits:
        return
    sql.insert(
        ctx.session,
        "billing.unapplied_cash",
        {
            "currency": "text",
            **dict.fromkeys(("transfer_id", "account_id", "amount_minor", "decision_id"), "bigint"),
        },
        [(transfer.currency, transfer.id, *rest) for transfer, *rest in credits],
        constants={"why": why, "recorded_at": ctx.now},
    )
    for transfer, _, amount, _ in credits:
        transfer.credited_minor += amount
    events = [
        transfers.event_of("transfer.unapplied", transfer, account_id, amount_minor=amount)
        for transfer, account_id, amount, _ in credits
    ]
    outbox.leave_all(ctx, events)


def credited_accounts(session: Session, transfer: Transfer) -> dict[int, int]:
    """Read how much of this transfer is in each account's unapplied cash."""
    rows = (
        select(UnappliedCash.account_id, func.sum(UnappliedCash.amount_minor))
        .where(UnappliedCash.transfer_id == transfer.id)
        .group_by(UnappliedCash.account_id)
    )
    return {account: int(total) for account, total in session.execute(rows) if total}
