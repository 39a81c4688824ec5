"""Dunning cases: opened by a missed payment, stopped by the payment or at the schedule's end.

The code that records a failed payment opens a case; the code that records a payment stops it, in
the same transaction. `billing.lifecycle.dunning.sweep` takes the steps between.
"""

import datetime as dt

from billing.context import Context
from billing.events import outbox
from billing.host import accounts, funding
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.dunning import schedule as dunning_schedule
from billing.lifecycle.dunning.schedule import CAUSES, HARD_DECLINES
from models.life import DunningCase

#: Statuses in which an account is dunned; a cancelled account never is.
DUNNED = frozenset({"trial", "active", "pending_payment", "suspended"})
#: Statuses in which an invoice of a subscription is dunned: the account has had access. Stripe
#: gives up the first payment of a new subscription by itself.
OWES = frozenset({"active", "suspended"})


def open_case(
    ctx: Context,
    account_id: int,
    *,
    cause: str,
    invoice_id: int | None = None,
    decline_code: str | None = None,
    retry_at: dt.datetime | None = None,
) -> int | None:
    """Open a case and return its id, or update the open one and return that.

    Args:
        ctx: The act's context.
        account_id: The account that owes.
        cause: card_failed, invoice_overdue or transfer_announced.
        invoice_id: The invoice that is unpaid, if it is known.
        decline_code: The card issuer's, as Stripe spells it; a hard decline skips ahead.
        retry_at: When Stripe retries by itself; our own retry hints wait until then.

    Returns:
        The case's id; None if the account is cancelled, which is never dunned.

    Raises:
        UnknownAccount: And AccountDeleted, SystemAccount.
        ValueError: For an unknown cause.
    """
    if cause not in CAUSES:
        raise ValueError(f"{cause} is not a cause of dunning; causes are {', '.join(CAUSES)}")
    account = accounts.lock_billable(ctx.session, account_id)
    if account.status not in DUNNED:
        return None
    opened = dunning_rows.open_case(
        ctx,
        account_id,
        cause=cause,
        invoice_id=invoice_id,
        decline_code=decline_code,
        retry_at=retry_at,
    )
    if opened is not None:
        return opened.id
    return _update(ctx, account_id, decline_code=decline_code, retry_at=retry_at)


def open_overdue(ctx: Context, account_id: int, *, invoice_id: int | None) -> bool:
    """Open a case for a sent invoice that is overdue; False if one is open, or nobody owes it."""
    account = accounts.lock(ctx.session, [account_id]).get(account_id)
    if account is None or account.is_system or account.status not in OWES:
        return False
    if funding.way(ctx, account_id).bank_until is not None:
        return False
    case = dunning_rows.open_case(ctx, account_id, cause="invoice_overdue", invoice_id=invoice_id)
    return case is not None


def stop(ctx: Context, account_id: int, *, reason: str, invoice_id: int | None = None) -> bool:
    """Close the account's open case; False if none is open.

    `reason`: paid or written_off. `invoice_id`: close it only if it is about this invoice. Call it
    in the transaction that records the payment. The caller lifts the reason `payment_failed`.
    """
    accounts.lock(ctx.session, [account_id])
    case = dunning_rows.of_account(ctx.session, account_id)
    if invoice_id is not None and (case is None or case.invoice_id != invoice_id):
        return False
    return bool(dunning_rows.close(ctx, [account_id], outcome=reason))


def method_changed(ctx: Context, account_id: int) -> bool:
    """Ask for a retry at once, with the new payment method; False if no payment is missing.

    The decline code of the old card is forgotten.
    """
    accounts.lock(ctx.session, [account_id])
    case = dunning_rows.of_account(ctx.session, account_id)
    if case is None or case.schedule != "card":
        return False
    case.decline_code = case.retry_at = None
    ctx.session.flush()
    hint = dunning_rows.event(case, "payment.retry_due", day=max(case.done_until, 0))
    outbox.leave_all(ctx, [hint])
    return True


def _update(
    ctx: Context, account_id: int, *, decline_code: str | None, retry_at: dt.datetime | None
) -> int | None:
    """Update the open case after another failure: a hard decline skips ahead, once.

    A hard decline stays until there is another payment method.
    """
    case = dunning_rows.of_account(ctx.session, account_id)
    assert case is not None, "one is open, under the account's lock"
    case.retry_at = retry_at
    if case.decline_code not in HARD_DECLINES:
        if decline_code in HARD_DECLINES:
            case.starts_at = min(case.starts_at, ctx.now - dunning_schedule.SKIPPED)
            case.due_at = min(due_at(case) or ctx.now, case.due_at or ctx.now)
        case.decline_code = decline_code or case.decline_code
    ctx.session.flush()
    return case.id


def due_at(case: DunningCase) -> dt.datetime | None:
    """Return when the next step of a case is due; None after the last."""
    return dunning_schedule.next_due(case.schedule, case.starts_at, done_until=case.done_until)
