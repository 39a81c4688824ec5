"""The checks of balances against lots, holds, entries and the main app, for a page of accounts."""

from collections.abc import Sequence

from sqlalchemy import text

from billing.context import Context
from billing.ledger.verify_chain import Finding, Walk
from billing.postgres import sql

#: The invariants of balances, lots and holds, of the accounts above :after and up to :upto.
CHECKS = {
    "lots": (
        "a balance's credits are what remains in its lots, less its debt",
        """
        SELECT 'account ' || b.account_id,
               jsonb_build_object('credits', b.credits, 'debt', b.debt,
                                  'lots', COALESCE(l.total, 0))
        FROM billing.books b
        LEFT JOIN (SELECT account_id, sum(remaining) AS total FROM billing.lots
                   WHERE is_open AND account_id > :after AND account_id <= :upto
                   GROUP BY account_id) l USING (account_id)
        WHERE b.account_id > :after AND b.account_id <= :upto
          AND b.credits <> COALESCE(l.total, 0) - b.debt
        """,
    ),
    "held": (
        "the held credits of a balance are those of its lots",
        """
        SELECT 'account ' || b.account_id,
               jsonb_build_object('held', b.held, 'lots', COALESCE(l.total, 0))
        FROM billing.books b
        LEFT JOIN (SELECT account_id, sum(held) AS total FROM billing.lots
                   WHERE is_open AND account_id > :after AND account_id <= :upto
                   GROUP BY account_id) l USING (account_id)
        WHERE b.account_id > :after AND b.account_id <= :upto
          AND b.held <> COALESCE(l.total, 0)
        """,
    ),
    "holds": (
        "the held credits of a balance are those of its open holds",
        """
        SELECT 'account ' || b.account_id,
               jsonb_build_object('held', b.held, 'holds', COALESCE(h.total, 0))
        FROM billing.books b
        LEFT JOIN (SELECT account_id, sum(credits) AS total FROM billing.holds
                   WHERE state = 'held' AND account_id > :after AND account_id <= :upto
                   GROUP BY account_id) h USING (account_id)
        WHERE b.account_id > :after AND b.account_id <= :upto
          AND b.held <> COALESCE(h.total, 0)
        """,
    ),
    "drift": (
        "the main app shows the balance that our ledger has",
        """
        SELECT 'account ' || b.account_id,
               jsonb_build_object('app', a.credits, 'book', b.credits,
                                  'drift', a.credits - b.credits)
        FROM billing.books b JOIN igny8_tenants a ON a.id = b.account_id
        WHERE b.account_id > :after AND b.account_id <= :upto AND a.credits <> b.credits
        """,
    ),
}


def of_range(ctx: Context, after: int, upto: int) -> list[Finding]:
    """Check the balances of the accounts above `after` and up to `upto`."""
    values = {"after": after, "upto": upto}
    return [
        (name, subject, facts)
        for name, (_, breaches) in CHECKS.items()
        for subject, facts in ctx.session.execute(text(breaches), values)
    ]


_LOTS = """
SELECT id, account_id, remaining FROM billing.lots WHERE id = ANY(%(lot_ids)s::bigint[])
UNION
SELECT id, account_id, remaining FROM billing.lots
WHERE account_id = ANY(%(ids)s::bigint[]) AND is_open
"""


def of_lots(ctx: Context, walks: Sequence[Walk]) -> list[Finding]:
    """Compare what remains in each lot with the entries that filled and used it."""
    owners = {lot_id: walk.account_id for walk in walks for lot_id in walk.lots or ()}
    entries = {lot_id: credits for walk in walks for lot_id, credits in (walk.lots or {}).items()}
    values = {
        "lot_ids": sql.numbers(owners),
        "ids": sql.numbers([walk.account_id for walk in walks]),
    }
    lots = {id: (owner, rest) for id, owner, rest in sql.rows(ctx.session, _LOTS, values)}
    findings: list[Finding] = []
    for lot_id in sorted({*owners, *lots}):
        owner, remaining = lots.get(lot_id, (owners.get(lot_id), 0))
        if remaining != entries.get(lot_id, 0):
            facts = {"remaining": remaining, "entries": entries.get(lot_id, 0)}
            findings.append(("lot_entries", f"lot {lot_id}", {"account_id": owner, **facts}))
    return findings
