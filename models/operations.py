"""Outbox, dead letters, slots of the timetable and audit findings."""

import datetime as dt

from sqlalchemy import (
    ARRAY,
    BigInteger,
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


class OutboxEvent(Base):
    """An event for the main app, stored in the transaction that caused it.

    waiting → delivered, dead (all attempts failed; a replay makes it wait again) or dropped.
    `sent_to`: the channels that have delivered it. `due_at`: the next attempt, or the end of the
    current attempt's lease.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'delivered', 'dead', 'dropped')", name="state"),
        Index("outbox_due_idx", "due_at", "id", postgresql_where=text("state = 'waiting'")),
        Index("outbox_order_idx", "account_id", "id", postgresql_where=text("state = 'waiting'")),
        Index("outbox_dead_idx", "id", postgresql_where=text("state = 'dead'")),
        Index("outbox_kept_idx", "delivered_at", postgresql_where=text("state = 'delivered'")),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[int | None] = mapped_column(BigInteger)
    type: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, object]]
    happened_at: Mapped[dt.datetime] = mapped_column(Moment)
    due_at: Mapped[dt.datetime] = mapped_column(Moment)
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    state: Mapped[str] = mapped_column(Text, server_default=text("'waiting'"))
    sent_to: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    recipient: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    closed_by: Mapped[str | None] = mapped_column(Text)
    delivered_at: Mapped[dt.datetime | None] = mapped_column(Moment)


class DeadLetter(Base):
    """A message that could not be handled, kept whole so that an operator can replay or drop it.

    `task` and `arguments` are the message's. `raw` has the bytes of one that is no Celery message.
    """

    __tablename__ = "dead_letters"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'replayed', 'dropped')", name="state"),
        Index("dead_letters_open_idx", "id", postgresql_where=text("state = 'open'")),
        Index(None, "message_id", unique=True),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    message_id: Mapped[str] = mapped_column(Text)
    queue: Mapped[str | None] = mapped_column(Text)
    task: Mapped[str | None] = mapped_column(Text)
    arguments: Mapped[dict[str, object] | None]
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    error: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(Text, server_default=text("'open'"))
    first_at: Mapped[dt.datetime] = mapped_column(Moment)
    last_at: Mapped[dt.datetime] = mapped_column(Moment)
    closed_by: Mapped[str | None] = mapped_column(Text)


class Slot(Base):
    """A due time of a job in the timetable: the worker that inserts the row runs the job."""

    __tablename__ = "slots"
    __table_args__ = ({"schema": SCHEMA},)

    job: Mapped[str] = mapped_column(Text, primary_key=True)
    starts_at: Mapped[dt.datetime] = mapped_column(Moment, primary_key=True)
    claimed_at: Mapped[dt.datetime] = mapped_column(Moment)


class Finding(Base):
    """A broken invariant that the audit reported; open until an audit no longer finds it."""

    __tablename__ = "findings"
    __table_args__ = (
        Index(
            "findings_open_idx",
            "check",
            "subject",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
        ),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    check: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, object]]
    found_at: Mapped[dt.datetime] = mapped_column(Moment)
    seen_at: Mapped[dt.datetime] = mapped_column(Moment)
    closed_at: Mapped[dt.datetime | None] = mapped_column(Moment)
