"""Reversals: a debit's credits return to the lots that they came from, once.

A reversal may arrive before its debit. It then marks the debit's key, and the debit is refused when
it arrives: the ledger ends as if both had arrived in order. The mark counts for the account that
reversed, and any other account may still use the key (decision 0024).
"""

from collections.abc import Iterable, Mapping
from typing import cast

from sqlalchemy.orm import Session

from billing.errors import KeyReused, NothingToReverse, ReversedFirst
from billing.ledger import entry_rows, idempotency
from billing.ledger.entry_rows import Entry
from billing.ledger.idempotency import KnownKey
from billing.ledger.ledger import Ledger
from billing.postgres import sql
from billing_client.messages import Reverse

#: The content of a key that a reversal has marked, and that nothing has used yet. The SQL function
#: `billing.place_hold` knows it, too.
ANY_CONTENT = 0


def key_of(debit_key: str) -> str:
    """Return the key of a debit's reversal."""
    return idempotency.own("reversal", debit_key)


def uuid_of(account_id: int, debit_key: str) -> str:
    """Return the uuid that stands for an account's reversal of this key."""
    return idempotency.as_uuid(idempotency.own("reversed_by", account_id, debit_key))


def before_0015(debit_key: str) -> str:
    """Return the uuid that stood for a reversal of this key before migration 0015."""
    return idempotency.as_uuid(key_of(debit_key))


_REVERSED_FIRST = """
SELECT account_id, key FROM billing.refusals
WHERE key = ANY(%(keys)s::text[]) AND reason = 'ReversedFirst'
"""


def reversed_first(session: Session, keys: Iterable[str]) -> set[tuple[int, str]]:
    """Return the accounts and keys, of these keys, that were reversed before they were used."""
    return {(row[0], row[1]) for row in sql.rows(session, _REVERSED_FIRST, {"keys": list(keys)})}


def finish_key(hold_key: str) -> str:
    """Return the key of a hold's capture or release."""
    return idempotency.own("finish", hold_key)


def uuids_of(account_id: int, debit_key: str) -> list[str]:
    """Return the uuids that may stand for an account's debit, or for the end of its hold."""
    return [
        uuid
        for key in (debit_key, finish_key(debit_key))
        for uuid in (idempotency.as_uuid(key), idempotency.own_uuid(account_id, key))
    ]


def entries_of(
    session: Session, known_keys: Mapping[str, KnownKey], uuids: Iterable[str]
) -> dict[str, Entry]:
    """Return the entries of debits or captures of holds, by the uuid of their key."""
    ids = {
        uuid: known_key.entry_id
        for uuid in uuids
        if (known_key := known_keys.get(uuid)) and known_key.entry_id
    }
    if not ids:
        return {}
    entries = entry_rows.entries_by_id(session, ids.values())
    return {uuid: entries[entry_id] for uuid, entry_id in ids.items()}


def reverse(
    ledger: Ledger,
    entries: Mapping[str, Entry],
    message: Reverse,
    *,
    debit_uuid: str,
    finish_uuid: str,
    uuid: str,
    content: int,
) -> Entry:
    """Give back what the debit took.

    Args:
        ledger: The open ledger.
        entries: The entries of the debits to reverse, by the uuid of their key.
        message: The reversal.
        debit_uuid: The uuid of the account's key.
        finish_uuid: The uuid of the end of the hold that has this key.
        uuid: The uuid of the reversal's own key.
        content: The digest of the reversal.

    Raises:
        ReversedFirst: The debit has not arrived; its key is taken.
        NothingToReverse: The debit was refused.
        KeyReused: The key is not that of a debit of the account.
        BalanceTooLarge: The balance would not fit into the main app's column.
    """
    balance = ledger.of(message.account_id)
    known_key = ledger.known_keys.get(debit_uuid)
    if known_key is not None and known_key.entry_id is None:
        # It may be the key of a hold: then the capture took the credits.
        debit_uuid = finish_uuid
        known_key = ledger.known_keys.get(debit_uuid, known_key)
    if known_key is None:
        ledger.remember(debit_uuid, ANY_CONTENT, None)
    if known_key is None or known_key.content == ANY_CONTENT:
        raise ReversedFirst(key=message.key)
    if known_key.entry_id is None:
        raise NothingToReverse(key=message.key)
    entry = entries.get(debit_uuid) or ledger.entry(known_key.entry_id)
    if entry.account_id != message.account_id or entry.type != "deduction":
        raise KeyReused(key=message.key)
    key = key_of(message.key)
    lots = give_back(ledger, entry, key=key)
    balance.uncount(-entry.amount, spent_at=entry.recorded_at)
    return ledger.post(
        balance,
        uuid=uuid,
        content=content,
        amount=-entry.amount,
        type="reversal",
        description=f"reversal of {entry.description}",
        key=key,
        reference=message.key,
        actor="main_app",
        happened_at=ledger.ctx.now,
        units=entry.units,
        lots=lots,
        details={"reason": message.reason},
    )


def give_back(ledger: Ledger, entry: Entry, *, key: str) -> list[object]:
    """Return an entry's credits to its lots; return the [lot id, credits] pairs.

    Credits that it took as debt reduce the debt; the part of it that is repaid already becomes a
    new lot with `key`. Raises BalanceTooLarge, having changed nothing.
    """
    balance = ledger.of(entry.account_id)
    parts = cast("list[list[int]]", entry.lots or [])
    ledger.open_lots(balance, [lot_id for lot_id, _ in parts])
    owed = -entry.amount + sum([credits for _, credits in parts])
    off_debt = min(owed, balance.debt)
    ledger.check_fits(balance, -entry.amount)
    lots = balance.give_back(parts, debt=off_debt)
    if owed > off_debt:
        lots += ledger.give(balance, owed - off_debt, source="reversal", key=key)
    return lots
