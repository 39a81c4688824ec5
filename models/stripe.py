"""Stripe's events, its objects as we last saw them, and the meaning of its prices."""

import datetime as dt

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SCHEMA, Base, Moment


class StripeEvent(Base):
    """An event of Stripe; repeated deliveries share one row.

    `state`: received → applied, ignored, parked (it waits for something, such as an unknown
    customer) or failed (retried at `due_at`; null: it waits for an operator). `refused`: not an
    event for us, such as a body with a wrong signature; `raw` keeps its beginning.
    """

    __tablename__ = "stripe_events"
    __table_args__ = (
        CheckConstraint(
            "state IN ('received', 'applied', 'ignored', 'parked', 'failed', 'refused')",
            name="state",
        ),
        # Not the id alone: copied accounts and sample collections repeat ids.
        Index("stripe_events_event_id_digest_idx", "event_id", "digest", unique=True),
        Index("stripe_events_due_idx", "due_at", "id", postgresql_where=text("due_at IS NOT NULL")),
        Index("stripe_events_customer_idx", "customer", postgresql_where=text("state = 'parked'")),
        Index("stripe_events_object_idx", "object_id", postgresql_where=text("state = 'parked'")),
        Index("stripe_events_reason_idx", "reason", postgresql_where=text("state = 'parked'")),
        Index(
            "stripe_events_open_idx", "id", postgresql_where=text("state IN ('parked','failed')")
        ),
        Index(
            "stripe_events_foreign_idx",
            "object_id",
            postgresql_where=text("state = 'ignored' AND reason = 'ForeignProduct'"),
        ),
        Index(
            "stripe_events_unanswered_idx",
            "id",
            postgresql_where=text(
                "state IN ('ignored', 'failed') AND facts ->> 'amount_minor' IS NOT NULL"
            ),
        ),
        Index(None, "recorded_at"),
        {"schema": SCHEMA, "postgresql_with": {"fillfactor": 80}},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    event_id: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    source: Mapped[str] = mapped_column(Text)
    type: Mapped[str | None] = mapped_column(Text)
    object_id: Mapped[str | None] = mapped_column(Text)
    customer: Mapped[str | None] = mapped_column(Text)
    account_id: Mapped[int | None] = mapped_column(BigInteger)
    payload: Mapped[dict[str, object] | None]
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    facts: Mapped[dict[str, object] | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    deliveries: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    happened_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    received_at: Mapped[dt.datetime] = mapped_column(Moment)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)
    due_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    finished_at: Mapped[dt.datetime | None] = mapped_column(Moment)


class StripeObject(Base):
    """The newest known state of an object at Stripe, reduced to the facts that we use.

    `version_at` is Stripe's time of the state. Among states of one second the highest `rank` wins,
    which follows the object's life cycle, then `digest`: any order of arrival ends the same.
    """

    __tablename__ = "stripe_objects"
    __table_args__ = (
        Index(None, "account_id", "kind"),
        Index(None, "customer", "kind"),
        {"schema": SCHEMA, "postgresql_with": {"fillfactor": 70}},
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    customer: Mapped[str | None] = mapped_column(Text)
    account_id: Mapped[int | None] = mapped_column(BigInteger)
    facts: Mapped[dict[str, object]]
    version_at: Mapped[dt.datetime] = mapped_column(Moment)
    rank: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class StripeLink(Base):
    """Two objects that belong to one payment, such as an invoice and its payment intent."""

    __tablename__ = "stripe_links"
    __table_args__ = (Index(None, "to_id"), {"schema": SCHEMA})

    from_id: Mapped[str] = mapped_column(Text, primary_key=True)
    to_id: Mapped[str] = mapped_column(Text, primary_key=True)


class StripeOwner(Base):
    """An object at Stripe that the main app or an operator said to be an account's.

    A customer that the account had before, or a Checkout session or payment that names nobody.
    """

    __tablename__ = "stripe_owners"
    __table_args__ = (Index(None, "account_id"), {"schema": SCHEMA})

    object_id: Mapped[str] = mapped_column(Text, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class StripePrice(Base):
    """The meaning that an operator gave a price (`price_…`) or all prices of a product (`prod_…`).

    A plan, or a top-up of `credits` for each unit; neither: purchases at this price are ignored.
    """

    __tablename__ = "stripe_prices"
    __table_args__ = (
        CheckConstraint("plan_id IS NULL OR credits IS NULL", name="meaning"),
        CheckConstraint("credits > 0", name="credits"),
        {"schema": SCHEMA},
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    plan_id: Mapped[int | None] = mapped_column(BigInteger)
    credits: Mapped[int | None] = mapped_column(Integer)
    actor: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class StripeCursor(Base):
    """The place in Stripe's list of events up to which the backfill has read."""

    __tablename__ = "stripe_cursors"
    __table_args__ = ({"schema": SCHEMA},)

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    read_until: Mapped[dt.datetime] = mapped_column(Moment)
    is_live: Mapped[bool] = mapped_column(Boolean)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)
