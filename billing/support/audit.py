"""The audit's checks: the invariants of accounts and money, and the query or reader of each.

It reads short snapshots (`flows.audit`), repairs nothing, and stores its findings. If the main app
writes `credits` itself, the check `drift` shows it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeAlias

from sqlalchemy import func, select, text
from sqlalchemy.exc import DataError

from billing.bank import audit_checks
from billing.context import Context
from billing.host.accounts import SYSTEM_SLUGS
from billing.ledger import compare_anchors
from billing.operations.findings import MAX_FINDINGS
from billing.stripe import inbox_upkeep
from billing.support import balance_checks, money_checks, unreadable
from models.credits import AccountBalance

#: (subject, facts) of each breach.
Breaches: TypeAlias = list[tuple[str, dict[str, object]]]


class Check(NamedTuple):
    """An invariant, and the query that returns (subject, facts) of each breach.

    A query may use `:now` and `:system`, the slugs of system accounts.
    """

    name: str
    invariant: str
    breaches: str


CHECKS = (
    Check(
        "seals",
        "each entry is as it was written, and none is missing",
        """
        SELECT 'account ' || a.account_id,
               jsonb_build_object('account_id', a.account_id, 'entries', a.entries,
                                  'missing', 'the balance with all its entries')
        FROM billing.chain_anchors a LEFT JOIN billing.books b USING (account_id)
        WHERE b.account_id IS NULL
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


#: The invariants of the checks that are no single query.
INVARIANTS = {
    "entries": "a balance's credits are the sum of its entries since the opening",
    "running_balance": "each entry's balance is the one before plus its amount",
    **{name: invariant for name, (invariant, _) in balance_checks.CHECKS.items()},
    **{check.name: check.invariant for check in CHECKS},
    STRIPE_WITHOUT_CREDITS: STRIPE_WITHOUT_CREDITS_INVARIANT,
    "lot_entries": "what remains in a lot is the sum of the entries that filled and used it",
    "keys": "each key that was answered with an entry names an entry that exists",
    "anchors": "no anchor of a hash chain was changed, set back or removed",
    "anchors_kept": "the ledger goes on from the anchors that were kept in the given file",
    "anchors_file": "the anchors can be kept where BILLING_CHAIN_ANCHORS says",
    "unreadable": "each row can be read",
}
#: The checks of a page of accounts.
PAGED = ("entries", "running_balance", *balance_checks.CHECKS)
#: The checks that only a full audit does in full, and whose findings only it closes.
FULL_ONLY = ("entries", "running_balance", "seals", "lot_entries", "keys", "unreadable")
#: The checks of a full audit alone.
IN_FULL = ("lot_entries", "keys")


@dataclass(frozen=True, slots=True)
class Coverage:
    """The extent of what an audit has read.

    Attributes:
        kind: `full`, or `new`: entries since each account's anchor.
        accounts: Accounts read.
        entries: Entries read.
        seconds: How long it took.
        since: When the newest anchors were recorded; None without one, and in a full audit.
        resumed_after: The account up to which an interrupted full audit had come.
        is_complete: Whether it came to the end; the next one goes on.
    """

    kind: str
    accounts: int = 0
    entries: int = 0
    seconds: float = 0.0
    since: str | None = None
    resumed_after: int | None = None
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an audit: the number of accounts, each check's findings, and what was read."""

    accounts: int
    findings: dict[str, Breaches] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=lambda: Coverage("full"))

    @property
    def agrees(self) -> bool:
        """Whether every invariant holds."""
        return not any(self.findings.values())


def count_accounts(ctx: Context) -> int:
    """Count the balances."""
    return ctx.session.execute(select(func.count()).select_from(AccountBalance)).scalar_one()


def whole_checks(*, with_chain: bool, is_full: bool) -> dict[str, Callable[[Context], Breaches]]:
    """The checks that read their tables at once, by name; each gets a transaction of its own."""
    checks = {c.name: _query(c) for c in CHECKS if with_chain or c.name != "seals"}
    checks[STRIPE_WITHOUT_CREDITS] = partial(money_checks.without_purchase, limit=MAX_FINDINGS)
    if with_chain:
        checks["anchors"] = _limited(compare_anchors.compare)
    if is_full:
        checks["unreadable"] = _limited(unreadable.rows)
    return checks


def _query(check: Check) -> Callable[[Context], Breaches]:
    def breaches(ctx: Context) -> Breaches:
        values = {"most": MAX_FINDINGS, "now": ctx.now, "system": sorted(SYSTEM_SLUGS)}
        rows = ctx.session.execute(text(f"{check.breaches} LIMIT :most"), values)
        return [(subject, facts) for subject, facts in rows]

    return breaches


def _limited(
    read: Callable[[Context], Iterable[tuple[str, dict[str, object]]]],
) -> Callable[[Context], Breaches]:
    return lambda ctx: list(islice(read(ctx), MAX_FINDINGS))


#: What a check raises over a row that it can't read.
UNREADABLE_ERRORS = (DataError, *money_checks.UNREADABLE)


def failed(name: str, error: BaseException) -> tuple[str, dict[str, object]]:
    """The finding that a check could not be made; the rows are named beside it."""
    cause = str(getattr(error, "orig", error)).strip().partition("\n")[0]
    return f"check {name}", {"check": name, "problem": f"it met a row that can't be read: {cause}"}


_KEYS = """
WITH page AS (SELECT key, entry_id FROM billing.keys WHERE key > :after ORDER BY key LIMIT :count)
SELECT k.key, k.entry_id, k.entry_id IS NOT NULL AND e.id IS NULL
FROM page AS k LEFT JOIN igny8_credit_transactions AS e ON e.id = k.entry_id ORDER BY k.key
"""
#: Before the first key, and keys of a page.
FIRST_KEY, KEYS_AT_ONCE = "00000000-0000-0000-0000-000000000000", 10_000


def check_keys(ctx: Context, after: str) -> tuple[str | None, Breaches]:
    """Find the keys of the next page whose entry is gone; the page's last key, None at the end."""
    values = {"after": after, "count": KEYS_AT_ONCE}
    rows = ctx.session.execute(text(_KEYS), values).all()
    found = [(f"key {row[0]}", {"entry_id": row[1]}) for row in rows if row[2]]
    return (str(rows[-1][0]) if len(rows) == KEYS_AT_ONCE else None), found
