"""Dunning: money that did not come is asked for, on the schedule, until it comes or the end.

Whoever learns of a failed payment opens a case; whoever books money stops it, in the transaction
in which the money lands. `billing.lifecycle.dunning.sweep` takes the steps between.
"""

import datetime as dt

from billing.context import Context
from billing.events import outbox
from billing.host import accounts
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.dunning import schedule as dunning_schedule
from billing.lifecycle.dunning.schedule import CAUSES, HARD_DECLINES
from models.life import DunningCase

#: Only in these statuses is an account asked for money; the rest are over, or not ours to know.
ASKED = frozenset({"trial", "active", "pending_payment", "suspended"})


def open_case(
    ctx: Context,
    account_id: int,
    *,
    cause: str,
    invoice_id: int | None = None,
    decline_code: str | None = None,
    retry_at: dt.datetime | None = None,
) -> int | None:
    """Open a case; returns its id, or that of the open one, which learns what is new.

    `cause`: card_failed or transfer_announced. `decline_code`: the card issuer's,
    as Stripe spells it; one that makes a retry pointless skips ahead. `retry_at`: when someone
    tries by himself; our own hints wait for that. None where nobody is asked: the account is
    cancelled. Raises UnknownAccount, AccountDeleted or SystemAccount; ValueError for a cause that
    is none.
    """
    if cause not in CAUSES:
        raise ValueError(f"no cause of dunning: {cause}")
    account = accounts.lock_billable(ctx.session, account_id)
    if account.status not in ASKED:
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
    return _learn(ctx, account_id, decline_code=decline_code, retry_at=retry_at)


def stop(ctx: Context, account_id: int, *, reason: str, invoice_id: int | None = None) -> bool:
    """Close the account's open case, as `reason` says: paid, written_off; False if none is open.

    `invoice_id`: only if it is about this invoice. Call it in the transaction in which the money
    lands. Lifting `payment_failed` is the caller's.
    """
    accounts.lock(ctx.session, [account_id])
    case = dunning_rows.of_account(ctx.session, account_id)
    if invoice_id is not None and (case is None or case.invoice_id != invoice_id):
        return False
    return bool(dunning_rows.close(ctx, [account_id], outcome=reason))


def method_changed(ctx: Context, account_id: int) -> bool:
    """A new way to pay is there: try at once; False if nothing is missing.

    What the old card was declined for counts no more.
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


def _learn(
    ctx: Context, account_id: int, *, decline_code: str | None, retry_at: dt.datetime | None
) -> int | None:
    """A case that is open hears of another failure: its clock goes on, or skips ahead once.

    What made a retry pointless stays until there is another way to pay.
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
    """When the next step of a case is due; None after the last."""
    return dunning_schedule.next_due(case.schedule, case.starts_at, done_until=case.done_until)
