"""The results of sweeps, and how an account that breaks is kept from holding up the others."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from billing.context import Context
from billing.postgres.transient import is_transient

#: Accounts, or lots, that one transaction of a sweep takes: for a few tenths of a second.
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class SweepResult:
    """One thing that a sweep did to an account.

    Attributes:
        account_id: The account.
        what: bought (a lot of a purchase); begun, renewed, resumed, filled or ended (a credit
            cycle); upgraded, deferred or changed (a plan); expired (a lot); hold expired; seeded
            (a signup grant of trial credits); trial_begun, reminded, trial_over, trial_paid,
            trial_repeated, trial_goes_on, trial_settled (the account has left its trial); dunned,
            dunning_over; status_followed; limit_exceeded, limit_kept; closed (a deleted account);
            broke (nothing was done).
        at: When it was due.
        granted: Credits given.
        carried: Credits that rolled over.
        expired: Credits that expired, as a positive number.
        period_number: The period of the credit cycle.
        plan_id: The plan of that period.
        lot_id: The lot that expired.
        entry_id: The entry of the credits given.
        error: The name of the error, of an account that broke.
    """

    account_id: int
    what: str
    at: dt.datetime
    granted: int = 0
    carried: int = 0
    expired: int = 0
    period_number: int | None = None
    plan_id: int | None = None
    lot_id: int | None = None
    entry_id: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The results of one page of a sweep over all accounts.

    `last` is the page's highest account id, None after the last page.
    """

    results: list[SweepResult]
    last: int | None


def all_or_each(
    ctx: Context, ids: Sequence[int], act: Callable[[Context, Sequence[int]], list[SweepResult]]
) -> list[SweepResult]:
    """Act on these locked accounts in one savepoint; if that fails, on each half in its own.

    Otherwise one account whose rows were changed in SQL would hold up all others for ever. In
    halves, one that breaks costs a batch of 200 about 15 savepoints, at every run, and not 200.
    Transient errors are raised.
    """
    try:
        with ctx.session.begin_nested():
            return act(ctx, ids)
    except Exception as error:
        if is_transient(error):
            raise
        broke = SweepResult(ids[0], "broke", ctx.now, error=type(error).__name__)
    if len(ids) == 1:
        return [broke]
    half = len(ids) // 2
    return [result for part in (ids[:half], ids[half:]) for result in all_or_each(ctx, part, act)]
