"""The repair of calendars: finds accounts that should have credits, or a calendar, and have not.

It gives what signup, activation or the main app's own writes left out: the first credits of a new
account, a calendar for one that the main app activated, the lot of the running period.
"""

import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from sqlalchemy.orm import Session

from billing.errors import Rejected
from billing.host import accounts
from billing.renewal import cycles, due, signup_grant
from billing.sweep import AT_ONCE, Page, Swept, all_or_each


def sweep(session: Session, *, now: dt.datetime, after: int = 0, limit: int = AT_ONCE) -> Page:
    """Repair accounts above id `after`, up to `limit`; each is looked at once a run."""
    found = due.repairs(session, now=now, after=after, limit=limit)
    locked = sorted(accounts.lock_free(session, found))
    swept = all_or_each(session, locked, partial(_repair, session, now), now=now) if locked else []
    return Page(swept, max(found, default=None))


def _repair(session: Session, now: dt.datetime, ids: Sequence[int]) -> list[Swept]:
    return [one for account_id in ids if (one := repair(session, account_id, now=now))]


def repair(session: Session, account_id: int, *, now: dt.datetime) -> Swept | None:
    """Give the account what is missing; None if nothing is, or if it may have nothing any more."""
    with suppress(Rejected):
        taken_up = cycles.take_up(session, account_id, now=now)
        return taken_up or signup_grant.seed(session, account_id, now=now).swept
    return None
