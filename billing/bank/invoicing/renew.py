"""Renewal invoices, ahead of time; and those set aside because a card pays meanwhile."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import select, text

from billing.bank.errors import PlanNotForSale
from billing.bank.invoicing import dunning_steps, held_money, issue
from billing.context import Context
from billing.host import accounts, funding
from billing.ledger import idempotency
from models.transfers import TransferInvoice

ACTOR = "billing"
#: Subscriptions, or accounts with invoices, that one transaction takes.
AT_ONCE = 100

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
    held_money.ask_about_parts(ctx.session, invoice, "and the account pays by card now")
    return InvoiceAction(invoice.account_id, "set aside", invoice.number)
