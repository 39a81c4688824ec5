"""The rows of dunning: cases are opened, claimed and closed; steps are recorded."""

import datetime as dt
from collections.abc import Iterable, Sequence

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.lifecycle.dunning import schedule as dunning_schedule
from billing.lifecycle.dunning.schedule import (
    BEFORE_ALL,
    CANCEL_DAY,
    CAUSES,
    DAY,
    HARD_DECLINES,
    SKIPPED,
    SUSPEND_DAY,
)
from models.life import DunningCase, DunningStep


def open_case(
    ctx: Context,
    account_id: int,
    *,
    cause: str,
    invoice_id: int | None = None,
    decline_code: str | None = None,
    retry_at: dt.datetime | None = None,
) -> DunningCase | None:
    """Open a case; None if one is open. Call it under the account's lock."""
    schedule, due_after = CAUSES[cause]
    starts_at = (
        ctx.now + due_after - (SKIPPED if decline_code in HARD_DECLINES else dt.timedelta(0))
    )
    first_at = dunning_schedule.next_due(schedule, starts_at, done_until=BEFORE_ALL)
    opened = ctx.session.execute(
        insert(DunningCase)
        .values(
            account_id=account_id,
            schedule=schedule,
            cause=cause,
            invoice_id=invoice_id,
            decline_code=decline_code,
            opened_at=ctx.now,
            starts_at=starts_at,
            done_until=BEFORE_ALL,
            due_at=max(first_at or ctx.now, ctx.now),
            retry_at=retry_at,
        )
        .on_conflict_do_nothing()
        .returning(DunningCase)
    )
    return opened.scalars().first()


def of_account(session: Session, account_id: int) -> DunningCase | None:
    """Read the open case of an account."""
    return next(iter(of_accounts(session, [account_id])), None)


def of_accounts(session: Session, account_ids: Iterable[int]) -> Sequence[DunningCase]:
    """Read the open cases of these accounts, the oldest first."""
    rows = select(DunningCase).where(
        DunningCase.account_id.in_(list(account_ids)), DunningCase.closed_at.is_(None)
    )
    rows = rows.order_by(DunningCase.id).execution_options(populate_existing=True)
    return session.scalars(rows).all()


_BILLED = """
SELECT DISTINCT account_id FROM billing.transfer_invoices
WHERE account_id = ANY(%(ids)s::bigint[]) AND state = 'open'
"""


def billed(session: Session, account_ids: Iterable[int]) -> set[int]:
    """Return those of these accounts with an open invoice: it has reminders of its own."""
    rows = session.connection().exec_driver_sql(_BILLED, {"ids": list(account_ids)})
    return {row[0] for row in rows}


def due(ctx: Context, *, limit: int) -> Sequence[DunningCase]:
    """Claim cases with a step that is due, before the accounts' locks (`trials.rows.due`)."""
    rows = (
        select(DunningCase)
        .where(DunningCase.closed_at.is_(None), DunningCase.due_at <= ctx.now)
        .order_by(DunningCase.due_at, DunningCase.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return ctx.session.scalars(rows.execution_options(populate_existing=True)).all()


def close(ctx: Context, account_ids: Iterable[int], *, outcome: str) -> list[int]:
    """Close the open cases of these accounts and leave an event for each; returns their ids."""
    rows = ctx.session.execute(
        update(DunningCase)
        .where(DunningCase.account_id.in_(list(account_ids)), DunningCase.closed_at.is_(None))
        .values(closed_at=ctx.now, outcome=outcome, due_at=None)
        .returning(DunningCase.id, DunningCase.account_id, DunningCase.invoice_id)
        .execution_options(synchronize_session=False)
    ).all()
    if not rows:
        return []
    events = [
        NewEvent(
            "payment.settled",
            account_id,
            {"case_id": case_id, "invoice_id": invoice_id, "outcome": outcome},
        )
        for case_id, account_id, invoice_id in sorted(rows)
    ]
    outbox.leave_all(ctx, events)
    return [row[0] for row in rows]


def record_step(ctx: Context, case_id: int, day: int, action: str, *, is_done: bool) -> bool:
    """Record a step; False if it was recorded before."""
    new = ctx.session.execute(
        insert(DunningStep)
        .values(case_id=case_id, day=day, action=action, is_done=is_done, happened_at=ctx.now)
        .on_conflict_do_nothing()
        .returning(DunningStep.case_id)
    )
    return new.first() is not None


def event(case: DunningCase, event_type: str, *, day: int) -> NewEvent:
    """Make an event about a case, with the days on which it suspends and cancels."""
    payload = {
        "case_id": case.id,
        "schedule": case.schedule,
        "cause": case.cause,
        "invoice_id": case.invoice_id,
        "decline_code": case.decline_code,
        "day": day,
        "suspends_at": (case.starts_at + SUSPEND_DAY * DAY).isoformat(),
        "cancels_at": (case.starts_at + CANCEL_DAY * DAY).isoformat(),
    }
    return NewEvent(event_type, case.account_id, payload)
