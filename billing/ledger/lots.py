"""Lots of credits: their sources, and the order in which they burn."""

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

_FOR_EVER = dt.datetime.max.replace(tzinfo=dt.UTC)


class Source(NamedTuple):
    """The burn order of a source's credits: lower `priority` first, promotional before paid."""

    priority: int
    is_promotional: bool


#: Credits that expire soonest burn first; those that never expire burn last.
SOURCES: dict[str, Source] = {
    "trial": Source(priority=10, is_promotional=True),
    "plan": Source(priority=20, is_promotional=False),
    "rollover": Source(priority=20, is_promotional=False),
    "bridge": Source(priority=20, is_promotional=False),
    "goodwill": Source(priority=30, is_promotional=True),
    "bank_transfer": Source(priority=40, is_promotional=False),
    "top_up": Source(priority=40, is_promotional=False),
    "reversal": Source(priority=20, is_promotional=False),
    "opening_balance": Source(priority=50, is_promotional=False),
}


#: Sources of a credit cycle: given for a period, expired or rolled over at its end.
OF_A_PERIOD = frozenset({"plan", "rollover"})


@dataclass(slots=True)
class OpenLot:
    """A lot with credits left, while an act works on its account.

    Attributes:
        remaining: Credits that are left, those of holds included.
        held: Credits that holds have reserved.
        is_live: Whether its credits may be spent now; an expired lot's may not, swept or not.
        as_read: `remaining` and `held` as they were read.
    """

    id: int
    source: str
    priority: int
    is_promotional: bool
    remaining: int
    held: int
    starts_at: dt.datetime | None
    expires_at: dt.datetime | None
    is_live: bool
    as_read: tuple[int, int]

    @property
    def free(self) -> int:
        """Credits that no hold has reserved."""
        return self.remaining - self.held

    def has_expired(self, now: dt.datetime) -> bool:
        """Whether it expired by `now`."""
        return self.expires_at is not None and self.expires_at <= now


def burn_order(lot: OpenLot) -> tuple[int, dt.datetime, bool, int]:
    """Sort key: priority, then soonest expiry, then promotional before paid, then oldest."""
    expiry = lot.expires_at or _FOR_EVER
    return (lot.priority, expiry, not lot.is_promotional, lot.id)
