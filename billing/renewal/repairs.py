"""The repair of calendars: finds accounts that should have credits, or a calendar, and have not.

It gives what signup, activation or the main app's own writes left out: the first credits of a new
account, a calendar for one that the main app activated, the lot of the running period.
"""

from collections.abc import Sequence
from contextlib import suppress

from billing.context import Context
from billing.errors import Rejected
from billing.host import accounts
from billing.renewal import cycles, due, signup_grant
from billing.sweep import AT_ONCE, Page, SweepResult, all_or_each


def sweep(ctx: Context, *, after: int = 0, limit: int = AT_ONCE) -> Page:
    """Repair accounts above id `after`, up to `limit`; each is looked at once a run."""
    found = due.repairs(ctx, after=after, limit=limit)
    locked = sorted(accounts.try_lock(ctx.session, found))
    swept = all_or_each(ctx, locked, _repair) if locked else []
    return Page(swept, max(found, default=None))


def _repair(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
    return [one for account_id in ids if (one := repair(ctx, account_id))]


def repair(ctx: Context, account_id: int) -> SweepResult | None:
    """Give the account what is missing; None if nothing is, or if it may have nothing any more."""
    with suppress(Rejected):
        taken_up = cycles.take_up(ctx, account_id)
        return taken_up or signup_grant.seed(ctx, account_id).swept
    return None
