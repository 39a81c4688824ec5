"""The check of the anchors themselves, and of the ledger against anchors that were kept outside."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from sqlalchemy.orm import Session

from billing.context import Context
from billing.ledger import anchors
from billing.ledger.anchors import Anchor
from billing.postgres import sql

#: The names of the lines in a file or log.
ANCHOR, TOTAL = "chain_anchor", "chain_total"
#: A subject and its facts.
Finding: TypeAlias = tuple[str, dict[str, object]]


def compare(ctx: Context) -> Iterator[tuple[str, dict[str, object]]]:
    """Find the anchors that were changed, and whether any was removed or added."""
    total, mac = anchors.locked_total(ctx)
    digest, count = bytes(32), 0
    for row in _all(ctx.session):
        digest, count = anchors.sum_of(digest, [bytes(row[5])], []), count + 1
        if not anchors.is_sound(ctx.ledger_key, row):
            facts: dict[str, object] = {"account_id": row[0], "problem": "its anchor was changed"}
            yield f"account {row[0]}", facts
    is_missing = mac is None and count > 0
    if is_missing or (mac is not None and mac != anchors.total_mac(ctx.ledger_key, total)):
        yield "total", {"problem": "the total of the anchors was changed or removed"}
    elif count != total.accounts:
        problem = f"anchors were removed or added: {total.accounts} were recorded, {count} are here"
        yield "anchors", {"problem": problem, "recorded": total.accounts, "here": count}
    elif digest != total.digest:
        yield "anchors", {"problem": "anchors were set back or exchanged since they were recorded"}


def _all(session: Session) -> Iterator[sql.Row]:
    connection = session.connection().execution_options(stream_results=True, max_row_buffer=5000)
    with connection.exec_driver_sql(
        "SELECT account_id, entries, entry_id, last_hash, balance, mac FROM billing.chain_anchors"
    ) as rows:
        for row in rows:
            yield tuple(row)


def line_of(anchor: Anchor, at: str) -> dict[str, object]:
    """Return the line that keeps an anchor outside the database."""
    return {
        "event": ANCHOR,
        "account_id": anchor.account_id,
        "entries": anchor.entries,
        "entry_id": anchor.entry_id,
        "hash": anchor.last_hash.hex(),
        "balance": anchor.balance,
        "at": at,
    }


def total_line(ctx: Context) -> dict[str, object]:
    """Return the line that keeps the total outside the database."""
    total, _ = anchors.locked_total(ctx)
    at = ctx.now.isoformat()
    return {"event": TOTAL, "accounts": total.accounts, "old_until": total.old_until, "at": at}


class Kept(NamedTuple):
    """The newest anchor of each account, and the last total, as they were kept outside."""

    newest: dict[int, Anchor]
    total: dict[str, object]


def read_lines(lines: Iterable[str]) -> Kept:
    """Read the lines of a file or log; other lines are passed over.

    Raises ValueError for a line that begins like an anchor and is none.
    """
    kept = Kept({}, {})
    for number, line in enumerate(lines, 1):
        facts = _facts(line)
        if facts.get("event") not in (ANCHOR, TOTAL):
            continue
        try:
            _take(kept, facts)
        except (KeyError, ValueError) as error:
            raise ValueError(f"line {number} is no anchor") from error
    return kept


def _facts(line: str) -> dict[str, object]:
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _take(kept: Kept, facts: dict[str, object]) -> None:
    if facts["event"] == TOTAL:
        kept.total.update(accounts=int(str(facts["accounts"])), old_until=facts["old_until"])
        return
    names = ("account_id", "entries", "entry_id", "balance")
    account_id, entries, entry_id, balance = (int(str(facts[name])) for name in names)
    last_hash = bytes.fromhex(str(facts["hash"]))
    anchor = Anchor(account_id, entries, entry_id, last_hash, balance)
    before = kept.newest.get(anchor.account_id)
    if before is None or before.entries <= anchor.entries:
        kept.newest[anchor.account_id] = anchor


_KEPT = """
SELECT k.account_id, b.opening_credits, e.chain, e.balance_after,
       (SELECT count(*) FROM igny8_credit_transactions AS t
        WHERE t.tenant_id = k.account_id AND t.id <= k.entry_id AND t.idempotency_key IS NOT NULL),
       a.entries
FROM unnest(%(ids)s::bigint[], %(entry_ids)s::bigint[]) AS k (account_id, entry_id)
LEFT JOIN billing.books AS b ON b.account_id = k.account_id
LEFT JOIN billing.chain_anchors AS a ON a.account_id = k.account_id
LEFT JOIN igny8_credit_transactions AS e ON e.id = k.entry_id AND e.tenant_id = k.account_id
ORDER BY k.account_id
"""


def compare_kept(ctx: Context, kept: Sequence[Anchor]) -> Iterator[Finding]:
    """Find the accounts whose entries, or whose anchors, are not those that were kept outside."""
    by_id = {anchor.account_id: anchor for anchor in kept}
    values = {
        "ids": sql.numbers(by_id),
        "entry_ids": sql.numbers([anchor.entry_id for anchor in by_id.values()]),
    }
    for row in sql.rows(ctx.session, _KEPT, values):
        anchor = by_id[row[0]]
        if problem := _difference(anchor, row):
            facts = {"account_id": row[0], "entry_id": anchor.entry_id, "problem": problem}
            yield f"account {row[0]}", facts


def _difference(anchor: Anchor, row: sql.Row) -> str | None:
    account_id, opening, chain, balance, entries, anchored = row
    if opening is None:
        return f"its balance is gone; it had {anchor.entries} entries"
    if balance is None:
        return f"the entry that was its last one, of {anchor.entries}, is gone"
    last_hash = anchors.hash_at(account_id, opening, chain)
    if (entries, last_hash, balance) != (anchor.entries, anchor.last_hash, anchor.balance):
        return f"its first {anchor.entries} entries are not those that were anchored"
    if anchored is None or anchored < anchor.entries:
        return "its anchor was removed or set back"
    return None


def compare_total(ctx: Context, kept: Mapping[str, object]) -> Iterator[Finding]:
    """Find whether there are fewer anchors than were kept, or another end of the older hash."""
    total, _ = anchors.locked_total(ctx)
    recorded = int(str(kept["accounts"]))
    if total.accounts < recorded:
        yield "anchors", {"problem": f"{recorded} accounts were anchored, {total.accounts} are now"}
    if kept["old_until"] is not None and total.old_until != kept["old_until"]:
        yield "total", {"problem": "the end of the older version of the hash was changed"}
