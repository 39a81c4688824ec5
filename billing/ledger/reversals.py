"""Reversal of a debit: its credits go back to the lots that they came from, once.

A reversal may come before its debit. It then takes the debit's key, and the debit, when it comes,
is refused: the books end as if both had come in order.
"""

from collections.abc import Iterable, Mapping
from typing import cast

from sqlalchemy.orm import Session

from billing.errors import KeyReused, NothingToReverse, ReversedFirst
from billing.ledger import entry_rows, idempotency
from billing.ledger.entry_rows import Entry
from billing.ledger.idempotency import KnownKey
from billing.ledger.ledger import Ledger
from billing_client.messages import Reverse

#: The content of a key that was reversed before anyone knew what it stood for.
ANY_CONTENT = 0


def key_of(debit_key: str) -> str:
    """The reversal's own key: one for each debit."""
    return idempotency.own("reversal", debit_key)


def finish_key(hold_key: str) -> str:
    """The key of the capture or release of a hold: one for each hold."""
    return idempotency.own("finish", hold_key)


def entries_of(
    session: Session, known: Mapping[str, KnownKey], debit_keys: Iterable[str]
) -> dict[str, Entry]:
    """The entries that these debits, or captures of holds, made, by the uuid of their key."""
    ids = {
        uuid: found.entry_id
        for key in debit_keys
        for uuid in (idempotency.as_uuid(key), idempotency.as_uuid(finish_key(key)))
        if (found := known.get(uuid)) and found.entry_id
    }
    if not ids:
        return {}
    entries = entry_rows.entries_by_id(session, ids.values())
    return {uuid: entries[entry_id] for uuid, entry_id in ids.items()}


def reverse(
    ledger: Ledger, entries: Mapping[str, Entry], message: Reverse, *, uuid: str, content: int
) -> Entry:
    """Give back what the debit took. Raises a Rejected if there is nothing to give back.

    `uuid`: that of the reversal's own key, `content`: what it stands for.
    """
    balance = ledger.of(message.account_id)
    taken_by = idempotency.as_uuid(message.key)
    known = ledger.known_keys.get(taken_by)
    if known is not None and known.entry_id is None:
        # It may be a hold's: then its capture is what took the credits.
        taken_by = idempotency.as_uuid(finish_key(message.key))
        known = ledger.known_keys.get(taken_by, known)
    if known is None:
        ledger.remember(taken_by, ANY_CONTENT, None)
        raise ReversedFirst(key=message.key)
    if known.entry_id is None:
        raise NothingToReverse(key=message.key)
    entry = entries.get(taken_by) or ledger.entry(known.entry_id)
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
    """Put what an entry took back where it came from; returns the [[lot id, credits]] it gave.

    What it had taken as debt comes off the debt; what of it was repaid meanwhile comes as a lot of
    its own, with `key`. Raises BalanceTooLarge, having changed nothing.
    """
    balance = ledger.of(entry.account_id)
    parts = cast("list[list[int]]", entry.lots or [])
    ledger.open_lots(balance, [lot_id for lot_id, _ in parts])
    owed = -entry.amount + sum([taken for _, taken in parts])
    off_debt = min(owed, balance.debt)
    ledger.check_fits(balance, -entry.amount)
    lots = balance.give_back(parts, debt=off_debt)
    if owed > off_debt:
        lots += ledger.give(balance, owed - off_debt, source="reversal", key=key)
    return lots
