"""What credits should do, in plain Python and without a thought for speed: the tests' own opinion.

It shares no code with `billing`. Every account is a list of lots and a list of entries, every
question is answered by looking through them, and time is a datetime that the caller passes.
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import NamedTuple

FOR_EVER = dt.datetime.max.replace(tzinfo=dt.UTC)
#: source -> priority (lower burns first), promotional (burns before paid)
BURNS = {
    "trial": (10, True),
    "plan": (20, False),
    "rollover": (20, False),
    "reversal": (20, False),
    "goodwill": (30, True),
    "top_up": (40, False),
    "opening_balance": (50, False),
}


class Said(NamedTuple):
    """An answer: `amount` moved, or why not."""

    outcome: str
    amount: int | None = None
    reason: str | None = None


class No(Exception):
    """A refusal that stands under its key (`is_final`), or a rejection that leaves the key free."""

    def __init__(self, reason, *, is_final=False):
        super().__init__(reason)
        self.said = Said("refused" if is_final else "rejected", reason=reason)
        self.is_final = is_final


@dataclass
class Lot:
    key: str
    source: str
    expires_at: dt.datetime
    number: int
    remaining: int
    held: int = 0

    def free(self, now):
        return self.remaining - self.held if now < self.expires_at else 0

    def lapse(self):
        lost = self.remaining - self.held
        self.remaining = self.held
        return lost

    def order(self):
        priority, is_promotional = BURNS[self.source]
        return (priority, self.expires_at, not is_promotional, self.number)


@dataclass
class Entry:
    key: str
    kind: str
    amount: int
    at: dt.datetime
    from_lots: list = field(default_factory=list)
    is_reversed: bool = False


@dataclass
class Hold:
    account: str
    operation: str
    credits: int
    placed_at: dt.datetime
    expires_at: dt.datetime
    parts: list
    state: str = "held"


@dataclass
class Calendar:
    """Periods of a month, which end on the first, at noon."""

    account_id: int
    due: dt.datetime
    included: int
    rollover_cap: int
    number: int = 1

    def go_on(self):
        self.number += 1
        self.due = (self.due.replace(day=28) + dt.timedelta(days=4)).replace(day=1)


@dataclass
class Account:
    calendar: Calendar | None = None
    debt_limit: int = 0
    cap: int | None = None
    debt: int = 0
    lots: list[Lot] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    refusals: list = field(default_factory=list)

    @property
    def credits(self):
        return sum(entry.amount for entry in self.entries)

    @property
    def held(self):
        return sum(lot.held for lot in self.lots)

    def available(self, now):
        return max(sum(lot.free(now) for lot in self.lots) - self.debt, 0)

    def room(self, now):
        return max(sum(lot.free(now) for lot in self.lots) + self.debt_limit - self.debt, 0)

    def spent(self, now):
        """What this month's operations cost, less those that were reversed."""
        month = (now.year, now.month)
        return -sum(
            e.amount
            for e in self.entries
            if e.kind == "deduction" and (e.at.year, e.at.month) == month and not e.is_reversed
        )

    def cap_leaves(self, now):
        return None if self.cap is None else max(self.cap - self.spent(now) - self.held, 0)

    def burn(self, cost, now):
        """Take what is free in burn order, the rest as debt; returns [(lot, credits)]."""
        parts = self.choose(cost, now)
        for lot, taken in parts:
            lot.remaining -= taken
        self.debt += cost - sum(taken for _, taken in parts)
        return parts

    def repay(self, now):
        """What is free pays what is owed."""
        parts = self.choose(self.debt, now)
        for lot, taken in parts:
            lot.remaining -= taken
            self.debt -= taken
        if parts:
            self.entries.append(Entry("repayment", "repayment", 0, now))

    def choose(self, cost, now):
        parts = []
        for lot in sorted(self.lots, key=Lot.order):
            taken = min(lot.free(now), cost)
            if taken:
                parts.append((lot, taken))
                cost -= taken
        return parts

    def open(self, credits, account_id, now):
        """The balance that was there before us: a lot, or a debt."""
        key = f"billing:opening:{account_id}"
        if credits > 0:
            self.pay_in(credits, key=key, source="opening_balance")
        self.debt = max(-credits, 0)
        self.entries.append(Entry(key, "opening", credits, now))

    def cross_a_boundary(self, now):
        """What the period has left rolls over up to the cap; the rest goes, and new credits come."""
        is_over = self.calendar.due
        self.calendar.go_on()
        left = self.calendar.rollover_cap
        lots = [
            lot
            for lot in sorted(self.lots, key=Lot.order)
            if lot.source in {"plan", "rollover"} and lot.expires_at == is_over
        ]
        for lot in lots:
            taken = min(lot.remaining - lot.held, left)
            lot.remaining -= taken
            left -= taken
        self.entries += [
            Entry("expiry", "expiry", -lot.lapse(), now) for lot in lots if lot.remaining > lot.held
        ]
        if carried := self.calendar.rollover_cap - left:
            self.begin_a_lot(carried, "rollover")
            self.entries.append(Entry(self.lots[-1].key, "rollover", 0, now))
        self.begin_a_lot(self.calendar.included, "plan")
        self.entries.append(Entry(self.lots[-1].key, "grant", self.calendar.included, now))

    def begin_a_lot(self, amount, source):
        said = {"plan": "renewal"}.get(source, source)
        key = f"billing:{said}:{self.calendar.account_id}:{self.calendar.number}"
        self.pay_in(amount, key=key, source=source, expires_at=self.calendar.due)

    def pay_in(self, amount, *, key, source, expires_at=None):
        repaid = min(self.debt, amount)
        self.debt -= repaid
        lot = Lot(key, source, expires_at or FOR_EVER, len(self.lots), amount - repaid)
        self.lots.append(lot)


#: What a key stands for that nothing but a reversal has named.
MARK = object()


class Model:
    """All accounts, holds, prices, and what each key stands for."""

    def __init__(self, accounts, prices):
        self.accounts = accounts
        self.prices = {
            operation: [(FOR_EVER.replace(year=1), *p)] for operation, p in prices.items()
        }
        #: (account, key) -> hold
        self.holds = {}
        #: (kind of act, account, key) -> (what was asked, the first answer): keys are the account's
        self.known = {}

    def cost(self, operation, units, at):
        """Credits that the version in force at that time asks for, or None.

        The first price counts for the work before it, which waited for it.
        """
        versions = self.prices.get(operation, [])
        past = [each for each in versions if each[0] <= at]
        if not any(each[1] is not None for each in past):
            past = [each for each in versions if each[1] is not None][:1]
        if not past or past[-1][1] is None:
            return None
        _, credits, per, is_fixed = past[-1]
        return credits if is_fixed else (units + per - 1) // per * credits

    # --- acts: each returns a Said -----------------------------------------------------------------

    def debit(self, now, *, account, operation, units, key, happened_at=None):
        asked = ("debit", account, operation, units)

        def take():
            found = self._account(account)
            cost = self.cost(operation, units, min(happened_at or now, now))
            if cost is None:
                raise No("UnknownOperation")
            left = found.cap_leaves(now)
            if left is not None and cost > left:
                raise No("SpendCapReached", is_final=True)
            if cost > found.room(now):
                raise No("InsufficientCredits", is_final=True)
            return self._take(found, key, cost, now, found.burn(cost, now))

        return self._once("key", key, asked, own_key=key, act=take)

    def grant(self, now, *, account, amount, source, key, expires_at=None):
        asked = ("grant", account, amount, source)

        def give():
            found = self._account(account)
            if expires_at is not None and expires_at <= now:
                raise No("AlreadyExpired")
            found.pay_in(amount, key=key, source=source, expires_at=expires_at)
            found.entries.append(Entry(key, "grant", amount, now))
            return Said("granted", amount)

        return self._once("key", key, asked, own_key=key, act=give)

    def place(self, now, *, account, operation, units, key, ttl_s):
        """Set credits aside. A hold that has ended is not held again under its key."""
        asked = ("hold", account, operation, units)

        def hold():
            found = self._account(account)
            cost = self.cost(operation, units, now)
            if cost is None:
                raise No("UnknownOperation")
            if cost > found.available(now):
                raise No("InsufficientCredits", is_final=True)
            left = found.cap_leaves(now)
            if left is not None and cost > left:
                raise No("SpendCapReached", is_final=True)
            parts = found.choose(cost, now)
            for lot, taken in parts:
                lot.held += taken
            until = now + dt.timedelta(seconds=ttl_s)
            self.holds[account, key] = Hold(account, operation, cost, now, until, parts)
            return Said("held", cost)

        if account not in self.accounts:
            return Said("rejected", reason="UnknownAccount")
        said = self._once("key", key, asked, own_key=key, act=hold)
        if said.outcome == "held" and self.holds[account, key].state != "held":
            return Said("refused", reason="HoldEnded")
        return said

    def capture(self, now, *, account, hold, units=None):
        own_key = f"billing:finish:{hold}"
        asked = ("finish", account)

        def take():
            found = self._hold(account, hold)
            ledger = self.accounts[account]
            cost = found.credits
            if units is not None:
                cost = self.cost(found.operation, units, found.placed_at)
            parts = []
            if found.state == "held":
                parts = self._end(found, "captured", spend=min(cost, found.credits))
            rest = cost - sum(taken for _, taken in parts)
            reachable = min(rest, ledger.room(now))
            if reachable < rest and cost - rest + reachable == 0:
                raise No("InsufficientCredits", is_final=True)
            if reachable < rest:
                ledger.refusals.append((own_key, "InsufficientCredits"))
            parts += ledger.burn(reachable, now)
            said = self._take(ledger, own_key, cost - rest + reachable, now, parts)
            ledger.repay(now)
            return said

        return self._once("finish", hold, asked, own_key=own_key, act=take)

    def release(self, now, *, account, hold):
        def give_back():
            found = self._hold(account, hold)
            if found.state == "held":
                self._end(found, "released")
            self.accounts[account].repay(now)
            return Said("released")

        asked, own_key = ("finish", account), f"billing:finish:{hold}"
        return self._once("finish", hold, asked, own_key=own_key, act=give_back)

    def reverse(self, now, *, account, key):
        own_key = f"billing:reversal:{key}"

        def give_back():
            if (account, key) in self.holds and ("finish", account, key) not in self.known:
                raise No("HoldNotFinished")
            ledger = self._account(account)
            refused = No("ReversedFirst", is_final=True)
            if self.known.setdefault(("key", account, key), (MARK, refused.said))[0] is MARK:
                raise refused
            paid_as, (_, said) = key, self.known["key", account, key]
            if said.outcome in {"held", "refused"} and ("finish", account, key) in self.known:
                paid_as, (_, said) = f"billing:finish:{key}", self.known["finish", account, key]
            if said.outcome not in {"taken", "granted"}:
                raise No("NothingToReverse", is_final=True)
            paid = [e for e in ledger.entries if e.key == paid_as and e.kind == "deduction"]
            entry = paid[0] if paid else None
            if entry is None:
                raise No("KeyReused")
            owed = -entry.amount - sum(taken for _, taken in entry.from_lots)
            for lot, taken in entry.from_lots:
                lot.remaining += taken
            entry.is_reversed = True
            off_debt = min(owed, ledger.debt)
            ledger.debt -= off_debt
            if owed > off_debt:
                ledger.pay_in(owed - off_debt, key=own_key, source="reversal")
            ledger.entries.append(Entry(own_key, "reversal", -entry.amount, now))
            ledger.repay(now)
            return Said("given", -entry.amount)

        return self._once("reverse", key, ("reverse", account), own_key=own_key, act=give_back)

    def expire_holds(self, now):
        due = [h for h in self.holds.values() if h.state == "held" and h.expires_at <= now]
        for hold in due:
            self._end(hold, "expired")
        for account in {hold.account for hold in due}:
            self.accounts[account].repay(now)
        return len(due)

    def expire_lots(self, now):
        """What no hold needs leaves the lots that are over, the earliest first; returns how many.

        An account that has any is renewed before, and counts for each boundary.
        """

        def over(account):
            lots = sorted(account.lots, key=lambda lot: (lot.expires_at, lot.number))
            return [lot for lot in lots if lot.expires_at <= now and lot.remaining > lot.held]

        count = 0
        for name, account in self.accounts.items():
            if over(account):
                count += self.renew(now, name)
            for lot in over(account):
                account.entries.append(Entry("expiry", "expiry", -lot.lapse(), now))
                count += 1
        return count

    def renew(self, now, *names):
        """Cross the boundaries that have passed, of these accounts; returns how many."""
        count = 0
        for account in [self.accounts[name] for name in names if name in self.accounts]:
            while account.calendar and account.calendar.due <= now:
                account.cross_a_boundary(now)
                count += 1
        return count

    # --- what they share ---------------------------------------------------------------------------

    def _once(self, kind, key, asked, *, own_key, act):
        account = asked[1]
        if (kind, account, key) in self.known:
            first_asked, said = self.known[kind, account, key]
            if asked == first_asked:
                return said
            if first_asked is MARK and asked[0] == "debit":
                return Said("refused", reason="ReversedFirst")
            return Said("rejected", reason="KeyReused")
        try:
            said = act()
        except No as no:
            if not no.is_final:
                return no.said
            said = no.said
            shown = key if said.reason == "ReversedFirst" else own_key
            self.accounts[account].refusals.append((shown, said.reason))
        self.known[kind, account, key] = (asked, said)
        return said

    def _account(self, name):
        if name not in self.accounts:
            raise No("UnknownAccount")
        return self.accounts[name]

    def _hold(self, account, key):
        hold = self.holds.get((account, key))
        if hold is None:
            raise No("UnknownHold")
        return hold

    def _take(self, account, key, cost, now, parts):
        account.entries.append(Entry(key, "deduction", -cost, now, parts))
        return Said("taken", -cost)

    def _end(self, hold, state, spend=0):
        """Give back what was set aside, less `spend`, which is taken; returns [(lot, credits)]."""
        hold.state = state
        taken_from = []
        for lot, set_aside in hold.parts:
            taken = min(set_aside, spend)
            lot.held -= set_aside
            lot.remaining -= taken
            spend -= taken
            if taken:
                taken_from.append((lot, taken))
        return taken_from
