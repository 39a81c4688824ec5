"""Credits that payments bought, the money that paid for them, and what of both went back."""

import datetime as dt

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SCHEMA, Base, Moment


class Purchase(Base):
    """The purchase of one line of a payment: a plan for some months, or a top-up.

    A plan's credits come monthly: `lots` lots of `credits` each, the n-th n-1 months after
    `starts_at`, the last until `ends_at`. `given` of them were granted; the next is due at
    `next_due_at`. A top-up is one lot without an end. `origin` names the payment: an invoice or a
    payment intent. `taken_back`: credits that money that went back took back, `cancelled` of them
    from lots not yet granted. `take_backs`: the number of clawback entries, of which the first
    `undone` were reversed.

    `granted`: credits of the given lots. A change of plan takes `reduced` off each lot to come, and
    took `withheld` in all off the given ones.

    `price_minor`: the price of the line, net of discounts, in the payment's unit of `currency`;
    null: recorded before prices were. Of it, `returned_minor` went back for good (refunds, lost
    disputes, credit notes), `moved_minor` went into the customer's balance and paid for something
    else since, and `parked_minor` is still in that balance.
    """

    __tablename__ = "purchases"
    __table_args__ = (
        CheckConstraint("credits > 0", name="credits"),
        CheckConstraint("given BETWEEN 0 AND lots", name="given"),
        CheckConstraint("taken_back BETWEEN 0 AND credits::bigint * lots", name="taken_back"),
        CheckConstraint("ends_at > starts_at", name="ends_at"),
        Index(None, "key", unique=True),
        Index(None, "origin"),
        Index(None, "account_id", "ends_at"),
        Index("purchases_due_idx", "next_due_at", postgresql_where=text("next_due_at IS NOT NULL")),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    key: Mapped[str] = mapped_column(Text)
    account_id: Mapped[int] = mapped_column(BigInteger)
    origin: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    plan_id: Mapped[int | None] = mapped_column(BigInteger)
    credits: Mapped[int] = mapped_column(Integer)
    lots: Mapped[int] = mapped_column(Integer)
    given: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    cancelled: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    taken_back: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    take_backs: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    undone: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    granted: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    reduced: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    withheld: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    price_minor: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None] = mapped_column(Text)
    returned_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    moved_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    parked_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    starts_at: Mapped[dt.datetime] = mapped_column(Moment)
    ends_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    next_due_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)
