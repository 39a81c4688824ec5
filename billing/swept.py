"""What a sweep did to an account, as a fact: for the log, for `--dry-run` and for tests."""

import datetime as dt
from dataclasses import dataclass

#: Accounts, or lots, that one transaction of a sweep takes: a few tenths of a second of locks.
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Swept:
    """One thing done. `at` is when it was due; credits are positive numbers.

    `what`: bought (a lot of a purchase), begun, renewed, resumed, filled or ended (a calendar),
    upgraded, deferred or changed (a plan), expired (a lot), seeded (a trial).
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
