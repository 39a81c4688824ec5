"""The balance of one account while an act works on it: what it may spend, and how lots burn."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from billing.errors import InsufficientCredits, SpendCapReached
from billing.host.accounts import HostAccount
from billing.ledger.lots import OpenLot

#: The column is an int4: a month that costs more is counted up to here, and no cap is higher.
MAX_SPENT = 2**31 - 1
#: The main app is told once when a balance falls to these percentages of the plan's credits.
LOW_BALANCE_PERCENT = (20, 5, 0)


@dataclass(slots=True)
class Balance:
    """An account's credits with its open lots in burn order, expired ones included.

    Attributes:
        debt_limit: The plan's limit; the debt may be higher, from before.
        held: Credits that holds have reserved.
        spent: Cost of the operations since `spent_since`, the first of a month in UTC.
        spend_cap: The most that a month's operations may cost; None for no cap.
        frozen: The part of `held` that open disputes froze; it counts as no spending.
        last_hash: The hash of the account's last entry.
        now: The time of the act.
        was_credits: `credits` as they were read.
        as_read: All that is written back, as it was read.
        no_access_reason: Why the account has no access to the product; None if it has access.
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
    last_hash: bytes | None
    lots: list[OpenLot]
    now: dt.datetime
    was_credits: int
    as_read: tuple[object, ...]
    no_access_reason: str | None = None

    @property
    def has_changed(self) -> bool:
        """Whether the balance must be written; entries of 0 in sum change its hash or debt."""
        written = (self.credits, self.debt, self.held, self.spent, self.spent_since, self.last_hash)
        return written != self.as_read

    def changed_lots(self) -> list[OpenLot]:
        """The lots that must be written."""
        return [lot for lot in self.lots if (lot.remaining, lot.held) != lot.as_read]

    def free(self) -> int:
        """Credits that may be spent now: in live lots and in no hold."""
        return sum([lot.free for lot in self.lots if lot.is_live])

    def available(self) -> int:
        """Free credits less the debt."""
        return max(self.free() - self.debt, 0)

    def room(self) -> int:
        """The most that a debit may cost now: free credits plus what the plan lets it owe."""
        return max(self.free() + self.debt_limit - self.debt, 0)

    def check_cap(self, cost: int) -> None:
        """Check that `cost` more stays within the month's cap.

        Raises:
            SpendCapReached: If it does not.
        """
        if self.spend_cap is not None:
            spent = self._spent_this_month() + self.held - self.frozen
            if spent + cost > self.spend_cap:
                available = max(self.spend_cap - spent, 0)
                raise SpendCapReached(needed=cost, available=available, cap=self.spend_cap)

    def burn(self, cost: int) -> list[object]:
        """Take `cost` from the lots in burn order and the rest as debt.

        Returns:
            [[lot id, -credits], …]

        Raises:
            InsufficientCredits: If that is more than `room`; nothing is taken then.
        """
        for lot in self.lots:
            free = lot.remaining - lot.held
            if free and lot.is_live:
                if 0 < cost <= free and self.debt <= self.debt_limit:
                    # Nearly every debit: the first lot is enough, so the others are not read.
                    lot.remaining -= cost
                    self._count(cost)
                    return [[lot.id, -cost]]
                break
        if cost > self.room():
            raise InsufficientCredits(needed=cost, available=self.available(), debt=self.debt)
        used: list[object] = []
        rest = cost
        for lot in self.lots:
            if rest == 0:
                break
            if lot.free and lot.is_live:
                taken = min(lot.free, rest)
                lot.remaining -= taken
                rest -= taken
                used.append([lot.id, -taken])
        self.debt += rest
        self._count(cost)
        return used

    def end_hold(self, parts: list[list[int]], *, spend: int) -> list[object]:
        """Free the parts that a hold reserved and take `spend` of them; returns as `burn`.

        A lot that expired meanwhile still pays for its holds.
        """
        by_id = {lot.id: lot for lot in self.lots}
        used: list[object] = []
        rest = spend
        for lot_id, credits in parts:
            lot = by_id[lot_id]
            taken = min(credits, rest)
            lot.held -= credits
            lot.remaining -= taken
            rest -= taken
            if taken:
                used.append([lot_id, -taken])
        assert rest == 0, "a hold pays for no more than it reserved"
        self.held -= sum([credits for _, credits in parts])
        self._count(spend)
        return used

    def repay(self) -> list[list[int]]:
        """Pay the debt from free credits in burn order; returns [[lot id, -credits], …]."""
        used: list[list[int]] = []
        for lot in self.lots:
            if self.debt and lot.free and lot.is_live:
                taken = min(lot.free, self.debt)
                lot.remaining -= taken
                self.debt -= taken
                used.append([lot.id, -taken])
        return used

    def claw_back(
        self, lot_ids: Iterable[int], credits: int, *, debt_limit: int | None
    ) -> tuple[list[list[int]], int]:
        """Take up to `credits` out of these lots, live or not, and the rest as debt.

        Args:
            lot_ids: The lots to take from.
            credits: The most to take.
            debt_limit: The most that the account may owe after it; None for no limit. It may be
                above the plan's own limit, which only bounds what may be spent.

        Returns:
            The [[lot id, -credits], …] and the new debt.
        """
        wanted, rest = set(lot_ids), credits
        used: list[list[int]] = []
        for lot in self.lots:
            if lot.id in wanted and lot.free and rest:
                taken = min(lot.free, rest)
                lot.remaining -= taken
                rest -= taken
                used.append([lot.id, -taken])
        owed = rest if debt_limit is None else min(rest, max(debt_limit - self.debt, 0))
        self.debt += owed
        self.debt_limit = max(self.debt_limit, self.debt)
        self.credits -= credits - rest + owed
        return used, owed

    def reserve(self, lot_ids: Iterable[int], credits: int) -> list[list[int]]:
        """Hold up to `credits` of these lots; returns the [[lot id, credits], …] held."""
        wanted, rest = set(lot_ids), credits
        parts: list[list[int]] = []
        for lot in self.lots:
            if lot.id in wanted and lot.free and rest:
                part = min(lot.free, rest)
                lot.held += part
                rest -= part
                parts.append([lot.id, part])
        self.held += credits - rest
        return parts

    def give_back(self, parts: list[list[int]], *, debt: int) -> list[object]:
        """Undo a debit: put its parts back into their lots, all open here, and `debt` off the debt.

        Returns:
            [[lot id, credits], …]
        """
        by_id = {lot.id: lot for lot in self.lots}
        for lot_id, taken in parts:
            by_id[lot_id].remaining -= taken
        self.debt -= debt
        self.credits += debt - sum([taken for _, taken in parts])
        return [[lot_id, -taken] for lot_id, taken in parts]

    def uncount(self, cost: int, *, spent_at: dt.datetime) -> None:
        """Take an operation that is undone off the month's spending, if it was this month's."""
        if _month_of(spent_at) == _month_of(self.now):
            self.spent = max(self._spent_this_month() - cost, 0)

    def low_balance_percent(self, included_credits: int) -> int | None:
        """The lowest threshold, in percent, that the balance fell to in this act; None if none."""
        before, after = self.was_credits * 100, self.credits * 100
        reached = [
            percent
            for percent in LOW_BALANCE_PERCENT
            if after <= percent * included_credits < before
        ]
        return min(reached, default=None)

    def _count(self, cost: int) -> None:
        self.spent = min(self._spent_this_month() + cost, MAX_SPENT)
        self.spent_since = _month_of(self.now)
        self.credits -= cost

    def _spent_this_month(self) -> int:
        return self.spent if self.spent_since == _month_of(self.now) else 0


@lru_cache(maxsize=16)
def _month_of(time: dt.datetime) -> dt.datetime:
    """The first of the month of a time, in UTC."""
    return time.astimezone(dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
