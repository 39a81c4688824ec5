"""The tables behind the ledger: balances, lots, keys, refusals and each plan's credit policy.

None has a foreign key to a host table: the main app may delete its rows, and the audit reports it.
"""

import datetime as dt
import uuid

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SCHEMA, Base, Moment

#: Leaves room on each page, so that an update can stay on its row's page (HOT).
_HOT = {"postgresql_with": {"fillfactor": 50}}


class AccountBalance(Base):
    """The balance of an adopted account, with its debt and what is held.

    `credits` = opening credits + our entries since = remaining credits of the lots - `debt`.
    Written only under the lock of the account's row in `igny8_tenants`.
    """

    __tablename__ = "books"
    __table_args__ = (
        CheckConstraint("credits >= -debt_limit", name="floor"),
        CheckConstraint("debt BETWEEN 0 AND debt_limit", name="debt"),
        CheckConstraint("held >= 0", name="held"),
        {"schema": SCHEMA, **_HOT},
    )

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    credits: Mapped[int] = mapped_column(Integer)
    debt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    debt_limit: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    held: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    opened_at: Mapped[dt.datetime] = mapped_column(Moment)
    opening_credits: Mapped[int] = mapped_column(Integer)
    #: Credits spent on operations since `spent_since`, the first of a month in UTC.
    spent: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    spent_since: Mapped[dt.datetime | None] = mapped_column(Moment)
    #: The entry hash of the account's last entry, the end of its hash chain.
    chain: Mapped[bytes | None] = mapped_column(LargeBinary)


class Lot(Base):
    """Credits that arrive and expire together. `starts_at` null: they are valid at once.

    `period_number`: the period of the account's credit cycle that the lot belongs to; each period
    has one lot.
    """

    __tablename__ = "lots"
    __table_args__ = (
        CheckConstraint("granted > 0", name="granted"),
        CheckConstraint("remaining BETWEEN 0 AND granted", name="remaining"),
        CheckConstraint("held BETWEEN 0 AND remaining", name="held"),
        CheckConstraint("expires_at > starts_at", name="expires_at"),
        Index("lots_account_id_open_idx", "account_id", postgresql_where=text("is_open")),
        Index(
            "lots_expiry_idx",
            "expires_at",
            postgresql_where=text("is_open AND expires_at IS NOT NULL"),
        ),
        Index(
            "lots_period_idx",
            "account_id",
            "period_number",
            unique=True,
            postgresql_where=text("period_number IS NOT NULL"),
        ),
        {"schema": SCHEMA, **_HOT},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(SmallInteger)
    is_promotional: Mapped[bool] = mapped_column(Boolean)
    granted: Mapped[int] = mapped_column(Integer)
    remaining: Mapped[int] = mapped_column(Integer)
    #: For the indexes: one on `remaining` itself would be rewritten at each debit.
    is_open: Mapped[bool] = mapped_column(Boolean, Computed("remaining > 0", persisted=True))
    held: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    starts_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    expires_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    key: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)
    period_number: Mapped[int | None] = mapped_column(Integer)


class Key(Base):
    """An idempotency key and its first answer. `entry_id` null: the answer was a refusal.

    A key that is no UUID becomes one by hashing; UUIDs of version 7 keep this index fast at any
    size. `content` is a digest of the message.
    """

    __tablename__ = "keys"
    __table_args__ = ({"schema": SCHEMA},)

    key: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)
    content: Mapped[int] = mapped_column(BigInteger)
    entry_id: Mapped[int | None] = mapped_column(BigInteger)


class Refusal(Base):
    """A refused debit: its content, the reason and the facts behind it."""

    __tablename__ = "refusals"
    __table_args__ = (
        Index(None, "account_id", "id"),
        Index(None, "key"),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(Text)
    operation: Mapped[str] = mapped_column(Text)
    units: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, object]]
    happened_at: Mapped[dt.datetime] = mapped_column(Moment)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class PlanPolicy(Base):
    """The credit policy of a plan. No row: no debt is allowed, and nothing rolls over.

    `debt_limit`: the largest debt of an account. `rollover_cap`: the most credits of one period
    that may be spent in the next. `take_back_debt_limit`: the largest debt that a clawback of spent
    credits may leave; null: no limit; 0: it is written off. `trial_days`: the length of a trial;
    null: the setting's. `shortfall_minor`: the most that may be missing of a bank transfer for an
    invoice, in minor units, as a bank's fee; null: the setting's.
    """

    __tablename__ = "plan_policies"
    __table_args__ = (
        CheckConstraint("debt_limit >= 0", name="debt_limit"),
        CheckConstraint("rollover_cap >= 0", name="rollover_cap"),
        CheckConstraint("take_back_debt_limit >= 0", name="take_back_debt_limit"),
        CheckConstraint("trial_days BETWEEN 0 AND 365", name="trial_days"),
        CheckConstraint("shortfall_minor >= 0", name="shortfall_minor"),
        {"schema": SCHEMA},
    )

    plan_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    debt_limit: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    rollover_cap: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    take_back_debt_limit: Mapped[int | None] = mapped_column(Integer)
    trial_days: Mapped[int | None] = mapped_column(Integer)
    shortfall_minor: Mapped[int | None] = mapped_column(Integer)


class SpendCap(Base):
    """The most credits that an account may spend in a month (UTC). No row: no cap."""

    __tablename__ = "spend_caps"
    __table_args__ = (CheckConstraint("credits >= 0", name="credits"), {"schema": SCHEMA})

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    credits: Mapped[int] = mapped_column(Integer)


class Hold(Base):
    """Credits reserved for work under way. `lots`: [[lot id, credits], …] they come from.

    `state`: held, captured, released or expired. Placed by the SQL function `billing.place_hold`.
    """

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("state IN ('held', 'captured', 'released', 'expired')", name="state"),
        CheckConstraint("credits >= 0", name="credits"),
        Index("holds_due_idx", "expires_at", postgresql_where=text("state = 'held'")),
        Index("holds_open_idx", "account_id", postgresql_where=text("state = 'held'")),
        {"schema": SCHEMA, "postgresql_with": {"fillfactor": 80}},
    )

    key: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)
    key_text: Mapped[str] = mapped_column(Text)
    account_id: Mapped[int] = mapped_column(BigInteger)
    operation: Mapped[str] = mapped_column(Text)
    units: Mapped[int] = mapped_column(Integer)
    credits: Mapped[int] = mapped_column(Integer)
    lots: Mapped[list[object]]
    state: Mapped[str] = mapped_column(Text, server_default=text("'held'"))
    placed_at: Mapped[dt.datetime] = mapped_column(Moment)
    expires_at: Mapped[dt.datetime] = mapped_column(Moment)
    finished_at: Mapped[dt.datetime | None] = mapped_column(Moment)


class InboxRow(Base):
    """A message that the main app stored in its own transaction; deleted once applied.

    The primary key begins with the account, so that the drain reads its rows in order.
    """

    __tablename__ = "inbox"
    __table_args__ = (
        {
            "schema": SCHEMA,
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0.01,
                "autovacuum_vacuum_cost_delay": 0,
            },
        },
    )

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    task: Mapped[str] = mapped_column(Text)
    arguments: Mapped[dict[str, object]]
    sent_at: Mapped[dt.datetime] = mapped_column(Moment, server_default=text("clock_timestamp()"))


class PriceVersion(Base):
    """The price of an operation from `valid_from` on, written by a trigger on CreditCostConfig."""

    __tablename__ = "prices"
    __table_args__ = (
        Index(None, "operation", "valid_from", unique=True),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    operation: Mapped[str] = mapped_column(Text)
    valid_from: Mapped[dt.datetime] = mapped_column(Moment)
    credits_per_unit: Mapped[int] = mapped_column(Integer)
    units_per_price: Mapped[int] = mapped_column(Integer)
    is_fixed: Mapped[bool] = mapped_column(Boolean)
    is_active: Mapped[bool] = mapped_column(Boolean)
