"""What a sweep did to an account, as a fact: for the log, for `--dry-run` and for tests."""

import datetime as dt
from dataclasses import dataclass

#: Accounts, or lots, that one transaction of a sweep takes: a few tenths of a second of locks.
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Swept:
    """One thing done. `at` is when it was due; credits are positive numbers.

    `what`: begun, renewed, resumed, filled or ended (a calendar), upgraded, deferred or changed (a
    plan), expired (a lot), seeded (a trial's credits); trial_begun, reminded, trial_over,
    trial_paid, trial_goes_on, trial_settled (the account is in none any more); dunned,
    dunning_over; limit_exceeded, limit_kept; closed (a deleted account).
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


@dataclass(frozen=True, slots=True)
class Page:
    """What one set of a sweep over all accounts did.

    `last` is the set's highest account id, None after the last set.
    """

    swept: list[Swept]
    last: int | None
