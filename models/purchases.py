"""Credits that payments bought, the money that paid for them, and what of both went back."""

import datetime as dt

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import BigInt, Counter, NewId, Ours, partial_index


class Purchase(Ours, table="purchases"):
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

    __table_args__ = (
        CheckConstraint("given BETWEEN 0 AND lots", name="given"),
        CheckConstraint("taken_back BETWEEN 0 AND credits::bigint * lots", name="taken_back"),
        CheckConstraint("ends_at > starts_at", name="ends_at"),
        Index(None, "account_id", "ends_at"),
        partial_index("purchases_due_idx", "next_due_at", where="next_due_at IS NOT NULL"),
    )

    id: Mapped[NewId]
    key: Mapped[str] = mapped_column(index=True, unique=True)
    account_id: Mapped[BigInt]
    origin: Mapped[str] = mapped_column(index=True)
    source: Mapped[str]
    plan_id: Mapped[BigInt | None]
    credits: Mapped[int] = mapped_column(CheckConstraint("credits > 0", name="credits"))
    lots: Mapped[int]
    given: Mapped[Counter]
    cancelled: Mapped[BigInt] = mapped_column(server_default=text("0"))
    taken_back: Mapped[BigInt] = mapped_column(server_default=text("0"))
    take_backs: Mapped[Counter]
    undone: Mapped[Counter]
    granted: Mapped[BigInt] = mapped_column(server_default=text("0"))
    reduced: Mapped[Counter]
    withheld: Mapped[BigInt] = mapped_column(server_default=text("0"))
    price_minor: Mapped[BigInt | None]
    currency: Mapped[str | None]
    returned_minor: Mapped[BigInt] = mapped_column(server_default=text("0"))
    moved_minor: Mapped[BigInt] = mapped_column(server_default=text("0"))
    parked_minor: Mapped[BigInt] = mapped_column(server_default=text("0"))
    starts_at: Mapped[dt.datetime]
    ends_at: Mapped[dt.datetime | None]
    next_due_at: Mapped[dt.datetime | None]
    recorded_at: Mapped[dt.datetime]
