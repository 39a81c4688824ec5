"""The ledger in pages: a few accounts, or a part of one, for each short snapshot of an audit."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from billing.context import Context
from billing.ledger import anchors, stored_entries, verify_chain
from billing.ledger.anchors import Anchor
from billing.ledger.verify_chain import Finding, Walk
from billing.postgres import sql
from billing.support import balance_checks

#: Accounts, and entries, of one snapshot: for a few tenths of a second.
ACCOUNTS_AT_ONCE = 500
ENTRIES_AT_ONCE = 10_000


class Position(NamedTuple):
    """The start of the next page: behind an account, or in the middle of the one after it."""

    after: int = 0
    walk: Walk | None = None


class Page(NamedTuple):
    """The findings of a page. `next` is None after the last page.

    `anchors`: how far the accounts are verified. `old_id`: the last hash of version 1.
    """

    next: Position | None
    accounts: int
    entries: int
    findings: list[Finding]
    anchors: list[Anchor]
    old_id: int


class _Account(NamedTuple):
    account_id: int
    credits: int
    opening_credits: int
    head: bytes | None
    anchor: Anchor | None
    stored: tuple[bytes | None, int | None]


_ACCOUNTS = """
SELECT b.account_id, b.credits, b.opening_credits, b.chain, a.entries, a.entry_id, a.last_hash,
       a.balance, a.mac, e.chain, e.balance_after
FROM billing.books AS b
LEFT JOIN billing.chain_anchors AS a USING (account_id)
LEFT JOIN igny8_credit_transactions AS e ON e.id = a.entry_id AND e.tenant_id = b.account_id
WHERE b.account_id > %(after)s ORDER BY b.account_id LIMIT %(count)s
"""
_ENTRIES = f"""
SELECT {stored_entries.COLUMNS}
FROM (SELECT * FROM unnest(%(ids)s::bigint[], %(afters)s::bigint[])
          WITH ORDINALITY AS g (account_id, after, place) ORDER BY place) AS g
CROSS JOIN LATERAL (
    SELECT * FROM igny8_credit_transactions AS t
    WHERE t.tenant_id = g.account_id AND t.id > g.after AND t.idempotency_key IS NOT NULL
    ORDER BY t.id LIMIT %(most)s) AS e
ORDER BY g.place, e.id LIMIT %(most)s
"""  # noqa: S608 - our own column names


def check(
    ctx: Context, position: Position, *, is_full: bool, with_chain: bool, old_until: int | None
) -> Page:
    """Check the next accounts in one snapshot; the transaction must not have begun.

    Args:
        ctx: The context.
        position: Where the page before ended.
        is_full: Read every entry, and compare them with the lots; else only those that are newer
            than the account's anchor.
        with_chain: Whether to verify the hashes.
        old_until: The last entry that may have a hash of version 1.
    """
    ctx.session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    after = position.walk.account_id - 1 if position.walk else position.after
    accounts = _accounts(ctx, after)
    walks = {
        account.account_id: _begin(account, is_full=is_full, with_chain=with_chain)
        for account in accounts
    }
    if position.walk and position.walk.account_id in walks:
        walks[position.walk.account_id] = position.walk
    for walk in walks.values():
        walk.old_until = old_until
    rows = _entries(ctx, walks)
    for account_id, group in groupby(rows, key=_account_of):
        for row in group:
            verify_chain.take(walks[account_id], ctx.ledger_key, row)
    has_more = len(rows) == ENTRIES_AT_ONCE
    upto = _account_of(rows[-1]) - 1 if has_more else _end(accounts)
    done = [account for account in accounts if account.account_id <= upto]
    for account in done:
        walk = walks[account.account_id]
        verify_chain.finish(walk, credits=account.credits, head=account.head)
    finished = [walks[account.account_id] for account in done]
    findings = [finding for walk in finished for finding in walk.findings]
    findings += balance_checks.of_range(ctx, after, upto)
    if is_full and with_chain:
        findings += balance_checks.of_lots(ctx, finished)
    new = [anchor for walk in finished if (anchor := verify_chain.anchor_of(walk))]
    old_id = max([walk.last_old_id for walk in finished], default=0)
    following = Position(upto, walks[upto + 1] if has_more else None)
    is_last = not has_more and len(accounts) < ACCOUNTS_AT_ONCE
    return Page(None if is_last else following, len(done), len(rows), findings, new, old_id)


def _account_of(row: sql.Row) -> int:
    account_id: int = row[1]
    return account_id


def _end(accounts: Sequence[_Account]) -> int:
    return accounts[-1].account_id if accounts else 2**63 - 1


def _accounts(ctx: Context, after: int) -> list[_Account]:
    values = {"after": after, "count": ACCOUNTS_AT_ONCE}
    accounts = []
    for id, credits, opening, head, entries, *columns, chain, balance in sql.rows(
        ctx.session, _ACCOUNTS, values
    ):
        row = (id, entries, *columns)
        # An anchor that was changed by another hand is not gone on from.
        is_sound = entries is not None and anchors.is_sound(ctx.ledger_key, row)
        anchor = anchors.as_anchor(row) if is_sound else None
        stored = (chain and bytes(chain), balance)
        last_hash = head and bytes(head)
        accounts.append(_Account(id, credits, opening, last_hash, anchor, stored))
    return accounts


def _begin(account: _Account, *, is_full: bool, with_chain: bool) -> Walk:
    id, opening, anchor = account.account_id, account.opening_credits, account.anchor
    walk = verify_chain.begin(id, opening, anchor, with_chain=with_chain)
    walk.lots = Counter() if is_full else None
    if account.anchor and not is_full:
        verify_chain.resume(walk, account.anchor, account.stored)
    return walk


def _entries(ctx: Context, walks: dict[int, Walk]) -> list[sql.Row]:
    values = {
        "ids": sql.numbers(walks),
        "afters": sql.numbers([walk.last_id for walk in walks.values()]),
        "most": ENTRIES_AT_ONCE,
    }
    return sql.rows(ctx.session, _ENTRIES, values)
