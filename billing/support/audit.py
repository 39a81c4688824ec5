"""The audit: the ledger's invariants, as queries that return each account that breaks one.

It reads one snapshot, repairs nothing, and stores its findings. If the main app writes `credits`
itself, the check `drift` shows it.
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
from billing.stripe import inbox_upkeep
from billing.support import money_checks
from models.credits import AccountBalance


class Check(NamedTuple):
    """An invariant, and the query that returns (subject, facts) of each breach.

    A query may use `:now` and `:system`, the slugs of system accounts.
    """

    name: str
    invariant: str
    breaches: str


CHECKS = (
    Check(
        "entries",
        "a balance's credits are the sum of its entries since the opening",
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
        "a balance's credits are what remains in its lots, less its debt",
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
        "the held credits of a balance are those of its lots",
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
        "the held credits of a balance are those of its open holds",
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
        "the main app shows the balance that our ledger has",
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
        "each key that was answered with an entry names an entry that exists",
        """
        SELECT 'key ' || k.key, jsonb_build_object('entry_id', k.entry_id)
        FROM billing.keys k LEFT JOIN igny8_credit_transactions e ON e.id = k.entry_id
        WHERE k.entry_id IS NOT NULL AND e.id IS NULL
        """,
    ),
    Check(
        "account_exists",
        "each balance belongs to an account that exists",
        """
        SELECT 'account ' || b.account_id, jsonb_build_object('credits', b.credits)
        FROM billing.books b LEFT JOIN igny8_tenants a ON a.id = b.account_id
        WHERE a.id IS NULL
        """,
    ),
    Check(
        "suspension_reason",
        "each open reason for suspension belongs to an account that is suspended or cancelled",
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
        "no lot keeps free credits for more than a day after its expiry",
        """
        SELECT 'lot ' || l.id,
               jsonb_build_object('account_id', l.account_id, 'credits', l.remaining - l.held)
        FROM billing.lots l JOIN igny8_tenants a ON a.id = l.account_id AND NOT a.is_deleted
        WHERE l.is_open AND l.remaining > l.held AND a.slug <> ALL (:system)
          AND l.expires_at < :now - interval '1 day'
        """,
    ),
    Check(
        "without_access",
        "no account was debited in the last day while it had no access",
        """
        SELECT 'account ' || account_id,
               jsonb_build_object('reason', reason, 'debits', debits, 'credits', credits)
        FROM billing.debits_without_access WHERE last_at > :now - interval '1 day'
        """,
    ),
    Check(
        "stripe_paid",
        "money that a known account paid by Stripe has its effect, or an operator's answer",
        inbox_upkeep.UNANSWERED,
    ),
    Check(
        "transfers",
        "the amounts of a transfer and of an invoice are the sums of their allocations",
        audit_checks.COUNTERS,
    ),
    Check(
        "unpaid_credits",
        "no purchase keeps more credits than the money that was kept bought",
        money_checks.UNPAID_CREDITS,
    ),
    Check(
        "bank_without_credits",
        "each bank invoice that was paid gave its credits",
        money_checks.BANK_WITHOUT_PURCHASE,
    ),
    Check(
        "bank_lines",
        "each bank line ends as a transfer, or with the reason why it pays nothing",
        audit_checks.LINE_ENDS,
    ),
)
#: The check of Stripe's invoices, whose lines are read in Python.
STRIPE_WITHOUT_CREDITS = "stripe_without_credits"
STRIPE_WITHOUT_CREDITS_INVARIANT = "each invoice that was paid at Stripe gave what its lines bought"


#: The checks that read every entry; they run together with the hash chain's.
LONG_CHECKS = (
    Check(
        "lot_entries",
        "what remains in a lot is the sum of the entries that filled and used it",
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
    """The result of an audit: the number of accounts, and the findings of each check by name."""

    accounts: int
    findings: dict[str, list[tuple[str, dict[str, object]]]]

    @property
    def agrees(self) -> bool:
        """Whether every invariant holds."""
        return not any(self.findings.values())


#: The check of the hash chain, which reads every entry in Python.
HASH_CHAIN = "seals"
HASH_CHAIN_INVARIANT = "each entry is as it was written, and none is missing"


def run(ctx: Context, *, with_chain: bool = True) -> Report:
    """Run all checks in one snapshot. The transaction must not have begun.

    `with_chain`: also verify the hash chain, at about 100,000 entries a second, and run the checks
    that read every entry.
    """
    values = {"most": MAX_FINDINGS, "now": ctx.now, "system": sorted(SYSTEM_SLUGS)}
    ctx.session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    findings = {
        check.name: [
            (subject, facts)
            for subject, facts in ctx.session.execute(text(f"{check.breaches} LIMIT :most"), values)
        ]
        for check in CHECKS + (LONG_CHECKS if with_chain else ())
    }
    unpaid = money_checks.without_purchase(ctx, limit=MAX_FINDINGS)
    findings[STRIPE_WITHOUT_CREDITS] = list(unpaid)
    if with_chain:
        findings[HASH_CHAIN] = list(itertools.islice(verify_chain.broken(ctx), MAX_FINDINGS))
    accounts = ctx.session.execute(select(func.count()).select_from(AccountBalance)).scalar_one()
    return Report(accounts, findings)
