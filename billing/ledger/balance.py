"""One account's book while an act works on it: what may be spent, and how it burns."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from billing.errors import InsufficientCredits, SpendCapReached
from billing.host.accounts import HostAccount
from billing.ledger.lots import OpenLot

#: Its column is an int4: a month that costs more is counted up to here, and no cap is higher.
MAX_SPENT = 2**31 - 1


@dataclass(slots=True)
class Balance:
    """One account's book in work: `lots` in burn order, the expired ones included.

    `debt_limit` is the plan's, and may be less than the `debt`. `spent` counts what operations cost
    since `spent_since`, the first of a month (UTC); `spend_cap` None: no cap. `frozen`: what of
    `held` open disputes hold, which is no spending.
    """

    account: HostAccount
    credits: int
    debt: int
    debt_limit: int
    held: int
    opening_credits: int
    spent: int
    spent_since: dt.datetime | None
    spend_cap: int | None
    frozen: int
    chain: bytes | None
    lots: list[OpenLot]
    was_credits: int
    as_read: tuple[object, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.as_read = self._written()

    @property
    def has_changed(self) -> bool:
        """Whether it is to be written: entries that add up to nothing move the seal, and debt."""
        return self._written() != self.as_read

    def _written(self) -> tuple[object, ...]:
        return (self.credits, self.debt, self.held, self.spent, self.spent_since, self.chain)

    def free(self, now: dt.datetime) -> int:
        """Credits that may be spent at `now`: in live lots and in no hold."""
        return sum([lot.free for lot in self.lots if lot.is_live(now)])

    def available(self, now: dt.datetime) -> int:
        """What of the free credits is the account's own at `now`: what it owes comes off first."""
        return max(self.free(now) - self.debt, 0)

    def room(self, now: dt.datetime) -> int:
        """Credits that a debit may cost at `now`: what is free, and what the plan lets it owe."""
        return max(self.free(now) + self.debt_limit - self.debt, 0)

    def check_cap(self, cost: int, now: dt.datetime) -> None:
        """Raises SpendCapReached if `cost` more would go beyond the month's cap."""
        if self.spend_cap is not None:
            spent = self._spent_in(_month_of(now)) + self.held - self.frozen
            if spent + cost > self.spend_cap:
                available = max(self.spend_cap - spent, 0)
                raise SpendCapReached(needed=cost, available=available, cap=self.spend_cap)

    def burn(self, cost: int, now: dt.datetime) -> list[object]:
        """Take `cost` from the lots in burn order, the rest as debt; returns [[lot id, -credits]].

        Raises InsufficientCredits, having taken nothing.
        """
        for lot in self.lots:
            free = lot.remaining - lot.held
            if free and lot.is_live(now):
                if 0 < cost <= free and self.debt <= self.debt_limit:
                    # What nearly every debit is, without a look at the other lots.
                    lot.remaining -= cost
                    self._count(cost, now)
                    return [[lot.id, -cost]]
                break
        if cost > self.room(now):
            raise InsufficientCredits(needed=cost, available=self.available(now), debt=self.debt)
        used: list[object] = []
        left = cost
        for lot in self.lots:
            if left == 0:
                break
            if lot.free and lot.is_live(now):
                taken = min(lot.free, left)
                lot.remaining -= taken
                left -= taken
                used.append([lot.id, -taken])
        self.debt += left
        self._count(cost, now)
        return used

    def end_hold(self, parts: list[list[int]], *, spend: int, now: dt.datetime) -> list[object]:
        """Give back what a hold set aside, less `spend`, which is taken; returns as `burn`.

        An expired lot pays for its holds all the same.
        """
        by_id = {lot.id: lot for lot in self.lots}
        used: list[object] = []
        left = spend
        for lot_id, credits in parts:
            lot = by_id[lot_id]
            taken = min(credits, left)
            lot.held -= credits
            lot.remaining -= taken
            left -= taken
            if taken:
                used.append([lot_id, -taken])
        assert left == 0, "no more is spent from a hold than it held"
        self.held -= sum([credits for _, credits in parts])
        self._count(spend, now)
        return used

    def repay(self, now: dt.datetime) -> list[list[int]]:
        """Pay the debt with free credits in burn order; returns [[lot id, -credits]]."""
        used: list[list[int]] = []
        for lot in self.lots:
            if self.debt and lot.free and lot.is_live(now):
                taken = min(lot.free, self.debt)
                lot.remaining -= taken
                self.debt -= taken
                used.append([lot.id, -taken])
        return used

    def take_back(
        self, lot_ids: Iterable[int], credits: int, *, debt_limit: int | None
    ) -> tuple[list[list[int]], int]:
        """Take up to `credits` out of these lots, live or not, and the rest as debt.

        The debt grows to `debt_limit` at most; None: as far as it must. It may pass the plan's own
        limit, which is about what may be spent. Returns the [[lot id, -credits]] and the debt.
        """
        wanted, left = set(lot_ids), credits
        used: list[list[int]] = []
        for lot in self.lots:
            if lot.id in wanted and lot.free and left:
                taken = min(lot.free, left)
                lot.remaining -= taken
                left -= taken
                used.append([lot.id, -taken])
        owed = left if debt_limit is None else min(left, max(debt_limit - self.debt, 0))
        self.debt += owed
        self.debt_limit = max(self.debt_limit, self.debt)
        self.credits -= credits - left + owed
        return used, owed

    def set_aside(self, lot_ids: Iterable[int], credits: int) -> list[list[int]]:
        """Hold up to `credits` of these lots; returns the [[lot id, credits]] that it held."""
        wanted, left = set(lot_ids), credits
        parts: list[list[int]] = []
        for lot in self.lots:
            if lot.id in wanted and lot.free and left:
                part = min(lot.free, left)
                lot.held += part
                left -= part
                parts.append([lot.id, part])
        self.held += credits - left
        return parts

    def give_back(self, parts: list[list[int]], *, debt: int) -> list[object]:
        """Undo a debit: its credits back to their lots (all open here), its debt off the debt."""
        by_id = {lot.id: lot for lot in self.lots}
        for lot_id, taken in parts:
            by_id[lot_id].remaining -= taken
        self.debt -= debt
        self.credits += debt - sum([taken for _, taken in parts])
        return [[lot_id, -taken] for lot_id, taken in parts]

    def uncount(self, cost: int, *, spent_at: dt.datetime, now: dt.datetime) -> None:
        """Take an operation that is undone off the month's spending, if it was this month's."""
        if _month_of(spent_at) == _month_of(now):
            self.spent = max(self._spent_in(_month_of(now)) - cost, 0)

    def _count(self, cost: int, now: dt.datetime) -> None:
        month = _month_of(now)
        self.spent = min(self._spent_in(month) + cost, MAX_SPENT)
        self.spent_since = month
        self.credits -= cost

    def _spent_in(self, month: dt.datetime) -> int:
        return self.spent if self.spent_since == month else 0


@lru_cache(maxsize=16)
def _month_of(now: dt.datetime) -> dt.datetime:
    return now.astimezone(dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
