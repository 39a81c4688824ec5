"""Time-driven invoicing: renewal invoices ahead of time, reminders, and the end of the schedule."""

import datetime as dt
from dataclasses import dataclass, replace

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from billing.bank import invoice_effects
from billing.bank.errors import PlanNotForSale
from billing.bank.invoicing import dunning_steps, issue
from billing.context import Context
from billing.events import outbox
from billing.host import accounts, funding, invoices
from billing.ledger import idempotency
from billing.lifecycle import status
from models.transfers import Allocation, Transfer, TransferInvoice

ACTOR = "billing"
#: Subscriptions, or accounts with invoices, that one transaction takes.
AT_ONCE = 100
#: Both end access: after a pause of the worker, the second may be due first.
ENDS_ACCESS = frozenset({"invoice.expired", "invoice.written_off"})

#: Active subscriptions by transfer that end soon and have no next invoice.
_ENDING = """
SELECT s.tenant_id, s.current_period_end FROM igny8_subscriptions AS s
JOIN igny8_tenants AS a ON a.id = s.tenant_id
JOIN igny8_plans AS p ON p.id = a.plan_id AND p.is_active AND p.price > 0
WHERE s.payment_method = 'bank_transfer' AND s.external_payment_id LIKE 'billing:%'
  AND s.status = 'active' AND NOT s.cancel_at_period_end AND s.current_period_end <= :before
  AND a.status IN ('active', 'suspended') AND NOT a.is_deleted
  AND NOT EXISTS (SELECT FROM billing.stripe_objects AS o
                  WHERE o.account_id = a.id AND o.kind = 'subscription'
                    AND o.facts->>'status' = 'active')
  AND NOT EXISTS (SELECT FROM billing.transfer_invoices AS i
                  WHERE i.account_id = a.id AND i.period_start >= s.current_period_end)
  AND NOT EXISTS (SELECT FROM billing.transfer_invoices AS i
                  WHERE i.account_id = a.id AND i.state = 'open')
ORDER BY s.current_period_end, s.tenant_id LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class InvoiceAction:
    """An action on an account's invoice: `renewed`, or the event of a dunning step."""

    account_id: int
    what: str
    number: str


def renew(ctx: Context, *, currency: str, limit: int = AT_ONCE) -> list[InvoiceAction]:
    """Send the next invoice for subscriptions that end soon; empty when none is left."""
    before = ctx.now + dunning_steps.DUE_AFTER
    rows = ctx.session.execute(text(_ENDING), {"before": before, "limit": limit}).all()
    ends = {row.tenant_id: row.current_period_end for row in rows}
    account_ids = sorted(accounts.try_lock(ctx.session, ends))
    actions = [_renew(ctx, id, ends[id], currency=currency) for id in account_ids]
    return [action for action in actions if action is not None]


def _renew(
    ctx: Context, account_id: int, ends_at: dt.datetime, *, currency: str
) -> InvoiceAction | None:
    key = idempotency.own("renewal", account_id, ends_at.date())
    of_account = select(TransferInvoice).where(TransferInvoice.account_id == account_id)
    existing = list(ctx.session.scalars(of_account.order_by(TransferInvoice.id.desc())))
    if not existing or any(row.key == key or row.state == "open" for row in existing):
        return None
    plan_id = accounts.lock(ctx.session, [account_id])[account_id].plan_id
    try:
        invoice = issue.issue(
            ctx,
            account_id=account_id,
            plan_id=plan_id or existing[0].plan_id,
            months=existing[0].months,
            key=key,
            currency=currency,
            due_at=max(ends_at, ctx.now),
            period_start=ends_at,
        )
    except PlanNotForSale:
        return None
    return InvoiceAction(account_id, "renewed", invoice.number)


#: Open invoices that still have steps, of accounts that Stripe knows.
_BESIDE_CARD = """
SELECT i.id, i.account_id FROM billing.transfer_invoices AS i
WHERE i.state = 'open' AND i.next_step_at IS NOT NULL AND (
    EXISTS (SELECT FROM billing.stripe_objects AS o
            WHERE o.account_id = i.account_id AND o.kind = 'subscription'
              AND o.facts->>'status' = 'active'
              AND (o.facts->>'created')::bigint >= extract(epoch FROM i.issued_at))
    OR EXISTS (SELECT FROM billing.purchases AS p
               WHERE p.account_id = i.account_id AND p.plan_id IS NOT NULL AND p.ends_at > :now
                 AND p.origin NOT LIKE 'billing:%' AND p.recorded_at >= i.issued_at))
ORDER BY i.account_id, i.id LIMIT :limit
"""


def set_aside(ctx: Context, *, limit: int = AT_ONCE) -> list[InvoiceAction]:
    """Set aside the open invoices of accounts that pay by card since; empty when none is left.

    An invoice without money is void. One that is paid in part asks for nothing more, and its
    transfers go to review. An invoice that was announced while the card already ran stays: the
    customer means to change to transfers.
    """
    rows = ctx.session.execute(text(_BESIDE_CARD), {"now": ctx.now, "limit": limit}).all()
    account_ids = accounts.try_lock(ctx.session, {row.account_id for row in rows})
    ways = funding.ways(ctx, account_ids)
    actions = []
    for row in rows:
        way = ways.get(row.account_id)
        if way is None or way.card_since is None:
            continue
        invoice = ctx.session.get_one(
            TransferInvoice, row.id, with_for_update=True, populate_existing=True
        )
        if invoice.state == "open" and way.card_since >= invoice.issued_at:
            actions.append(_set_aside(ctx, invoice))
    return actions


def _set_aside(ctx: Context, invoice: TransferInvoice) -> InvoiceAction:
    if not invoice.settled_minor:
        issue.void(ctx, invoice)
        return InvoiceAction(invoice.account_id, "invoice.void", invoice.number)
    invoice.next_step_at = None
    ctx.session.flush()
    _review_payments(ctx.session, invoice, "and the account pays by card now")
    return InvoiceAction(invoice.account_id, "invoice.set_aside", invoice.number)


def remind(ctx: Context, *, limit: int = AT_ONCE) -> list[InvoiceAction]:
    """Take the due dunning steps of unpaid invoices; empty when none is left."""
    is_due = (TransferInvoice.state == "open", TransferInvoice.next_step_at <= ctx.now)
    oldest = (
        select(TransferInvoice.account_id)
        .where(*is_due)
        .order_by(TransferInvoice.next_step_at)
        .limit(limit)
    )
    account_ids = accounts.try_lock(ctx.session, set(ctx.session.scalars(oldest)))
    rows = (
        select(TransferInvoice)
        .where(*is_due, TransferInvoice.account_id.in_(account_ids))
        .order_by(TransferInvoice.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return [_step(ctx, invoice) for invoice in ctx.session.scalars(rows).all()]


def _step(ctx: Context, invoice: TransferInvoice) -> InvoiceAction:
    """Take the last step that is due, so that a late worker does not send three at once."""
    past, next_step_at = dunning_steps.first(invoice.due_at, now=ctx.now)
    event = dunning_steps.STEPS[past - 1].event
    invoice.steps_done, invoice.next_step_at = past, next_step_at
    ctx.session.flush()
    if event in ENDS_ACCESS:
        _expire(ctx, invoice)
    if event == "invoice.written_off":
        _give_up(ctx, invoice)
    payload = invoice_effects.payload_of(invoice)
    outbox.leave(ctx, event, account_id=invoice.account_id, payload=payload)
    return InvoiceAction(invoice.account_id, event, invoice.number)


def _give_up(ctx: Context, invoice: TransferInvoice) -> None:
    """End the schedule: cancel an account that is still suspended for this invoice.

    A first invoice without any payment is voided. Any other stays open, so that late money still
    fits it.
    """
    account = accounts.lock(ctx.session, [invoice.account_id]).get(invoice.account_id)
    if invoice.period_start is None and not invoice.settled_minor:
        issue.void(ctx, invoice)
    if account is None or account.is_deleted or account.status != "suspended":
        return
    if funding.way(ctx, account.id).until is not None:
        return
    if "payment_failed" in status.suspension_reasons(ctx.session, account.id):
        status.change(ctx.by(ACTOR), account.id, to="cancelled", reason="never_paid")


def _expire(ctx: Context, invoice: TransferInvoice) -> None:
    """End the access of an account that did not pay a first invoice or a renewal.

    An account that is active by other means keeps its access if its first invoice is not paid, and
    one that is funded another way keeps it in any case.
    """
    account = accounts.lock(ctx.session, [invoice.account_id]).get(invoice.account_id)
    is_first = invoice.period_start is None
    if is_first and invoice.settled_minor:
        _review_payments(ctx.session, invoice, "and no more")
    if account is None or account.is_deleted or account.is_system:
        return
    waits = account.status == "pending_payment" or (not is_first and account.status == "active")
    if not waits or funding.way(ctx, account.id).until is not None:
        return
    status.suspend(ctx.by(ACTOR), account.id, reason="payment_failed")
    running = None if is_first else invoices.subscription(ctx.session, account.id)
    if running is not None and running.payment_method == invoice_effects.METHOD:
        invoices.write_subscription(ctx.session, replace(running, status="unpaid"))


def _review_payments(session: Session, invoice: TransferInvoice, more: str) -> None:
    """Send the transfers of an invoice that is paid in part to review."""
    why = f"{invoice.settled_minor} of {invoice.due_minor} came for {invoice.number}, {more}"
    paid_by = select(Allocation.transfer_id).where(Allocation.transfer_invoice_id == invoice.id)
    session.execute(
        update(Transfer)
        .where(Transfer.id.in_(paid_by), Transfer.state == "settled")
        .values(review=why, version=Transfer.version + 1)
    )
