"""The ledger of some accounts: opened under their locks, changed in memory, written in one go.

Every act on credits goes through here, so that the sums are made in one place: an account's
credits = the sum of its entries since the opening = the remaining credits of its lots - its debt.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from billing.context import Context
from billing.errors import AccountDeleted, BalanceTooLarge, UnknownAccount
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host.accounts import PlanTerms
from billing.ledger import balance_rows, entry_rows, idempotency
from billing.ledger.balance import Balance
from billing.ledger.balance_rows import NewLot
from billing.ledger.entry_rows import Entry
from billing.ledger.idempotency import KnownKey
from billing.ledger.lots import SOURCES, OpenLot, burn_order
from billing.postgres import sql

#: The main app keeps the balance in an int4.
MAX_BALANCE = 2**31 - 1


@dataclass(slots=True)
class Ledger:
    """The open accounts of one transaction, and all that it will write.

    Attributes:
        by_account: Balances by account id.
        known_keys: Taken idempotency keys, those of this transaction included, by uuid.
        terms: The terms of every plan, by plan id.
        due: Accounts whose period has ended, and which no sweep has renewed yet.
    """

    ctx: Context
    by_account: dict[int, Balance]
    known_keys: dict[str, KnownKey]
    terms: Mapping[int | None, PlanTerms]
    due: Sequence[int] = ()
    _ids: list[int] = field(default_factory=list)
    _entries: list[Entry] = field(default_factory=list)
    _new_keys: dict[str, KnownKey] = field(default_factory=dict)
    _freed: list[str] = field(default_factory=list)

    def of(self, account_id: int) -> Balance:
        """The balance of an account. Raises UnknownAccount or AccountDeleted."""
        balance = self.by_account.get(account_id)
        if balance is None:
            raise UnknownAccount(account_id=account_id)
        if balance.account.is_deleted:
            raise AccountDeleted(account_id=account_id)
        return balance

    def remember(self, uuid: str, content: int, entry_id: int | None) -> None:
        """Claim a key for this content and its entry; None: it was refused."""
        self.known_keys[uuid] = self._new_keys[uuid] = KnownKey(content, entry_id)

    def replace_mark(self, uuid: str) -> None:
        """Let the claim of this uuid replace the mark of another account's reversal."""
        self._freed.append(uuid)

    def entry(self, entry_id: int) -> Entry:
        """An entry that this transaction has posted."""
        return next(entry for entry in self._entries if entry.id == entry_id)

    def reserve(self, count: int) -> None:
        """Reserve `count` entry ids in one statement; without it each costs one of its own."""
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
        """Add an entry of `amount`, which `balance.credits` already includes, and claim its key.

        `uuid`: that of the key, if it is known already.
        """
        if not self._ids:
            self.reserve(1)
        entry = Entry(
            self._ids.pop(),
            balance.account.id,
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
        """Pay `amount` credits in as a lot, debt first; returns its [[lot id, credits]].

        Raises BalanceTooLarge, having changed nothing.
        """
        self.check_fits(balance, amount)
        repaid = min(balance.debt, amount)
        balance.debt -= repaid
        balance.credits += amount
        lot = NewLot(
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
        """Pay a debt from credits that became free, by an entry of 0: the balance stays the same.

        Free credits beside a debt can't be spent; if they expired, the account would owe for
        credits that it never had.
        """
        if not balance.debt or not (used := balance.repay()):
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

    def add_lot(self, balance: Balance, lot: NewLot) -> OpenLot:
        """Write a new lot and open it; the caller adds its credits to the balance."""
        opened = balance_rows.insert_lot(self.ctx, lot)
        balance.lots.append(opened)
        if len(balance.lots) > 1:
            balance.lots.sort(key=burn_order)
        return opened

    def check_fits(self, balance: Balance, amount: int) -> None:
        """Raise BalanceTooLarge if `amount` more does not fit, into ours or the app's column."""
        shown_by_app = balance.account.credits + balance.credits - balance.was_credits
        if max(balance.credits, shown_by_app) + amount > MAX_BALANCE:
            raise BalanceTooLarge(account_id=balance.account.id, amount=amount)

    def open_lots(self, balance: Balance, lot_ids: Iterable[int]) -> None:
        """Open these lots too, spent ones included; unknown ids are left out."""
        missing = set(lot_ids) - {lot.id for lot in balance.lots}
        if missing:
            balance.lots += balance_rows.read_lots_by_id(self.ctx, missing)
            balance.lots.sort(key=burn_order)

    def write(self) -> None:
        """Write entries, keys, lots, balances, the main app's balances, and low-balance events.

        Raises:
            sqlalchemy.exc.IntegrityError: If another transaction has claimed a key for an account
                that is not locked here; the batch then goes again, and finds it known.
        """
        session, balances = self.ctx.session, list(self.by_account.values())
        for balance in balances:
            if balance.debt and balance.has_changed:
                self.repay(balance)
        events = [event for balance in balances for event in self._low_balance_events(balance)]
        entries, keys = self._entry_lines(), idempotency.copy_lines(self._new_keys)
        if entries:
            sql.copy(session, entry_rows.TABLE, entry_rows.COLUMNS, entries)
        if self._freed:
            idempotency.free(session, self._freed)
        if keys:
            sql.copy(session, idempotency.TABLE, idempotency.COLUMNS, keys)
        changed = [balance for balance in balances if balance.has_changed]
        lots = [lot for balance in balances for lot in balance.changed_lots()]
        balance_rows.write(session, changed, lots)
        if events:
            outbox.leave_all(self.ctx, events)

    def _entry_lines(self) -> list[str]:
        """Link the new entries into their accounts' hash chains; return their lines for COPY."""
        lines: list[str] = []
        for entry in self._entries:
            balance = self.by_account[entry.account_id]
            previous = balance.last_hash or entry_rows.opening_hash(
                entry.account_id, balance.opening_credits
            )
            text = entry_rows.hashed_text(entry)
            entry.entry_hash = balance.last_hash = entry_rows.entry_hash(
                self.ctx.ledger_key, previous, entry, text
            )
            lines.append(entry_rows.copy_line(entry, text))
        return lines

    def _low_balance_events(self, balance: Balance) -> list[NewEvent]:
        plan = self.terms.get(balance.account.plan_id)
        if plan is None or balance.credits >= balance.was_credits:
            return []
        percent = balance.low_balance_percent(plan.included_credits)
        if percent is None:
            return []
        payload = {
            "credits": balance.credits,
            "included_credits": plan.included_credits,
            "threshold_percent": percent,
        }
        return [NewEvent("credits.low", balance.account.id, payload)]


def open_accounts(
    ctx: Context, account_ids: Collection[int], *, key_uuids: Collection[str], entries: int = 0
) -> Ledger:
    """Lock the accounts in ascending id and open their balances, lots and known keys.

    Args:
        ctx: The context.
        account_ids: The accounts; ids that do not exist are missing in the ledger.
        key_uuids: Uuids of the idempotency keys to look up (`idempotency.as_uuid`).
        entries: Entry ids to reserve.
    """
    opened = balance_rows.read_accounts(ctx, set(account_ids), uuids=key_uuids, entries=entries)
    balances, keys, terms, due, ids = opened
    return Ledger(ctx, balances, keys, terms, due, ids[::-1])
