"""The books of some accounts, opened under their locks, worked on in memory, written in one go.

Every act on credits goes through here, so that the sums of DESIGN 1.3 are made in one place:
`credits` = sum of entries = what remains in the lots - debt.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from billing.context import Context
from billing.errors import AccountDeleted, BalanceTooLarge, UnknownAccount
from billing.events import outbox
from billing.host import accounts
from billing.host.accounts import PlanTerms
from billing.ledger import balance_rows as rows
from billing.ledger import chain, entry_rows, idempotency, low_balance
from billing.ledger.balance import Balance
from billing.ledger.entry_rows import Entry
from billing.ledger.idempotency import Known
from billing.ledger.lots import SOURCES, OpenLot, burn_order

#: The main app keeps the balance in an int4.
MAX_BALANCE = 2**31 - 1


@dataclass(slots=True)
class Ledger:
    """The open books of one transaction, with all that is to be written.

    `known` are the keys that already stand for something, those of this transaction included.
    `due` are the accounts whose period has ended, and that no sweep has come to yet.
    """

    ctx: Context
    by_account: dict[int, Balance]
    known: dict[str, Known]
    terms: Mapping[int | None, PlanTerms]
    due: Sequence[int] = ()
    _entries: list[Entry] = field(default_factory=list)
    _new_keys: dict[str, Known] = field(default_factory=dict)
    _ids: list[int] = field(default_factory=list)

    def of(self, account_id: int) -> Balance:
        """The account's book. Raises UnknownAccount or AccountDeleted."""
        balance = self.by_account.get(account_id)
        if balance is None:
            raise UnknownAccount(account_id=account_id)
        if balance.account.is_deleted:
            raise AccountDeleted(account_id=account_id)
        return balance

    def remember(self, key: str, content: int, entry_id: int | None) -> None:
        """From now on the key stands for this."""
        self.known[key] = self._new_keys[key] = Known(content, entry_id)

    def entry(self, entry_id: int) -> Entry:
        """An entry that this transaction has posted."""
        return next(entry for entry in self._entries if entry.id == entry_id)

    def reserve(self, count: int) -> None:
        """Fetch `count` entry ids at once; without it, ids are fetched one by one."""
        self._ids = entry_rows.next_ids(self.ctx.session, count)[::-1] + self._ids

    def post(
        self,
        balance: Balance,
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
        account_id = balance.account.id
        entry = Entry(
            self._ids.pop(),
            account_id,
            type,
            amount,
            balance.credits,
            description,
            key,
            actor,
            happened_at,
            self.ctx.now,
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
        balance: Balance,
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
        self.check_fits(balance, amount)
        repaid = min(balance.debt, amount)
        balance.debt -= repaid
        balance.credits += amount
        lot = rows.NewLot(
            account_id=balance.account.id,
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
        return [[self.add_lot(balance, lot).id, lot.remaining]]

    def repay(self, balance: Balance) -> None:
        """Pay what the account owes with what came free, by an entry of 0: the balance is the same.

        Free credits beside a debt cannot be spent; if they lapsed, the account would owe for what
        it never had.
        """
        if not balance.debt or not (used := balance.repay(self.ctx.now)):
            return
        if not self._ids:
            self.reserve(1)
        key = idempotency.own("repayment", self._ids[-1])
        self.post(
            balance,
            content=idempotency.digest(key),
            amount=0,
            type="repayment",
            description="debt repaid from credits that came free",
            key=key,
            actor="billing",
            happened_at=self.ctx.now,
            lots=used,
        )

    def add_lot(self, balance: Balance, lot: rows.NewLot) -> OpenLot:
        """Write a new lot and open it; what it adds to the balance is the caller's to count."""
        opened = rows.insert_lot(self.ctx, lot)
        balance.lots.append(opened)
        balance.lots.sort(key=burn_order)
        return opened

    def check_fits(self, balance: Balance, amount: int) -> None:
        """Raises BalanceTooLarge if the balance, ours or the one shown, has no room for it."""
        shown_by_app = balance.account.credits + balance.credits - balance.was_credits
        if max(balance.credits, shown_by_app) + amount > MAX_BALANCE:
            raise BalanceTooLarge(account_id=balance.account.id, amount=amount)

    def open_lots(self, balance: Balance, lot_ids: Iterable[int]) -> None:
        """Make sure that these lots are open, spent ones too; unknown ids are left out."""
        missing = set(lot_ids) - {lot.id for lot in balance.lots}
        if missing:
            balance.lots += rows.read_lots_by_id(self.ctx.session, missing)
            balance.lots.sort(key=burn_order)

    def _sealed(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, str]]:
        """The entries, each sealed as it is written, with what is said of it."""
        for entry in entries:
            balance = self.by_account[entry.account_id]
            previous = balance.chain or chain.genesis(entry.account_id, balance.opening_credits)
            said = entry_rows.said(entry)
            entry.chain = balance.chain = chain.seal(
                self.ctx.ledger_key, previous, said, entry.details
            )
            yield entry, said

    def write(self, posting: Iterator[Entry] | None = None) -> None:
        """Write entries, keys, lots, books, the main app's balances, and what they set off.

        `posting`: posts entries as it yields them, without SQL: Postgres takes in each while the
        next is worked out.
        """
        if posting is not None:
            entry_rows.append(self.ctx.session, self._sealed(posting))
            self._entries.clear()
        for balance in self.by_account.values():
            if balance.debt and balance.has_changed:
                self.repay(balance)
        if self._entries:
            entry_rows.append(self.ctx.session, self._sealed(self._entries))
        if self._new_keys:
            idempotency.claim(self.ctx.session, self._new_keys)
        balances = self.by_account.values()
        changed = [balance for balance in balances if balance.has_changed]
        lots = [lot for balance in balances for lot in balance.lots if lot.has_changed]
        rows.write(self.ctx.session, changed, lots)
        low = [low_balance.event_of(b, self.terms.get(b.account.plan_id)) for b in changed]
        outbox.leave_all(self.ctx, [event for event in low if event])


def open_accounts(ctx: Context, account_ids: Iterable[int], *, keys_asked: Iterable[str]) -> Ledger:
    """Lock the accounts, adopt those without a book, and read books, lots and known keys.

    `keys_asked` are uuids of `idempotency.as_uuid`. Every read comes after the lock, in a
    statement of its own, so that its snapshot sees what the last holder of the lock committed.
    """
    read = rows.read_locked(ctx, set(account_ids))
    if missing := [account_id for account_id, each in read.items() if each.balance is None]:
        rows.adopt(ctx, missing)
        read |= rows.read_locked(ctx, missing)
    known = idempotency.lookup(ctx.session, keys_asked)
    terms = accounts.plan_terms(ctx.session)
    by_account = {
        account_id: _open(each.account, each.balance, each.lots, terms)
        for account_id, each in read.items()
        if each.balance is not None
    }
    due = [account_id for account_id, each in read.items() if each.is_due]
    return Ledger(ctx, by_account, known, terms, due)


def _open(
    account: accounts.HostAccount,
    row: rows.BalanceRow,
    lots: list[OpenLot],
    terms: Mapping[int | None, PlanTerms],
) -> Balance:
    plan = terms.get(account.plan_id)
    return Balance(
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
