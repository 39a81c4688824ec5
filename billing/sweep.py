"""What a sweep did to an account, as a fact; and how one that breaks is kept from the others."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from billing.context import Context
from billing.postgres.transient import is_transient

#: Accounts, or lots, that one transaction of a sweep takes: a few tenths of a second of locks.
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class SweepResult:
    """One thing done. `at` is when it was due; credits are positive numbers.

    `what`: bought (a lot of a purchase), begun, renewed, resumed, filled or ended (a calendar),
    upgraded, deferred or changed (a plan), expired (a lot), hold expired, seeded (a trial's
    credits), broke (nothing was done; `error` is its name); trial_begun, reminded, trial_over,
    trial_paid, trial_repeated, trial_goes_on, trial_settled (the account is in none any more);
    dunned, dunning_over; limit_exceeded, limit_kept; closed (a deleted account).
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

    @property
    def is_done(self) -> bool:
        """Whether anything was done."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Page:
    """What one set of a sweep over all accounts did.

    `last` is the set's highest account id, None after the last set.
    """

    swept: list[SweepResult]
    last: int | None


def all_or_each(
    ctx: Context, ids: Sequence[int], act: Callable[[Context, Sequence[int]], list[SweepResult]]
) -> list[SweepResult]:
    """Act on these locked accounts at once; where that breaks, on each in a savepoint of its own.

    One account whose rows were changed by SQL would else hold up all the others, for ever. Raises
    what may pass by itself.
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
    return [one for each in ids for one in all_or_each(ctx, [each], act)]
