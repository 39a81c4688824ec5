"""Renewal invoices, ahead of time."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import select, text

from billing.bank.errors import PlanNotForSale
from billing.bank.invoicing import dunning_steps, issue
from billing.context import Context
from billing.host import accounts
from billing.ledger import idempotency
from models.transfers import TransferInvoice

ACTOR = "billing"
#: Subscriptions, or accounts with invoices, that one transaction takes.
AT_ONCE = 100

#: Active subscriptions by transfer that end soon and have no next invoice. A void one counts unless
#: its account was cancelled and came back since.
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
                  WHERE i.account_id = a.id AND i.period_start >= s.current_period_end
                    AND NOT (i.state = 'void' AND EXISTS (
                        SELECT FROM billing.status_changes AS c
                        WHERE c.account_id = i.account_id AND c.status_from = 'cancelled'
                          AND c.happened_at >= i.finished_at)))
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
    of_account = select(TransferInvoice).where(TransferInvoice.account_id == account_id)
    existing = list(ctx.session.scalars(of_account.order_by(TransferInvoice.id.desc())))
    voided = sum(row.state == "void" and row.period_start == ends_at for row in existing)
    key = idempotency.own("renewal", account_id, ends_at.date(), *([voided] if voided else []))
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
