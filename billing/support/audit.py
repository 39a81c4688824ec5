"""The audit: the promises of DESIGN 1.3 as queries that return whoever breaks them.

It reads one snapshot, repairs nothing, and keeps what it found as findings. The main app writing
`credits` itself shows up here as `drift`.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func, select, text

from billing.bank import audit_checks
from billing.context import Context
from billing.host.accounts import SYSTEM_SLUGS
from billing.ledger import verify_chain
from billing.operations.findings import MAX_FINDINGS
from models.credits import AccountBalance


class Check(NamedTuple):
    """A promise, and the query that returns (subject, facts) of each account that breaks it.

    A query may ask for `:now` and for the `:system` accounts' slugs.
    """

    name: str
    promise: str
    broken: str


CHECKS = (
    Check(
        "entries",
        "a book's credits are the sum of its entries since the opening",
        """
        SELECT 'account ' || b.account_id,
               jsonb_build_object('credits', b.credits, 'entries', COALESCE(e.total, 0))
        FROM billing.books b
        LEFT JOIN (SELECT tenant_id, sum(amount) AS total FROM igny8_credit_transactions
                   WHERE idempotency_key IS NOT NULL GROUP BY tenant_id) e
          ON e.tenant_id = b.account_id
        WHERE b.credits <> COALESCE(e.total, 0)
        """,
    ),
    Check(
        "lots",
        "a book's credits are what remains in its lots, less its debt",
        """
        SELECT 'account ' || b.account_id,
               jsonb_build_object('credits', b.credits, 'debt', b.debt,
                                  'lots', COALESCE(l.total, 0))
        FROM billing.books b
        LEFT JOIN (SELECT account_id, sum(remaining) AS total FROM billing.lots
                   WHERE is_open GROUP BY account_id) l USING (account_id)
        WHERE b.credits <> COALESCE(l.total, 0) - b.debt
        """,
    ),
    Check(
        "held",
        "what a book holds is what its lots hold",
        """
        SELECT 'account ' || b.account_id,
               jsonb_build_object('held', b.held, 'lots', COALESCE(l.total, 0))
        FROM billing.books b
        LEFT JOIN (SELECT account_id, sum(held) AS total FROM billing.lots
                   WHERE is_open GROUP BY account_id) l USING (account_id)
        WHERE b.held <> COALESCE(l.total, 0)
        """,
    ),
    Check(
        "holds",
        "what a book holds is what its holds under way have set aside",
        """
        SELECT 'account ' || b.account_id,
               jsonb_build_object('held', b.held, 'holds', COALESCE(h.total, 0))
        FROM billing.books b
        LEFT JOIN (SELECT account_id, sum(credits) AS total FROM billing.holds
                   WHERE state = 'held' GROUP BY account_id) h USING (account_id)
        WHERE b.held <> COALESCE(h.total, 0)
        """,
    ),
    Check(
        "drift",
        "the main app shows the balance that the book has",
        """
        SELECT 'account ' || b.account_id,
               jsonb_build_object('app', a.credits, 'book', b.credits,
                                  'drift', a.credits - b.credits)
        FROM billing.books b JOIN igny8_tenants a ON a.id = b.account_id
        WHERE a.credits <> b.credits
        """,
    ),
    Check(
        "running_balance",
        "each entry's balance is the one before plus its amount",
        """
        SELECT 'entry ' || id, jsonb_build_object('account_id', tenant_id, 'before', before,
                                                  'amount', amount, 'after', balance_after)
        FROM (SELECT id, tenant_id, amount, balance_after,
                     lag(balance_after, 1, 0) OVER (PARTITION BY tenant_id ORDER BY id) AS before
              FROM igny8_credit_transactions WHERE idempotency_key IS NOT NULL) e
        WHERE balance_after <> before + amount
        """,
    ),
    Check(
        "keys",
        "each key that was answered with an entry names one that exists",
        """
        SELECT 'key ' || k.key, jsonb_build_object('entry_id', k.entry_id)
        FROM billing.keys k LEFT JOIN igny8_credit_transactions e ON e.id = k.entry_id
        WHERE k.entry_id IS NOT NULL AND e.id IS NULL
        """,
    ),
    Check(
        "account_exists",
        "each book belongs to an account that exists",
        """
        SELECT 'account ' || b.account_id, jsonb_build_object('credits', b.credits)
        FROM billing.books b LEFT JOIN igny8_tenants a ON a.id = b.account_id
        WHERE a.id IS NULL
        """,
    ),
    Check(
        "suspension_reason",
        "each open reason of suspension belongs to an account that is suspended or cancelled",
        """
        SELECT 'account ' || s.account_id,
               jsonb_build_object('status', a.status, 'reasons', array_agg(s.reason))
        FROM billing.suspensions s JOIN igny8_tenants a ON a.id = s.account_id
        WHERE s.lifted_at IS NULL AND a.status NOT IN ('suspended', 'cancelled')
        GROUP BY s.account_id, a.status
        """,
    ),
    Check(
        "period_lots",
        "an active account's running period has exactly one lot",
        """
        SELECT 'account ' || c.account_id,
               jsonb_build_object('period_number', c.period_number, 'lots', count(l.id))
        FROM billing.credit_calendars c
        JOIN igny8_tenants a ON a.id = c.account_id AND a.status = 'active' AND NOT a.is_deleted
        JOIN igny8_plans p ON p.id = c.plan_id AND p.is_active AND p.included_credits > 0
        LEFT JOIN billing.lots l USING (account_id, period_number)
        WHERE c.ended_at IS NULL AND c.period_number >= c.first_period
        GROUP BY c.account_id, c.period_number HAVING count(l.id) <> 1
        """,
    ),
    Check(
        "late_renewals",
        "no active account waits for its renewal for more than a day",
        """
        SELECT 'account ' || c.account_id, jsonb_build_object('due_at', c.next_due_at)
        FROM billing.credit_calendars c
        JOIN igny8_tenants a ON a.id = c.account_id AND a.status = 'active' AND NOT a.is_deleted
        WHERE c.ended_at IS NULL AND c.next_due_at < :now - interval '1 day'
        """,
    ),
    Check(
        "expired_lots",
        "no lot keeps credits that no hold needs for more than a day after its time",
        """
        SELECT 'lot ' || l.id,
               jsonb_build_object('account_id', l.account_id, 'credits', l.remaining - l.held)
        FROM billing.lots l JOIN igny8_tenants a ON a.id = l.account_id AND NOT a.is_deleted
        WHERE l.is_open AND l.remaining > l.held AND a.slug <> ALL (:system)
          AND l.expires_at < :now - interval '1 day'
        """,
    ),
    Check(
        "transfers",
        "what a transfer gave, and an invoice got, is the sum of what moved it",
        audit_checks.COUNTERS,
    ),
)


#: Those that read every entry, as the seals do, and come with them.
LONG_CHECKS = (
    Check(
        "lot_entries",
        "what remains in a lot is what the entries have put in, less what they took",
        """
        SELECT 'lot ' || COALESCE(l.id, e.id),
               jsonb_build_object('account_id', l.account_id, 'remaining', l.remaining,
                                  'entries', COALESCE(e.total, 0))
        FROM billing.lots l
        FULL JOIN (SELECT (part ->> 0)::bigint AS id, sum((part ->> 1)::bigint) AS total
                   FROM igny8_credit_transactions, jsonb_array_elements(lots_used) AS part
                   WHERE idempotency_key IS NOT NULL GROUP BY 1) e ON e.id = l.id
        WHERE COALESCE(l.remaining, 0) <> COALESCE(e.total, 0)
        """,
    ),
)


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit saw: how many books, and the findings of each check by name."""

    accounts: int
    findings: dict[str, list[tuple[str, dict[str, object]]]]

    @property
    def agrees(self) -> bool:
        """Whether every promise holds."""
        return not any(self.findings.values())


#: The check that reads every entry in Python, apart from those in SQL.
SEALS = "seals"
SEALS_PROMISE = "each entry is as it was written, and none is missing (see billing.ledger.chain)"


def run(ctx: Context, *, with_seals: bool = True) -> Report:
    """Look at everything in one snapshot. The transaction must not have begun.

    `with_seals` reads the whole ledger, about 100,000 entries a second, and what hangs on that.
    """
    asked = {"most": MAX_FINDINGS, "now": ctx.now, "system": sorted(SYSTEM_SLUGS)}
    ctx.session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    findings = {
        check.name: [
            (subject, facts)
            for subject, facts in ctx.session.execute(text(f"{check.broken} LIMIT :most"), asked)
        ]
        for check in CHECKS + (LONG_CHECKS if with_seals else ())
    }
    if with_seals:
        findings[SEALS] = list(itertools.islice(verify_chain.broken(ctx), MAX_FINDINGS))
    accounts = ctx.session.execute(select(func.count()).select_from(AccountBalance)).scalar_one()
    return Report(accounts, findings)
