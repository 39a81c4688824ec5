"""The books of some accounts, opened under their locks, worked on in memory, written in one go.

Every act on credits goes through here, so that the sums of DESIGN 1.3 are made in one place:
`credits` = sum of entries = what remains in the lots - debt.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from billing.errors import AccountDeleted, BalanceTooLarge, UnknownAccount
from billing.events import outbox
from billing.host import accounts
from billing.host.accounts import PlanTerms
from billing.ledger import balance_rows as rows
from billing.ledger import chain, entry_rows, idempotency, low_balance
from billing.ledger.balance import OpenBook
from billing.ledger.entry_rows import Entry
from billing.ledger.idempotency import Known
from billing.ledger.lots import SOURCES, OpenLot, burn_order

#: The main app keeps the balance in an int4.
MAX_BALANCE = 2**31 - 1
#: Where a session carries the key of the seals (see billing.ledger.chain).
LEDGER_KEY = "ledger_key"


@dataclass(slots=True)
class Books:
    """The open books of one transaction, with all that is to be written.

    `known` are the keys that already stand for something, those of this transaction included.
    `due` are the accounts whose period has ended, and that no sweep has come to yet.
    """

    session: Session
    now: dt.datetime
    by_account: dict[int, OpenBook]
    known: dict[str, Known]
    terms: Mapping[int | None, PlanTerms]
    ledger_key: bytes | None
    due: Sequence[int] = ()
    _entries: list[Entry] = field(default_factory=list)
    _new_keys: dict[str, Known] = field(default_factory=dict)
    _ids: list[int] = field(default_factory=list)

    def of(self, account_id: int) -> OpenBook:
        """The account's book. Raises UnknownAccount or AccountDeleted."""
        book = self.by_account.get(account_id)
        if book is None:
            raise UnknownAccount(account_id=account_id)
        if book.account.is_deleted:
            raise AccountDeleted(account_id=account_id)
        return book

    def remember(self, key: str, content: int, entry_id: int | None) -> None:
        """From now on the key stands for this."""
        self.known[key] = self._new_keys[key] = Known(content, entry_id)

    def entry(self, entry_id: int) -> Entry:
        """An entry that this transaction has posted."""
        return next(entry for entry in self._entries if entry.id == entry_id)

    def reserve(self, count: int) -> None:
        """Fetch `count` entry ids at once; without it, ids are fetched one by one."""
        self._ids = entry_rows.next_ids(self.session, count)[::-1] + self._ids

    def post(
        self,
        book: OpenBook,
        *,
        content: int,
        amount: int,
        type: str,
        description: str,
        key: str,
        actor: str,
        happened_at: dt.datetime,
        uuid: str | None = None,
        reference: str | None = None,
        units: int | None = None,
        lots: Sequence[object] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> Entry:
        """Add an entry of `amount`, which `book.credits` already includes, and claim its key.

        `uuid`: the key's, from who has worked it out already.
        """
        if not self._ids:
            self.reserve(1)
        account_id = book.account.id
        entry = Entry(
            self._ids.pop(),
            account_id,
            type,
            amount,
            book.credits,
            description,
            key,
            actor,
            happened_at,
            self.now,
            reference,
            units,
            lots,
            details,
        )
        self._entries.append(entry)
        self.remember(uuid or idempotency.as_uuid(key), content, entry.id)
        return entry

    def give(
        self,
        book: OpenBook,
        amount: int,
        *,
        source: str,
        key: str,
        expires_at: dt.datetime | None = None,
        priority: int | None = None,
        period_number: int | None = None,
    ) -> list[object]:
        """Pay `amount` credits in as a lot, debt first; returns the [[lot id, credits]] it made.

        Raises BalanceTooLarge, having changed nothing.
        """
        self.check_fits(book, amount)
        repaid = min(book.debt, amount)
        book.debt -= repaid
        book.credits += amount
        lot = rows.NewLot(
            account_id=book.account.id,
            source=source,
            priority=SOURCES[source].priority if priority is None else priority,
            is_promotional=SOURCES[source].is_promotional,
            granted=amount,
            remaining=amount - repaid,
            starts_at=None,
            expires_at=expires_at,
            key=key,
            period_number=period_number,
        )
        return [[self.add_lot(book, lot).id, lot.remaining]]

    def repay(self, book: OpenBook) -> None:
        """Pay what the account owes with what came free, by an entry of 0: the balance is the same.

        Free credits beside a debt cannot be spent; if they lapsed, the account would owe for what
        it never had.
        """
        if not book.debt or not (used := book.repay(self.now)):
            return
        if not self._ids:
            self.reserve(1)
        key = idempotency.own("repayment", self._ids[-1])
        self.post(
            book,
            content=idempotency.digest(key),
            amount=0,
            type="repayment",
            description="debt repaid from credits that came free",
            key=key,
            actor="billing",
            happened_at=self.now,
            lots=used,
        )

    def add_lot(self, book: OpenBook, lot: rows.NewLot) -> OpenLot:
        """Write a new lot and open it; what it adds to the balance is the caller's to count."""
        opened = rows.insert_lot(self.session, lot, self.now)
        book.lots.append(opened)
        book.lots.sort(key=burn_order)
        return opened

    def check_fits(self, book: OpenBook, amount: int) -> None:
        """Raises BalanceTooLarge if the balance, ours or the one shown, has no room for it."""
        shown_by_app = book.account.credits + book.credits - book.was_credits
        if max(book.credits, shown_by_app) + amount > MAX_BALANCE:
            raise BalanceTooLarge(account_id=book.account.id, amount=amount)

    def open_lots(self, book: OpenBook, lot_ids: Iterable[int]) -> None:
        """Make sure that these lots are open, spent ones too; unknown ids are left out."""
        missing = set(lot_ids) - {lot.id for lot in book.lots}
        if missing:
            book.lots += rows.read_lots_by_id(self.session, missing)
            book.lots.sort(key=burn_order)

    def _sealed(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, str]]:
        """The entries, each sealed as it is written, with what is said of it."""
        for entry in entries:
            book = self.by_account[entry.account_id]
            previous = book.chain or chain.genesis(entry.account_id, book.opening_credits)
            said = entry_rows.said(entry)
            entry.chain = book.chain = chain.seal(self.ledger_key, previous, said, entry.details)
            yield entry, said

    def write(self, posting: Iterator[Entry] | None = None) -> None:
        """Write entries, keys, lots, books, the main app's balances, and what they set off.

        `posting`: posts entries as it yields them, without SQL: Postgres takes in each while the
        next is worked out.
        """
        if posting is not None:
            entry_rows.append(self.session, self._sealed(posting))
            self._entries.clear()
        for book in self.by_account.values():
            if book.debt and book.has_changed:
                self.repay(book)
        if self._entries:
            entry_rows.append(self.session, self._sealed(self._entries))
        if self._new_keys:
            idempotency.claim(self.session, self._new_keys)
        books = self.by_account.values()
        changed = [book for book in books if book.has_changed]
        rows.write(self.session, changed, [o for b in books for o in b.lots if o.has_changed])
        low = [low_balance.event_of(b, self.terms.get(b.account.plan_id)) for b in changed]
        outbox.leave_all(self.session, [event for event in low if event], now=self.now)


def open_books(
    session: Session, account_ids: Iterable[int], *, keys_asked: Iterable[str], now: dt.datetime
) -> Books:
    """Lock the accounts, adopt those without a book, and read books, lots and known keys.

    `keys_asked` are uuids of `idempotency.as_uuid`. Every read comes after the lock, in a
    statement of its own, so that its snapshot sees what the last holder of the lock committed.
    """
    read = rows.read_locked(session, set(account_ids), now)
    if missing := [account_id for account_id, each in read.items() if each.book is None]:
        rows.adopt(session, missing, now)
        read |= rows.read_locked(session, missing, now)
    known = idempotency.lookup(session, keys_asked)
    terms = accounts.plan_terms(session)
    by_account = {
        account_id: _open(each.account, each.book, each.lots, terms)
        for account_id, each in read.items()
        if each.book is not None
    }
    due = [account_id for account_id, each in read.items() if each.is_due]
    return Books(session, now, by_account, known, terms, session.info.get(LEDGER_KEY), due)


def _open(
    account: accounts.HostAccount,
    row: rows.BookRow,
    lots: list[OpenLot],
    terms: Mapping[int | None, PlanTerms],
) -> OpenBook:
    plan = terms.get(account.plan_id)
    return OpenBook(
        account=account,
        credits=row.credits,
        debt=row.debt,
        debt_limit=plan.debt_limit if plan else 0,
        held=row.held,
        opening_credits=row.opening_credits,
        spent=row.spent,
        spent_since=row.spent_since,
        spend_cap=row.spend_cap,
        frozen=row.frozen,
        chain=row.chain and bytes(row.chain),
        lots=sorted(lots, key=burn_order) if len(lots) > 1 else lots,
        was_credits=row.credits,
    )
