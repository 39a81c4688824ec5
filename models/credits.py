"""The tables behind the ledger: balances, lots, keys, refusals and each plan's credit policy.

None has a foreign key to a host table: the main app may delete its rows, and the audit reports it.
"""

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, Computed, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import BigInt, Counter, NewId, Ours, OwnerId, partial_index

#: Leaves room on each page, so that an update can stay on its row's page (HOT).
_HOT = {"postgresql_with": {"fillfactor": 50}}


class AccountBalance(Ours, table="books"):
    """The balance of an adopted account, with its debt and what is held.

    `credits` = opening credits + our entries since = remaining credits of the lots - `debt`.
    Written only under the lock of the account's row in `igny8_tenants`.
    """

    __table_args__ = (
        CheckConstraint("credits >= -debt_limit", name="floor"),
        CheckConstraint("debt BETWEEN 0 AND debt_limit", name="debt"),
        _HOT,
    )

    account_id: Mapped[OwnerId]
    credits: Mapped[int]
    debt: Mapped[Counter]
    debt_limit: Mapped[Counter]
    held: Mapped[Counter] = mapped_column(CheckConstraint("held >= 0", name="held"))
    opened_at: Mapped[dt.datetime]
    opening_credits: Mapped[int]
    #: Credits spent on operations since `spent_since`, the first of a month in UTC.
    spent: Mapped[Counter]
    spent_since: Mapped[dt.datetime | None]
    #: The entry hash of the account's last entry, the end of its hash chain.
    chain: Mapped[bytes | None]


class Lot(Ours, table="lots"):
    """Credits that arrive and expire together. `starts_at` null: they are valid at once.

    `period_number`: the period of the account's credit cycle that the lot belongs to; each period
    has one lot.
    """

    __table_args__ = (
        CheckConstraint("remaining BETWEEN 0 AND granted", name="remaining"),
        CheckConstraint("held BETWEEN 0 AND remaining", name="held"),
        CheckConstraint("expires_at > starts_at", name="expires_at"),
        partial_index("lots_account_id_open_idx", "account_id", where="is_open"),
        partial_index("lots_expiry_idx", "expires_at", where="is_open AND expires_at IS NOT NULL"),
        partial_index(
            "lots_period_idx",
            "account_id",
            "period_number",
            unique=True,
            where="period_number IS NOT NULL",
        ),
        _HOT,
    )

    id: Mapped[NewId]
    account_id: Mapped[BigInt]
    source: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger)
    is_promotional: Mapped[bool]
    granted: Mapped[int] = mapped_column(CheckConstraint("granted > 0", name="granted"))
    remaining: Mapped[int]
    #: For the indexes: one on `remaining` itself would be rewritten at each debit.
    is_open: Mapped[bool] = mapped_column(Computed("remaining > 0", persisted=True))
    held: Mapped[Counter]
    starts_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime | None]
    key: Mapped[str]
    recorded_at: Mapped[dt.datetime]
    period_number: Mapped[int | None]


class Key(Ours, table="keys"):
    """An idempotency key and its first answer. `entry_id` null: the answer was a refusal.

    A key that is no UUID becomes one by hashing; UUIDs of version 7 keep this index fast at any
    size. `content` is a digest of the message.
    """

    key: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    content: Mapped[BigInt]
    entry_id: Mapped[BigInt | None]


class Refusal(Ours, table="refusals"):
    """A refused debit: its content, the reason and the facts behind it."""

    __table_args__ = (Index(None, "account_id", "id"),)

    id: Mapped[NewId]
    account_id: Mapped[BigInt]
    key: Mapped[str] = mapped_column(index=True)
    operation: Mapped[str]
    units: Mapped[int]
    reason: Mapped[str]
    facts: Mapped[dict[str, object]]
    happened_at: Mapped[dt.datetime]
    recorded_at: Mapped[dt.datetime]


class PlanPolicy(Ours, table="plan_policies"):
    """The credit policy of a plan. No row: no debt is allowed, and nothing rolls over.

    `debt_limit`: the largest debt of an account. `rollover_cap`: the most credits of one period
    that may be spent in the next. `take_back_debt_limit`: the largest debt that a clawback of spent
    credits may leave; null: no limit; 0: it is written off. `trial_days`: the length of a trial;
    null: the setting's. `shortfall_minor`: the most that may be missing of a bank transfer for an
    invoice, in minor units, as a bank's fee; null: the setting's.
    """

    __table_args__ = (
        CheckConstraint("debt_limit >= 0", name="debt_limit"),
        CheckConstraint("rollover_cap >= 0", name="rollover_cap"),
        CheckConstraint("take_back_debt_limit >= 0", name="take_back_debt_limit"),
        CheckConstraint("trial_days BETWEEN 0 AND 365", name="trial_days"),
        CheckConstraint("shortfall_minor >= 0", name="shortfall_minor"),
    )

    plan_id: Mapped[OwnerId]
    debt_limit: Mapped[Counter]
    rollover_cap: Mapped[Counter]
    take_back_debt_limit: Mapped[int | None]
    trial_days: Mapped[int | None]
    shortfall_minor: Mapped[int | None]


class SpendCap(Ours, table="spend_caps"):
    """The most credits that an account may spend in a month (UTC). No row: no cap."""

    __table_args__ = (CheckConstraint("credits >= 0", name="credits"),)

    account_id: Mapped[OwnerId]
    credits: Mapped[int]


class DebitsWithoutAccess(Ours, table="debits_without_access"):
    """A day's debits of an account that had no access, by the reason of `billing.access`."""

    account_id: Mapped[OwnerId]
    day: Mapped[dt.date] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    debits: Mapped[int]
    credits: Mapped[BigInt]
    first_at: Mapped[dt.datetime]
    last_at: Mapped[dt.datetime]


class Hold(Ours, table="holds"):
    """Credits reserved for work under way. `lots`: [[lot id, credits], …] they come from.

    `state`: held, captured, released or expired. Placed by the SQL function `billing.place_hold`.
    """

    __table_args__ = (
        CheckConstraint("state IN ('held', 'captured', 'released', 'expired')", name="state"),
        partial_index("holds_due_idx", "expires_at", where="state = 'held'"),
        partial_index("holds_open_idx", "account_id", where="state = 'held'"),
        {"postgresql_with": {"fillfactor": 80}},
    )

    key: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    key_text: Mapped[str]
    account_id: Mapped[BigInt]
    operation: Mapped[str]
    units: Mapped[int]
    credits: Mapped[int] = mapped_column(CheckConstraint("credits >= 0", name="credits"))
    lots: Mapped[list[object]]
    state: Mapped[str] = mapped_column(server_default=text("'held'"))
    placed_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime]
    finished_at: Mapped[dt.datetime | None]


class InboxRow(Ours, table="inbox"):
    """A message that the main app stored in its own transaction; deleted once applied.

    The primary key begins with the account, so that the drain reads its rows in order.
    """

    __table_args__ = (
        CheckConstraint(
            "octet_length(task) <= 255 AND octet_length(arguments::text) <= 65536",
            name="size",
        ),
        {
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0.01,
                "autovacuum_vacuum_cost_delay": 0,
            },
        },
    )

    account_id: Mapped[OwnerId]
    id: Mapped[NewId]
    task: Mapped[str]
    arguments: Mapped[dict[str, object]]
    sent_at: Mapped[dt.datetime] = mapped_column(server_default=text("clock_timestamp()"))


class PriceVersion(Ours, table="prices"):
    """The price of an operation from `valid_from` on, written by a trigger on CreditCostConfig."""

    __table_args__ = (Index(None, "operation", "valid_from", unique=True),)

    id: Mapped[NewId]
    operation: Mapped[str]
    valid_from: Mapped[dt.datetime]
    credits_per_unit: Mapped[int]
    units_per_price: Mapped[int]
    is_fixed: Mapped[bool]
    is_active: Mapped[bool]
