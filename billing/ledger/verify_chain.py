"""The check of an account's entries, in their order: hash chain, running balance, sums and lots.

An account may be read in several transactions: entries are only added, with ascending ids.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from billing.ledger import entry_rows, idempotency, old_hashes, stored_entries
from billing.ledger.anchors import Anchor
from billing.ledger.entry_rows import Entry
from billing.ledger.stored_entries import Unreadable
from billing.postgres import sql

#: The type of an account's first entry.
OPENING = "opening_balance"
NOT_ANCHORED = "the entries up to here are not those that were anchored"
#: A finding: its check, its subject and its facts.
Facts: TypeAlias = dict[str, object]
Finding: TypeAlias = tuple[str, str, Facts]


@dataclass(slots=True)
class Walk:
    """An account's entries up to `last_id`, and what they broke.

    Attributes:
        account_id: The account.
        opening_credits: Its opening balance, which the first hash covers.
        previous: The hash of the last entry, or what the first hash covers in its place.
        anchor: The account's anchor, which the entries must meet; None if it has none.
        old_until: The last entry that may have a hash of version 1; None while there is no end.
        last_id: The last entry.
        entries: The number of entries.
        balance: The balance after the last entry.
        total: The sum of the amounts.
        lots: What the entries did to each lot; None if it is not asked.
        last_old_id: The last entry with a hash of version 1.
        is_linked: Whether every hash so far fits.
        findings: What was found.
    """

    account_id: int
    opening_credits: int
    previous: bytes
    anchor: Anchor | None = None
    old_until: int | None = None
    last_id: int = 0
    entries: int = 0
    balance: int = 0
    total: int = 0
    lots: Counter[int] | None = None
    last_old_id: int = 0
    is_linked: bool = True
    findings: list[Finding] = field(default_factory=list)


def begin(
    account_id: int, opening_credits: int, anchor: Anchor | None, *, with_chain: bool = True
) -> Walk:
    """Begin before the account's first entry; `with_chain`: verify the hashes, too."""
    first = entry_rows.opening_hash(account_id, opening_credits)
    return Walk(account_id, opening_credits, first, anchor, is_linked=with_chain)


def resume(walk: Walk, anchor: Anchor, stored: tuple[bytes | None, int | None]) -> None:
    """Go on from the anchor, which must stand on the entry's `stored` hash and balance."""
    # An account that has only its opening entry is anchored at what its first hash covers.
    last_hash = walk.previous if stored[0] is None and anchor.entries == 1 else stored[0]
    if (last_hash, stored[1]) != (anchor.last_hash, anchor.balance):
        _unlink(walk, f"entry {anchor.entry_id}", NOT_ANCHORED)
    walk.previous, walk.last_id, walk.entries = anchor.last_hash, anchor.entry_id, anchor.entries
    walk.balance = walk.total = anchor.balance


def take(walk: Walk, key: bytes | None, row: sql.Row) -> None:
    """Check the next entry; `row` has `stored_entries.COLUMNS`."""
    entry = stored_entries.parse(row)
    if isinstance(entry, Unreadable):
        _pass_unreadable(walk, entry)
    else:
        _check_balance(walk, entry)
        _check_hash(walk, key, entry)
        if walk.lots is not None and entry.lots:
            for lot_id, credits in stored_entries.lots_of(str(entry.lots)):
                walk.lots[lot_id] += credits
    is_anchored = walk.anchor and walk.last_id < walk.anchor.entry_id <= entry.id
    walk.entries, walk.last_id = walk.entries + 1, entry.id
    if walk.anchor and is_anchored and _place(walk) != _place_of(walk.anchor):
        _unlink(walk, f"entry {entry.id}", NOT_ANCHORED)


def _place(walk: Walk) -> tuple[int, int, bytes]:
    return (walk.entries, walk.last_id, walk.previous)


def _place_of(anchor: Anchor) -> tuple[int, int, bytes]:
    return (anchor.entries, anchor.entry_id, anchor.last_hash)


def _check_balance(walk: Walk, entry: Entry) -> None:
    if entry.balance_after != walk.balance + entry.amount:
        before, after = walk.balance, entry.balance_after
        facts: Facts = {"before": before, "amount": entry.amount, "after": after}
        _report(walk, "running_balance", f"entry {entry.id}", facts)
    walk.balance = entry.balance_after
    walk.total += entry.amount


def _check_hash(walk: Walk, key: bytes | None, entry: Entry) -> None:
    if walk.last_id == 0 and walk.opening_credits:
        # The opening entry has no hash: the balance row says everything in it.
        if not _is_the_opening(entry, walk.opening_credits):
            _unlink(walk, f"account {walk.account_id}", "the opening", key="missing")
        return
    if not walk.is_linked:
        return
    stored = entry.entry_hash
    is_old = stored is not None and len(stored) == old_hashes.LENGTH
    if is_old:
        walk.last_old_id = entry.id
        expected = old_hashes.entry_hash(key, walk.previous, entry)
    else:
        text = entry_rows.hashed_text(entry)
        expected = entry_rows.entry_hash(key, walk.previous, entry, text)
    if stored != expected:
        problem = "its hash does not fit it" if stored else "it has no hash"
        _unlink(walk, f"entry {entry.id}", problem, sealed=stored is not None)
    elif is_old and walk.old_until is not None and entry.id > walk.old_until:
        problem = f"it has the older version of the hash, which ended at entry {walk.old_until}"
        _unlink(walk, f"entry {entry.id}", problem, sealed=True)
    walk.previous = expected


def _pass_unreadable(walk: Walk, entry: Unreadable) -> None:
    """Report the row; later hashes cover the one that it has."""
    facts = {"table": stored_entries.TABLE, "row": entry.id, "problem": entry.problem}
    _report(walk, "unreadable", f"entry {entry.id}", facts)
    walk.balance = walk.balance if entry.balance_after is None else entry.balance_after
    walk.total += entry.amount or 0
    walk.previous = entry.entry_hash or walk.previous


def finish(walk: Walk, *, credits: int, head: bytes | None) -> None:
    """Compare the entries with the balance row, read in the snapshot of the last of them."""
    account = f"account {walk.account_id}"
    first = entry_rows.opening_hash(walk.account_id, walk.opening_credits)
    if walk.total != credits:
        _report(walk, "entries", account, {"credits": credits, "entries": walk.total})
    if walk.opening_credits and not walk.entries:
        _unlink(walk, account, "the opening", key="missing")
    elif walk.previous != (head or first) or (walk.anchor and walk.anchor.entry_id > walk.last_id):
        _unlink(walk, account, "the last entries", key="missing")


def anchor_of(walk: Walk) -> Anchor | None:
    """The account's new anchor; None if nothing is new, or if something is wrong."""
    if walk.findings or not walk.entries or not walk.is_linked:
        return None
    new = Anchor(walk.account_id, walk.entries, walk.last_id, walk.previous, walk.balance)
    return None if new == walk.anchor else new


def _report(walk: Walk, check: str, subject: str, facts: Facts) -> None:
    walk.findings.append((check, subject, {"account_id": walk.account_id, **facts}))


def _unlink(
    walk: Walk, subject: str, problem: str, *, key: str = "problem", sealed: bool | None = None
) -> None:
    """Report the first place where the hash chain does not fit; all later hashes depend on it."""
    if walk.is_linked:
        facts: Facts = {key: problem}
        if sealed is not None:
            facts["sealed"] = sealed
        _report(walk, "seals", subject, facts)
    walk.is_linked = False


def _is_the_opening(entry: Entry, opening_credits: int) -> bool:
    """Whether the entry is as `billing.open_book` wrote it: with known values and no hash."""
    actual = (entry.type, entry.amount, entry.balance_after, entry.key, entry.actor)
    key = idempotency.own("opening", entry.account_id)
    is_plain = entry.description == "opening balance" and entry.happened_at == entry.recorded_at
    return is_plain and actual == (OPENING, opening_credits, opening_credits, key, "billing")
