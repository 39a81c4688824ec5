"""Lots of credits: where they come from, and in which order they burn."""

import datetime as dt
from dataclasses import dataclass, field
from typing import NamedTuple

_FOR_EVER = dt.datetime.max.replace(tzinfo=dt.UTC)


class Source(NamedTuple):
    """How credits of a source burn: lower `priority` first; promotional before paid."""

    priority: int
    is_promotional: bool


#: The credits that lapse soonest burn first; what a customer bought for good burns last.
SOURCES: dict[str, Source] = {
    "trial": Source(priority=10, is_promotional=True),
    "plan": Source(priority=20, is_promotional=False),
    "rollover": Source(priority=20, is_promotional=False),
    "goodwill": Source(priority=30, is_promotional=True),
    "bank_transfer": Source(priority=40, is_promotional=False),
    "top_up": Source(priority=40, is_promotional=False),
    "reversal": Source(priority=20, is_promotional=False),
    "opening_balance": Source(priority=50, is_promotional=False),
}


#: What the calendar gives for a period, and takes back or carries over at its end.
OF_A_PERIOD = frozenset({"plan", "rollover"})


@dataclass(slots=True)
class OpenLot:
    """A lot with credits left, as it stands while an act works on its account's book."""

    id: int
    source: str
    priority: int
    is_promotional: bool
    remaining: int
    held: int
    starts_at: dt.datetime | None
    expires_at: dt.datetime | None
    as_read: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.as_read = (self.remaining, self.held)

    @property
    def has_changed(self) -> bool:
        """Whether it is to be written."""
        return (self.remaining, self.held) != self.as_read

    @property
    def free(self) -> int:
        """Credits that no hold has set aside."""
        return self.remaining - self.held

    def has_expired(self, now: dt.datetime) -> bool:
        """Whether its time is over at `now`."""
        return self.expires_at is not None and self.expires_at <= now

    def is_live(self, now: dt.datetime) -> bool:
        """Whether its credits may be spent at `now`; an expired lot may not, swept or not."""
        # Null, not the time of the grant: another worker, waiting for this account's lock, may have
        # read its clock a moment earlier, and would find the lot not yet begun.
        has_begun = self.starts_at is None or self.starts_at <= now
        return has_begun and not self.has_expired(now)


def burn_order(lot: OpenLot) -> tuple[int, dt.datetime, bool, int]:
    """Priority, then soonest expiry, then promotional before paid, then oldest."""
    expiry = lot.expires_at or _FOR_EVER
    return (lot.priority, expiry, not lot.is_promotional, lot.id)
