"""The timetable of invoices: the next period's ahead of time, reminders, and the end of waiting."""

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing import accounts, dunning, invoices, keys, outbox
from billing.bank import announcing, dunning_steps, paying
from billing.bank.errors import PlanNotForSale
from billing.errors import AccountDeleted, SystemAccount, UnknownAccount
from models.transfers import TransferInvoice

#: Subscriptions, or invoices, that one transaction takes.
AT_ONCE = 100

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


def renew(
    session: Session, *, currency: str, now: dt.datetime, limit: int = AT_ONCE
) -> list[Stepped]:
    """Send the next period's invoice to subscriptions that end soon; empty when none is left."""
    before = now + dunning_steps.DUE_AFTER
    rows = session.execute(text(_ENDING), {"before": before, "limit": limit}).all()
    ends = {row.tenant_id: row.current_period_end for row in rows}
    mine = sorted(accounts.lock_free(session, ends))
    renewed = [_renew(session, id, ends[id], currency=currency, now=now) for id in mine]
    return [one for one in renewed if one]


def _renew(
    session: Session, account_id: int, ends_at: dt.datetime, *, currency: str, now: dt.datetime
) -> Stepped | None:
    key = keys.own("renewal", account_id, ends_at.date())
    last = select(TransferInvoice).where(TransferInvoice.account_id == account_id)
    known = list(session.scalars(last.order_by(TransferInvoice.id.desc())))
    if not known or any(one.key == key or one.state == "open" for one in known):
        return None
    plan_id = accounts.lock(session, [account_id])[account_id].plan_id
    try:
        invoice = announcing.issue(
            session,
            account_id=account_id,
            plan_id=plan_id or known[0].plan_id,
            months=known[0].months,
            key=key,
            currency=currency,
            due_at=max(ends_at, now),
            now=now,
            period_start=ends_at,
        )
    except PlanNotForSale:
        return None
    return Stepped(account_id, "renewed", invoice.number)


def remind(session: Session, *, now: dt.datetime, limit: int = AT_ONCE) -> list[Stepped]:
    """Take the steps that are due of unpaid invoices; empty when none is left."""
    due = select(TransferInvoice).where(
        TransferInvoice.state == "open", TransferInvoice.next_step_at <= now
    )
    owners = select(TransferInvoice.account_id).where(
        TransferInvoice.id.in_(
            select(TransferInvoice.id)
            .where(TransferInvoice.state == "open", TransferInvoice.next_step_at <= now)
            .order_by(TransferInvoice.next_step_at)
            .limit(limit)
        )
    )
    mine = accounts.lock_free(session, set(session.scalars(owners)))
    rows = due.where(TransferInvoice.account_id.in_(mine)).order_by(TransferInvoice.id)
    found = session.scalars(rows.with_for_update().execution_options(populate_existing=True)).all()
    return [_step(session, invoice, now=now) for invoice in found]


def _step(session: Session, invoice: TransferInvoice, *, now: dt.datetime) -> Stepped:
    """Take the last step that is due: a worker that was away does not send three at once."""
    past, next_step_at = dunning_steps.first(invoice.due_at, now=now)
    event = dunning_steps.STEPS[past - 1].event
    invoice.steps_done, invoice.next_step_at = past, next_step_at
    session.flush()
    if event == "invoice.due":
        _ask(session, invoice, now=now)
    elif event == "invoice.expired":
        _expire(session, invoice, now=now)
    outbox.leave(
        session,
        event,
        account_id=invoice.account_id,
        payload=paying.facts_of(invoice),
        now=now,
    )
    return Stepped(invoice.account_id, event, invoice.number)


def _ask(session: Session, invoice: TransferInvoice, *, now: dt.datetime) -> None:
    """Open the account's dunning case; who is deleted, cancelled or the system's is not asked."""
    cause = "transfer_announced" if invoice.period_start is None else "invoice_overdue"
    with suppress(UnknownAccount, AccountDeleted, SystemAccount):
        dunning.open_case(
            session, invoice.account_id, cause=cause, invoice_id=invoice.invoice_id, now=now
        )


def _expire(session: Session, invoice: TransferInvoice, *, now: dt.datetime) -> None:
    """The end of waiting: the invoice is void, and so is the subscription that it should renew.

    One with money on it stays open, for a person.
    """
    if invoice.settled_minor:
        return
    announcing.void(session, invoice, now=now)
    running = invoices.subscription(session, invoice.account_id)
    is_ours = running is not None and (running.external_payment_id or "").startswith("billing:")
    if running is not None and is_ours and running.ends_at <= now:
        invoices.write_subscription(session, replace(running, status="canceled"))
