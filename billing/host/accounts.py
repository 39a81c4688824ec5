"""The main app's accounts, plans and users: what we read of them, and the little that we write.

Balances are written in `billing.ledger.balance_rows`, by deltas, under the account's row lock.
Everybody takes those locks in ascending id.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from billing.errors import AccountDeleted, SystemAccount, UnknownAccount
from models.host import Account, CreditTransaction, Plan, Subscription, User

#: Accounts of the main app itself: no credits, no status changes, no expiry.
SYSTEM_SLUGS = frozenset({"aws-admin", "default-account", "default"})


class HostAccount(NamedTuple):
    """The main app's row of an account. `credits` is the balance that the app shows."""

    id: int
    slug: str
    plan_id: int | None
    status: str
    credits: int
    is_deleted: bool
    stripe_customer_id: str | None

    @property
    def is_system(self) -> bool:
        """Whether the account belongs to the main app itself."""
        return self.slug in SYSTEM_SLUGS

    @property
    def is_billable(self) -> bool:
        """Whether the account may be billed: it is neither deleted nor the main app's own."""
        return not self.is_deleted and self.slug not in SYSTEM_SLUGS


#: Accounts that were locked and read in this transaction, by id.
Locked: TypeAlias = Mapping[int, HostAccount]


class PlanTerms(NamedTuple):
    """The monthly credits, debt limit and rollover cap of a plan.

    `take_back_debt_limit`: the debt that a clawback of spent credits may leave; None: any.
    """

    included_credits: int
    debt_limit: int
    rollover_cap: int
    is_active: bool
    take_back_debt_limit: int | None = None


class HostPlan(NamedTuple):
    """A plan and its monthly credits. `is_free`: its price in the main app is 0."""

    id: int
    slug: str
    included_credits: int
    is_active: bool
    is_free: bool


class HostUser(NamedTuple):
    """A user of the main app; `accounts`: those that the user owns or belongs to."""

    id: int
    role: str
    is_superuser: bool
    accounts: frozenset[int]


_LOCK = """
SELECT id, slug, plan_id, status, credits, is_deleted, stripe_customer_id
FROM igny8_tenants WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""


def lock(session: Session, ids: Iterable[int]) -> dict[int, HostAccount]:
    """Lock these accounts until the transaction ends, in ascending id; unknown ids are left out.

    The lock lets the main app insert rows that refer to the account, and keeps every other writer
    of its balance out. Whatever the lock protects must be read in a later statement.
    """
    rows = session.connection().exec_driver_sql(_LOCK, {"ids": sorted(ids)})
    return {row[0]: HostAccount._make(row) for row in rows}


def lock_billable(session: Session, account_id: int) -> HostAccount:
    """Lock one account that may be billed. Raises as `check_billable`."""
    return lock_all_billable(session, [account_id])[0]


def check_billable(account_id: int, account: HostAccount | None) -> HostAccount:
    """Return the account if it may be billed.

    Raises UnknownAccount, AccountDeleted or SystemAccount.
    """
    if account is None:
        raise UnknownAccount(account_id=account_id)
    if account.is_deleted:
        raise AccountDeleted(account_id=account_id)
    if account.is_system:
        raise SystemAccount(account_id=account_id, slug=account.slug)
    return account


def lock_all_billable(
    session: Session, account_ids: Iterable[int], *, locked: Locked | None = None
) -> list[HostAccount]:
    """Lock accounts that may be billed, in ascending id; `locked` spares the lock.

    Raises as `check_billable`, for the first that may not.
    """
    ids = sorted(set(account_ids))
    rows = lock(session, ids) if locked is None else locked
    return [check_billable(id, rows.get(id)) for id in ids]


_TRY_LOCK = """
WITH free AS (
    SELECT id FROM igny8_tenants WHERE id = ANY(%(ids)s::bigint[])
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
SELECT id FROM free
UNION ALL
SELECT requested.id FROM unnest(%(ids)s::bigint[]) AS requested (id)
WHERE NOT EXISTS (SELECT FROM igny8_tenants AS a WHERE a.id = requested.id)
"""


def try_lock(session: Session, ids: Iterable[int]) -> list[int]:
    """Lock those of these accounts that are free; unknown ids are returned as well."""
    rows = session.connection().exec_driver_sql(_TRY_LOCK, {"ids": sorted(ids)})
    return [row[0] for row in rows]


# The setting tells the trigger on the table that the change is ours (`lifecycle.app_writes`).
_SET_STATUS = """
SET LOCAL billing.sets_status = 'on';
UPDATE igny8_tenants SET status = %(status)s WHERE id = ANY(%(ids)s::bigint[]);
SET LOCAL billing.sets_status = 'off'
"""


def set_status(session: Session, account_ids: Sequence[int], status: str) -> None:
    """Write the status of accounts; only `billing.lifecycle.status` calls this."""
    values = {"status": status, "ids": list(account_ids)}
    session.connection().exec_driver_sql(_SET_STATUS, values)


#: The terms of every plan: its id, then the fields of PlanTerms. An app has a handful of plans.
PLAN_TERMS = """
SELECT p.id, p.included_credits, COALESCE(policy.debt_limit, 0), COALESCE(policy.rollover_cap, 0),
       p.is_active, policy.take_back_debt_limit
FROM igny8_plans AS p LEFT JOIN billing.plan_policies AS policy ON policy.plan_id = p.id
"""


def plan(session: Session, plan_id: int | None) -> HostPlan | None:
    """Read the plan with this id, if there is one."""
    row = session.execute(
        select(Plan.id, Plan.slug, Plan.included_credits, Plan.is_active, Plan.price == 0).where(
            Plan.id == plan_id
        )
    ).first()
    return HostPlan(*row) if row else None


def plan_price(session: Session, plan_id: int) -> Decimal | None:
    """Read the monthly price of an active plan; None if there is no such plan."""
    row = select(Plan.price).where(Plan.id == plan_id, Plan.is_active)
    return session.execute(row).scalar()


def user(session: Session, id_or_email: str) -> HostUser | None:
    """Read the user with this id or e-mail address, with the accounts that are theirs."""
    is_id = id_or_email.isascii() and id_or_email.isdigit()
    owned = select(func.array_agg(Account.id)).where(Account.owner_id == User.id)
    row = session.execute(
        select(
            User.id, User.role, User.is_superuser, User.account_id, owned.scalar_subquery()
        ).where(User.id == int(id_or_email) if is_id else User.email == id_or_email)
    ).first()
    if row is None:
        return None
    account_ids = {row[3], *(row[4] or ())} - {None}
    return HostUser(row[0], row[1], row[2], frozenset(account_ids))


def read(session: Session, id_or_slug: str) -> HostAccount | None:
    """Read the account with this id or slug, deleted ones included, without locking it."""
    is_id = id_or_slug.isascii() and id_or_slug.isdigit()
    row = session.execute(
        select(
            Account.id,
            Account.slug,
            Account.plan_id,
            Account.status,
            Account.credits,
            Account.is_deleted,
            Account.stripe_customer_id,
        ).where(Account.id == int(id_or_slug) if is_id else Account.slug == id_or_slug)
    ).first()
    return HostAccount(*row) if row else None


def exists(session: Session, account_id: int) -> bool:
    """Whether there is such an account, deleted ones included."""
    return session.execute(select(Account.id).where(Account.id == account_id)).first() is not None


_WITH_CUSTOMER = """
SELECT id, is_deleted FROM igny8_tenants
WHERE stripe_customer_id = %(customer)s AND stripe_customer_id <> '' ORDER BY id
"""
_LOCK_CUSTOMERS = """
SELECT id, slug, plan_id, status, credits, is_deleted, stripe_customer_id
FROM igny8_tenants
WHERE (stripe_customer_id = ANY(%(customers)s::text[]) AND stripe_customer_id <> '')
   OR id = ANY(%(ids)s::bigint[])
ORDER BY id FOR NO KEY UPDATE
"""


def with_customer(session: Session, customer: str) -> list[int]:
    """List the accounts with this Stripe customer: one or none, unless data is wrong.

    Deleted accounts count only where no other has the customer: an account may be opened anew.
    """
    rows = session.connection().exec_driver_sql(_WITH_CUSTOMER, {"customer": customer}).all()
    alive = [account_id for account_id, is_deleted in rows if not is_deleted]
    return alive or [account_id for account_id, _ in rows]


def lock_customers(
    session: Session, customers: Iterable[str], ids: Iterable[int] = ()
) -> tuple[dict[str, HostAccount], Locked]:
    """Lock the accounts of these Stripe customers, and those with these ids, in ascending id.

    Returns them by customer and by id. A customer of several accounts is left out.
    """
    values = {"customers": sorted(customers), "ids": sorted(ids)}
    by_customer: dict[str, list[HostAccount]] = {}
    by_id: dict[int, HostAccount] = {}
    for row in session.connection().exec_driver_sql(_LOCK_CUSTOMERS, values):
        account = by_id[row[0]] = HostAccount._make(row)
        by_customer.setdefault(row[6], []).append(account)
    single = {customer: rows[0] for customer, rows in by_customer.items() if len(rows) == 1}
    return single, by_id


def customers(session: Session, *, after: str, limit: int) -> list[str]:
    """List the accounts' Stripe customers after this one, in order."""
    rows = (
        select(Account.stripe_customer_id)
        .where(Account.stripe_customer_id > after, Account.is_deleted.is_(False))
        .distinct()
        .order_by(Account.stripe_customer_id)
        .limit(limit)
    )
    return [customer for customer in session.scalars(rows) if customer]


def set_customer(session: Session, account_id: int, customer: str | None) -> None:
    """Write the account's Stripe customer."""
    session.execute(
        update(Account).where(Account.id == account_id).values(stripe_customer_id=customer)
    )


def set_plan(session: Session, account_id: int, plan_id: int) -> None:
    """Write the account's plan."""
    set_plans(session, {account_id: plan_id})


_SET_PLANS = """
UPDATE igny8_tenants AS a SET plan_id = new.plan_id
FROM unnest(%(ids)s::bigint[], %(plans)s::bigint[]) AS new (id, plan_id) WHERE a.id = new.id
"""


def set_plans(session: Session, plan_of: Mapping[int, int]) -> None:
    """Write the plans of these locked accounts."""
    values = {"ids": list(plan_of), "plans": list(plan_of.values())}
    session.connection().exec_driver_sql(_SET_PLANS, values)


def plans_by_slug(session: Session) -> dict[str, HostPlan]:
    """Read every plan, by its slug."""
    rows = session.connection().exec_driver_sql(
        "SELECT id, slug, included_credits, is_active, price = 0 FROM igny8_plans"
    )
    return {row[1]: HostPlan._make(row) for row in rows.all()}


def anchors(session: Session, account_id: int) -> tuple[dt.datetime | None, dt.datetime]:
    """Return when the subscription's period began, if there is one, and the account itself."""
    row = session.execute(
        select(Subscription.current_period_start, Account.created_at)
        .select_from(Account)
        .join(Subscription, Subscription.account_id == Account.id, isouter=True)
        .where(Account.id == account_id)
    ).one()
    return row[0], row[1]


def has_history(session: Session, account_id: int) -> bool:
    """Whether the main app itself ever wrote a ledger row for the account."""
    row = select(CreditTransaction.id).where(
        CreditTransaction.account_id == account_id, CreditTransaction.key.is_(None)
    )
    return session.execute(row.limit(1)).first() is not None
