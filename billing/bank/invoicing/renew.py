"""The timetable of invoices: the next period's ahead of time, reminders, and the end of waiting."""

import datetime as dt
from dataclasses import dataclass, replace

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from billing.bank import invoice_effects
from billing.bank.errors import PlanNotForSale
from billing.bank.invoicing import dunning_steps, issue
from billing.context import Context
from billing.events import outbox
from billing.host import accounts, invoices
from billing.ledger import idempotency
from billing.lifecycle import status
from models.transfers import Allocation, Transfer, TransferInvoice

ACTOR = "billing"
#: Subscriptions, or invoices, that one transaction takes.
AT_ONCE = 100
#: A worker that was away may find the second due first.
ENDS_ACCESS = frozenset({"invoice.expired", "invoice.written_off"})

#: Running subscriptions paid for by transfer that end soon and whose next invoice is not there.
_ENDING = """
SELECT s.tenant_id, s.current_period_end FROM igny8_subscriptions AS s
JOIN igny8_tenants AS a ON a.id = s.tenant_id
JOIN igny8_plans AS p ON p.id = a.plan_id AND p.is_active AND p.price > 0
WHERE s.payment_method = 'bank_transfer' AND s.external_payment_id LIKE 'billing:%'
  AND s.status = 'active' AND NOT s.cancel_at_period_end AND s.current_period_end <= :before
  AND a.status IN ('active', 'suspended') AND NOT a.is_deleted
  AND NOT EXISTS (SELECT FROM billing.transfer_invoices AS i
                  WHERE i.account_id = a.id AND i.period_start >= s.current_period_end)
  AND NOT EXISTS (SELECT FROM billing.transfer_invoices AS i
                  WHERE i.account_id = a.id AND i.state = 'open')
ORDER BY s.current_period_end, s.tenant_id LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Stepped:
    """What was done about an account's invoice: renewed, or the event of a step."""

    account_id: int
    what: str
    number: str


def renew(ctx: Context, *, currency: str, limit: int = AT_ONCE) -> list[Stepped]:
    """Send the next period's invoice to subscriptions that end soon; empty when none is left."""
    before = ctx.now + dunning_steps.DUE_AFTER
    rows = ctx.session.execute(text(_ENDING), {"before": before, "limit": limit}).all()
    ends = {row.tenant_id: row.current_period_end for row in rows}
    mine = sorted(accounts.try_lock(ctx.session, ends))
    renewed = [_renew(ctx, id, ends[id], currency=currency) for id in mine]
    return [one for one in renewed if one]


def _renew(ctx: Context, account_id: int, ends_at: dt.datetime, *, currency: str) -> Stepped | None:
    key = idempotency.own("renewal", account_id, ends_at.date())
    last = select(TransferInvoice).where(TransferInvoice.account_id == account_id)
    known = list(ctx.session.scalars(last.order_by(TransferInvoice.id.desc())))
    if not known or any(one.key == key or one.state == "open" for one in known):
        return None
    plan_id = accounts.lock(ctx.session, [account_id])[account_id].plan_id
    try:
        invoice = issue.issue(
            ctx,
            account_id=account_id,
            plan_id=plan_id or known[0].plan_id,
            months=known[0].months,
            key=key,
            currency=currency,
            due_at=max(ends_at, ctx.now),
            period_start=ends_at,
        )
    except PlanNotForSale:
        return None
    return Stepped(account_id, "renewed", invoice.number)


def remind(ctx: Context, *, limit: int = AT_ONCE) -> list[Stepped]:
    """Take the steps that are due of unpaid invoices; empty when none is left."""
    due = select(TransferInvoice).where(
        TransferInvoice.state == "open", TransferInvoice.next_step_at <= ctx.now
    )
    owners = select(TransferInvoice.account_id).where(
        TransferInvoice.id.in_(
            select(TransferInvoice.id)
            .where(TransferInvoice.state == "open", TransferInvoice.next_step_at <= ctx.now)
            .order_by(TransferInvoice.next_step_at)
            .limit(limit)
        )
    )
    mine = accounts.try_lock(ctx.session, set(ctx.session.scalars(owners)))
    rows = due.where(TransferInvoice.account_id.in_(mine)).order_by(TransferInvoice.id)
    found = ctx.session.scalars(
        rows.with_for_update().execution_options(populate_existing=True)
    ).all()
    return [_step(ctx, invoice) for invoice in found]


def _step(ctx: Context, invoice: TransferInvoice) -> Stepped:
    """Take the last step that is due: a worker that was away does not send three at once."""
    past, next_step_at = dunning_steps.first(invoice.due_at, now=ctx.now)
    event = dunning_steps.STEPS[past - 1].event
    invoice.steps_done, invoice.next_step_at = past, next_step_at
    ctx.session.flush()
    if event in ENDS_ACCESS:
        _expire(ctx, invoice)
    if event == "invoice.written_off":
        _give_up(ctx, invoice)
    outbox.leave(
        ctx, event, account_id=invoice.account_id, payload=invoice_effects.facts_of(invoice)
    )
    return Stepped(invoice.account_id, event, invoice.number)


def _give_up(ctx: Context, invoice: TransferInvoice) -> None:
    """The end of the schedule: whoever is still suspended for it is a customer no more.

    A first invoice that nothing came for is void. Any other stays open: money that comes later
    still fits it.
    """
    account = accounts.lock(ctx.session, [invoice.account_id]).get(invoice.account_id)
    if invoice.period_start is None and not invoice.settled_minor:
        issue.void(ctx, invoice)
    if account is None or account.is_deleted or account.status != "suspended":
        return
    if "payment_failed" in status.suspension_reasons(ctx.session, account.id):
        status.change(ctx.by(ACTOR), account.id, to="cancelled", reason="never_paid")


def _expire(ctx: Context, invoice: TransferInvoice) -> None:
    """The end of waiting: access ends, for a first invoice as for a renewal.

    An account that is active by other means keeps it when its first invoice is not paid.
    """
    account = accounts.lock(ctx.session, [invoice.account_id]).get(invoice.account_id)
    is_first = invoice.period_start is None
    if is_first and invoice.settled_minor:
        _ask_about(ctx.session, invoice)
    if account is None or account.is_deleted or account.is_system:
        return
    waits = account.status == "pending_payment" or (not is_first and account.status == "active")
    if not waits:
        return
    status.suspend(ctx.by(ACTOR), account.id, reason="payment_failed")
    running = None if is_first else invoices.subscription(ctx.session, account.id)
    if running is not None and running.payment_method == invoice_effects.METHOD:
        invoices.write_subscription(ctx.session, replace(running, status="unpaid"))


def _ask_about(session: Session, invoice: TransferInvoice) -> None:
    """Show a person what was paid in part: the rest did not come, and what came bought nothing."""
    why = f"{invoice.settled_minor} of {invoice.due_minor} came for {invoice.number}, and no more"
    paid_it = select(Allocation.transfer_id).where(Allocation.transfer_invoice_id == invoice.id)
    session.execute(
        update(Transfer)
        .where(Transfer.id.in_(paid_it), Transfer.state == "settled")
        .values(review=why, version=Transfer.version + 1)
    )
