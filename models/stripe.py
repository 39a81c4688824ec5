"""Stripe's events, its objects as we last saw them, and the meaning of its prices."""

import datetime as dt

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import BigInt, Counter, NewId, Ours, partial_index

#: The condition of an event that still has its body.
ERASABLE = "payload IS NOT NULL OR raw IS NOT NULL"


class StripeEvent(Ours, table="stripe_events"):
    """An event of Stripe; repeated deliveries share one row.

    `state`: received → applied, ignored, parked (it waits for something, such as an unknown
    customer) or failed (retried at `due_at`; null: it waits for an operator). `refused`: not an
    event for us, such as a body with a wrong signature; `raw` keeps its beginning.
    """

    __table_args__ = (
        CheckConstraint(
            "state IN ('received', 'applied', 'ignored', 'parked', 'failed', 'refused')",
            name="state",
        ),
        # Not the id alone: copied accounts and sample collections repeat ids.
        Index("stripe_events_event_id_digest_idx", "event_id", "digest", unique=True),
        partial_index("stripe_events_due_idx", "due_at", "id", where="due_at IS NOT NULL"),
        partial_index("stripe_events_customer_idx", "customer", where="state = 'parked'"),
        partial_index("stripe_events_object_idx", "object_id", where="state = 'parked'"),
        partial_index("stripe_events_reason_idx", "reason", where="state = 'parked'"),
        partial_index("stripe_events_open_idx", "id", where="state IN ('parked','failed')"),
        partial_index(
            "stripe_events_foreign_idx",
            "object_id",
            where="state = 'ignored' AND reason = 'ForeignProduct'",
        ),
        partial_index(
            "stripe_events_unanswered_idx",
            "id",
            where="state IN ('ignored', 'failed') AND facts ->> 'amount_minor' IS NOT NULL",
        ),
        # The events that pruning, and the closing of an account, have to erase.
        partial_index("stripe_events_erasable_idx", "recorded_at", where=ERASABLE),
        partial_index("stripe_events_account_id_idx", "account_id", where=ERASABLE),
        partial_index("stripe_events_of_customer_idx", "customer", where=ERASABLE),
        {"postgresql_with": {"fillfactor": 80}},
    )

    id: Mapped[NewId]
    event_id: Mapped[str]
    digest: Mapped[bytes]
    source: Mapped[str]
    type: Mapped[str | None]
    object_id: Mapped[str | None]
    customer: Mapped[str | None]
    account_id: Mapped[BigInt | None]
    payload: Mapped[dict[str, object] | None]
    raw: Mapped[bytes | None]
    state: Mapped[str]
    reason: Mapped[str | None]
    facts: Mapped[dict[str, object] | None]
    attempts: Mapped[Counter]
    deliveries: Mapped[int] = mapped_column(server_default=text("1"))
    happened_at: Mapped[dt.datetime | None]
    received_at: Mapped[dt.datetime]
    recorded_at: Mapped[dt.datetime] = mapped_column(index=True)
    due_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]


class StripeObject(Ours, table="stripe_objects"):
    """The newest known state of an object at Stripe, reduced to the facts that we use.

    `version_at` is Stripe's time of the state. Among states of one second the highest `rank` wins,
    which follows the object's life cycle, then `digest`: any order of arrival ends the same.
    """

    __table_args__ = (
        Index(None, "account_id", "kind"),
        Index(None, "customer", "kind"),
        # The few invoices that move money into or out of a customer's balance.
        partial_index(
            "stripe_objects_balance_idx",
            "account_id",
            where="kind = 'invoice' AND facts ->> 'moves_balance' = 'true'",
        ),
        {"postgresql_with": {"fillfactor": 70}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    customer: Mapped[str | None]
    account_id: Mapped[BigInt | None]
    facts: Mapped[dict[str, object]]
    version_at: Mapped[dt.datetime]
    rank: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    digest: Mapped[bytes]
    recorded_at: Mapped[dt.datetime]


class StripeLink(Ours, table="stripe_links"):
    """Two objects that belong to one payment, such as an invoice and its payment intent."""

    from_id: Mapped[str] = mapped_column(primary_key=True)
    to_id: Mapped[str] = mapped_column(primary_key=True, index=True)


class StripeOwner(Ours, table="stripe_owners"):
    """An object at Stripe that the main app or an operator said to be an account's.

    A customer that the account had before, or a Checkout session or payment that names nobody.
    """

    object_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[BigInt] = mapped_column(index=True)
    actor: Mapped[str]
    recorded_at: Mapped[dt.datetime]


class StripePrice(Ours, table="stripe_prices"):
    """The meaning that an operator gave a price (`price_…`) or all prices of a product (`prod_…`).

    A plan, or a top-up of `credits` for each unit; neither: purchases at this price are ignored.
    """

    __table_args__ = (CheckConstraint("plan_id IS NULL OR credits IS NULL", name="meaning"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    plan_id: Mapped[BigInt | None]
    credits: Mapped[int | None] = mapped_column(CheckConstraint("credits > 0", name="credits"))
    actor: Mapped[str]
    recorded_at: Mapped[dt.datetime]


class StripeCursor(Ours, table="stripe_cursors"):
    """The place in Stripe's list of events up to which the backfill has read."""

    name: Mapped[str] = mapped_column(primary_key=True)
    read_until: Mapped[dt.datetime]
    is_live: Mapped[bool]
    recorded_at: Mapped[dt.datetime]
