"""What stands behind the ledger: books, lots, keys, refusals and the credit policy of each plan.

None has a foreign key to a host table: the owner may delete as it likes, and the audit tells.
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

#: Room on each page for the next version of a row, so that an update stays on its page (HOT).
_HOT = {"postgresql_with": {"fillfactor": 50}}


class AccountBalance(Base):
    """One row per adopted account: its balance as our entries make it, its debt and its floor.

    `credits` = sum of our entries since the opening = what remains in the lots - `debt`.
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
    #: Credits that operations cost since `spent_since`, the first of a month in UTC.
    spent: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    spent_since: Mapped[dt.datetime | None] = mapped_column(Moment)
    #: The seal of the account's last entry (`billing.ledger.chain`).
    chain: Mapped[bytes | None] = mapped_column(LargeBinary)


class Lot(Base):
    """Credits that arrived together and expire together; `starts_at` null: at once.

    `period_number`: the period of the account's calendar whose lot this is; there is but one.
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
    #: What the indexes ask: one that asked `remaining` would be written anew at each debit.
    is_open: Mapped[bool] = mapped_column(Boolean, Computed("remaining > 0", persisted=True))
    held: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    starts_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    expires_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    key: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)
    period_number: Mapped[int | None] = mapped_column(Integer)


class Key(Base):
    """What a key stands for, for ever. `entry_id` null: the first answer was a refusal.

    The key is a uuid, made once at the source (version 7 keeps this index fast at any size);
    another text becomes one by hashing (`billing.keys`). `content` is a digest of what was asked.
    """

    __tablename__ = "keys"
    __table_args__ = ({"schema": SCHEMA},)

    key: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)
    content: Mapped[int] = mapped_column(BigInteger)
    entry_id: Mapped[int | None] = mapped_column(BigInteger)


class Refusal(Base):
    """A debit that was understood and answered no, with what was asked and why not."""

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
    """How a plan treats credits. No row: debts are refused, and nothing rolls over.

    `rollover_cap`: credits of one period that may be spent in the next, at most.
    `take_back_debt_limit`: what an account may owe once money is refunded or charged back whose
    credits are spent; null: all of it; 0: it is written off. `trial_days`: how long a trial of the
    plan is; null: as the setting says.
    """

    __tablename__ = "plan_policies"
    __table_args__ = (
        CheckConstraint("debt_limit >= 0", name="debt_limit"),
        CheckConstraint("rollover_cap >= 0", name="rollover_cap"),
        CheckConstraint("take_back_debt_limit >= 0", name="take_back_debt_limit"),
        CheckConstraint("trial_days BETWEEN 0 AND 365", name="trial_days"),
        {"schema": SCHEMA},
    )

    plan_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    debt_limit: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    rollover_cap: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    take_back_debt_limit: Mapped[int | None] = mapped_column(Integer)
    trial_days: Mapped[int | None] = mapped_column(Integer)


class SpendCap(Base):
    """How many credits an account's operations may cost in a month (UTC). No row: no cap."""

    __tablename__ = "spend_caps"
    __table_args__ = (CheckConstraint("credits >= 0", name="credits"), {"schema": SCHEMA})

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    credits: Mapped[int] = mapped_column(Integer)


class Hold(Base):
    """Credits set aside for work under way. `lots`: [[lot id, credits], …] it was taken from.

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
    """A message that the main app left in its own transaction; gone once it is applied.

    The key begins with the account, so that the drain finds each account's rows in their order.
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
    """What an operation cost from `valid_from` on; a trigger on CreditCostConfig keeps it."""

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
