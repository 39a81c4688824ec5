"""A statement while it is read: takes entries, keeps their sums, and checks them at the end."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from billing.currencies import exponent_of
from billing.statements.canonical import (
    Account,
    Balance,
    Check,
    Entry,
    Family,
    Hold,
    HoldReason,
    Statement,
    Status,
    Total,
)
from billing.statements.errors import StatementRefused, TooManyEntries, TooManyStatements
from billing.statements.limits import (
    MAX_ENTRIES,
    MAX_HOLDS_OF_A_KIND,
    MAX_NOTES,
    MAX_STATEMENTS,
    MAX_UNITS,
)
from billing.statements.packed import Packing, packing_entries


class Budget:
    """The statements, entries and units of a file or a whole archive so far."""

    statements = entries = units = 0

    def spend_statement(self, position: str) -> None:
        """Count one statement; raises TooManyStatements."""
        self.statements += 1
        if self.statements > MAX_STATEMENTS:
            raise TooManyStatements(position, limit=MAX_STATEMENTS)

    def spend_entry(self, position: str, details: int) -> None:
        """Count one entry with its details; raises TooManyEntries."""
        self.entries += 1
        self.units += 1 + details
        if self.entries > MAX_ENTRIES:
            raise TooManyEntries(position, limit=MAX_ENTRIES)
        if self.units > MAX_UNITS:
            raise TooManyEntries(position, limit=MAX_UNITS)


@dataclass(slots=True, kw_only=True)
class Draft:
    """A statement that a reader fills in; `finish` makes the frozen Statement.

    `needs_balances` says whether the format requires an opening and a closing balance.
    """

    format: str
    family: Family
    budget: Budget
    version: str | None = None
    source: str | None = None
    account: Account = field(default_factory=Account)
    currency: str | None = None
    statement_id: str | None = None
    sequence: str | None = None
    page: str | None = None
    created: str | None = None
    from_date: date | None = None
    to_date: date | None = None
    opening: Balance | None = None
    closing: Balance | None = None
    needs_balances: bool = False
    entry_count: int = 0
    unread_count: int = 0
    booked_minor: int = 0
    first_day: date | None = None
    last_day: date | None = None
    checks: list[Check] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    entries: Packing[Entry] = field(default_factory=packing_entries)
    _sums: dict[str, list[int]] = field(default_factory=dict)
    _held: Counter[HoldReason] = field(default_factory=Counter)
    _refusal: StatementRefused | None = None

    def add(self, entry: Entry, *, details: int = 0) -> None:
        """Add one entry; raises TooManyEntries if the file's budget is spent.

        `details` is the number of transactions that the file states for it.
        """
        self.budget.spend_entry(entry.position, details)
        self.entry_count += 1
        amount = entry.amount_minor
        sums = self._sums.get(entry.currency)
        if sums is None:
            sums = self._sums[entry.currency] = [0, 0, 0, 0]
        side = 0 if entry.is_credit else 2
        sums[side] += 1
        sums[side + 1] += abs(amount)
        if entry.status is Status.BOOKED or entry.status is None:
            self.booked_minor += amount
        day = entry.booking_date or entry.value_date
        if day is not None and (self.first_day is None or day < self.first_day):
            self.first_day = day
        if day is not None and (self.last_day is None or day > self.last_day):
            self.last_day = day
        self.entries.add(entry)

    @property
    def row_count(self) -> int:
        """The number of entries so far, with those that could not be read."""
        return self.entry_count + self.unread_count

    def skip(self, refusal: StatementRefused, position: str, *, needs_sums: bool = True) -> None:
        """Hold the statement for an entry that can't be read; the other entries are kept.

        With `needs_sums`, `finish` raises the refusal if no sum of the bank shows what is missing.
        """
        self.budget.spend_entry(position, 0)
        self.unread_count += 1
        if needs_sums and self._refusal is None:
            self._refusal = refusal
        self.hold(HoldReason.ROW_NOT_READ, str(refusal), position)

    def has_hold(self, *reasons: HoldReason) -> bool:
        """Whether the statement is held for one of these reasons so far."""
        return any(self._held[reason] for reason in reasons)

    def note(self, says: str) -> None:
        """Add a note; only the first ones are kept."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(says)

    def hold(
        self, reason: HoldReason, says: str, position: str = "", difference_minor: int | None = None
    ) -> None:
        """Add a reason to hold the statement.

        Only the first of each kind are kept, so that a hostile file can't fill the memory.
        """
        self._held[reason] += 1
        if self._held[reason] <= MAX_HOLDS_OF_A_KIND:
            self.holds.append(Hold(reason, says, position, difference_minor))

    def check(self, name: str, *, stated: int, found: int) -> None:
        """Compare the bank's control figure with ours.

        A difference holds the statement and does not refuse it: banks publish wrong figures.
        """
        check = Check(name, stated, found)
        self.checks.append(check)
        if not check.agrees:
            message = f"{name}: the bank states {stated}, the entries give {found}"
            self.hold(HoldReason.CONTROL_TOTAL, message, difference_minor=found - stated)

    def totals(self) -> tuple[Total, ...]:
        """The numbers and sums of credits and debits so far, by currency."""
        return tuple(Total(currency, *sums) for currency, sums in sorted(self._sums.items()))

    def finish(self) -> Statement:
        """Make the last checks, and return the frozen statement.

        Raises the refusal of an entry that can't be read, if no sum shows what is missing.
        """
        self._check_currency()
        self._check_balance()
        if self._refusal is not None and not self.checks:
            raise self._refusal
        for reason, count in self._held.items():
            if count > MAX_HOLDS_OF_A_KIND:
                self.holds.append(Hold(reason, f"{count - MAX_HOLDS_OF_A_KIND} more of this kind"))
        return Statement(
            format=self.format,
            version=self.version,
            family=self.family,
            source=self.source,
            account=self.account,
            currency=self.currency,
            statement_id=self.statement_id,
            sequence=self.sequence,
            page=self.page,
            created=self.created,
            from_date=self.from_date,
            to_date=self.to_date,
            opening=self.opening,
            closing=self.closing,
            totals=self.totals(),
            booked_minor=self.booked_minor,
            first_day=self.first_day,
            last_day=self.last_day,
            checks=tuple(self.checks),
            holds=tuple(self.holds),
            entries=self.entries.finish(),
            notes=tuple(self.notes),
        )

    def _check_currency(self) -> None:
        stated = [balance.currency for balance in (self.opening, self.closing) if balance]
        if self.currency is None:
            self.currency = self.account.currency or next(iter([*stated, *self._sums]), None)
        for currency in sorted({*stated, *self._sums}):
            if exponent_of(currency) is None:
                self.hold(
                    HoldReason.CURRENCY_UNKNOWN,
                    f"{currency} is not in ISO 4217: read with two decimals",
                )
        for currency in sorted({*stated, *self._sums} - {self.currency}):
            message = f"an amount in {currency} on an account in {self.currency}"
            self.hold(HoldReason.CURRENCY_MISMATCH, message)

    def _check_balance(self) -> None:
        if self.opening is None or self.closing is None:
            if self.needs_balances and not self._held[HoldReason.BALANCE_UNREADABLE]:
                side = "opening" if self.opening is None else "closing"
                self.hold(HoldReason.BALANCE_MISSING, f"the {side} balance is missing")
            return
        summed = self.opening.amount_minor + self.booked_minor
        stated = self.closing.amount_minor
        self.checks.append(Check("closing balance", stated, summed))
        if summed != stated:
            message = f"opening balance and booked entries give {summed}, the bank states {stated}"
            self.hold(HoldReason.BALANCE_MISMATCH, message, difference_minor=summed - stated)


def hold_doubtful_encoding(drafts: Iterable[Draft], encoding: str) -> None:
    """Hold the statements of a text file that is in no usual encoding."""
    message = f"neither UTF-8 nor Windows-1252: read as {encoding}"
    for draft in drafts:
        draft.hold(HoldReason.ENCODING_DOUBT, message)
