"""Open invoices that nobody is to pay any more: the account pays by card, or has left.

An account has left if it is cancelled, by whomever, or deleted and past its restoration. The
schedule of an account that may be restored rests instead (`remind`).
"""

import datetime as dt

from sqlalchemy import text

from billing.bank import invoice_effects
from billing.bank.invoicing import held_money, issue
from billing.bank.invoicing.renew import AT_ONCE, InvoiceAction
from billing.context import Context
from billing.events import outbox
from billing.host import accounts, funding
from billing.lifecycle import app_writes
from models.transfers import TransferInvoice

#: The pause before an invoice that waits for a reviewer is looked at again.
LOOKS_AGAIN = dt.timedelta(days=1)

#: Open invoices that still have steps. An invoice whose schedule is over stays open for late money.
_OBSOLETE = """
WITH open AS (
    SELECT i.*, a.status = 'cancelled' OR a.is_deleted AND a.restore_until <= :now AS has_left
    FROM billing.transfer_invoices AS i JOIN igny8_tenants AS a ON a.id = i.account_id
    WHERE i.state = 'open' AND i.next_step_at IS NOT NULL)
SELECT i.id, i.account_id, i.has_left IS TRUE AS has_left FROM open AS i
WHERE i.has_left AND (i.questioned_at IS NULL OR i.next_step_at <= :now)
   OR i.has_left IS NOT TRUE AND (
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
    """Set aside the open invoices of accounts that pay by card since, or have left.

    Empty when none is left. An invoice without money is void. One that is paid in part asks for
    nothing more, and its transfers go to review. An invoice that was announced while the card
    already ran stays: the customer means to change to transfers.
    """
    rows = ctx.session.execute(text(_OBSOLETE), {"now": ctx.now, "limit": limit}).all()
    ids = accounts.try_lock(ctx.session, {row.account_id for row in rows})
    locked = accounts.lock(ctx.session, ids) if ids else {}
    ways = funding.ways(ctx, ids) if ids else {}
    # The history shows that the account left and, if it does, that it comes back.
    app_writes.follow(ctx, [account for account in locked.values() if account.is_billable])
    actions = []
    for row in rows:
        if row.account_id not in locked:
            continue
        account, card_since = locked[row.account_id], ways[row.account_id].card_since
        invoice = ctx.session.get_one(
            TransferInvoice, row.id, with_for_update=True, populate_existing=True
        )
        if invoice.state != "open":
            continue
        if row.has_left and (account.status == "cancelled" or account.is_deleted):
            actions.append(_end(ctx, invoice))
        elif card_since is not None and card_since >= invoice.issued_at:
            actions.append(_set_aside(ctx, invoice, "and the account pays by card now"))
    return actions


def _end(ctx: Context, invoice: TransferInvoice) -> InvoiceAction:
    """Set aside an invoice of an account that has left, unless a reviewer has its money to see."""
    if held_money.is_in_question(ctx, invoice, ends_access=False):
        return postpone(ctx, invoice)
    return _set_aside(ctx, invoice, "and the account has left")


def _set_aside(ctx: Context, invoice: TransferInvoice, why: str) -> InvoiceAction:
    if not invoice.settled_minor:
        issue.void(ctx, invoice)
        return InvoiceAction(invoice.account_id, "invoice.void", invoice.number)
    invoice.next_step_at = None
    ctx.session.flush()
    held_money.ask_about_parts(ctx.session, invoice, why)
    return InvoiceAction(invoice.account_id, "set aside", invoice.number)


def postpone(ctx: Context, invoice: TransferInvoice) -> InvoiceAction:
    """Put an invoice's next step off by a day, for its money is in question; say so once."""
    event = "invoice.in_question"
    if invoice.questioned_at is None:
        payload = invoice_effects.payload_of(invoice)
        outbox.leave(ctx, event, account_id=invoice.account_id, payload=payload)
        invoice.questioned_at = ctx.now
    invoice.next_step_at = ctx.now + LOOKS_AGAIN
    ctx.session.flush()
    return InvoiceAction(invoice.account_id, event, invoice.number)
