"""Outbox, dead letters, slots of the timetable, audit findings and anchors of the hash chains."""

import datetime as dt

from sqlalchemy import ARRAY, CheckConstraint, Index, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import BigInt, Counter, NewId, Ours, OwnerId, partial_index


class OutboxEvent(Ours, table="outbox"):
    """An event for the main app, stored in the transaction that caused it.

    waiting → delivered, dead (all attempts failed; a replay makes it wait again) or dropped.
    `sent_to`: the channels that have delivered it. `due_at`: the next attempt, or the end of the
    current attempt's lease.
    """

    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'delivered', 'dead', 'dropped')", name="state"),
        partial_index("outbox_due_idx", "due_at", "id", where="state = 'waiting'"),
        partial_index("outbox_order_idx", "account_id", "id", where="state = 'waiting'"),
        partial_index("outbox_dead_idx", "id", where="state = 'dead'"),
        partial_index("outbox_kept_idx", "delivered_at", where="state = 'delivered'"),
    )

    id: Mapped[NewId]
    account_id: Mapped[BigInt | None]
    type: Mapped[str]
    payload: Mapped[dict[str, object]]
    happened_at: Mapped[dt.datetime]
    due_at: Mapped[dt.datetime]
    attempts: Mapped[Counter]
    state: Mapped[str] = mapped_column(server_default=text("'waiting'"))
    sent_to: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    recipient: Mapped[str | None]
    error: Mapped[str | None]
    closed_by: Mapped[str | None]
    delivered_at: Mapped[dt.datetime | None]


class DeadLetter(Ours, table="dead_letters"):
    """A message that could not be handled, kept whole so that an operator can replay or drop it.

    `task` and `arguments` are the message's. `raw` has the bytes of one that is no Celery message.
    """

    __table_args__ = (
        CheckConstraint("state IN ('open', 'replayed', 'dropped')", name="state"),
        partial_index("dead_letters_open_idx", "id", where="state = 'open'"),
        # An account that is closed finds the letters that name it.
        Index("dead_letters_account_idx", text("(arguments ->> 'account_id')")),
        Index(
            "dead_letters_customers_idx",
            text("billing.customers_named(arguments)"),
            postgresql_using="gin",
        ),
    )

    id: Mapped[NewId]
    message_id: Mapped[str] = mapped_column(index=True, unique=True)
    queue: Mapped[str | None]
    task: Mapped[str | None]
    arguments: Mapped[dict[str, object] | None]
    raw: Mapped[bytes | None]
    error: Mapped[str]
    reason: Mapped[str]
    attempts: Mapped[int]
    state: Mapped[str] = mapped_column(server_default=text("'open'"))
    first_at: Mapped[dt.datetime]
    last_at: Mapped[dt.datetime]
    closed_by: Mapped[str | None]


class Slot(Ours, table="slots"):
    """A due time of a job in the timetable: the worker that inserts the row runs the job."""

    job: Mapped[str] = mapped_column(primary_key=True)
    starts_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    claimed_at: Mapped[dt.datetime]


class Finding(Ours, table="findings"):
    """A broken invariant that the audit reported; open until an audit no longer finds it."""

    __table_args__ = (
        partial_index(
            "findings_open_idx", "check", "subject", unique=True, where="closed_at IS NULL"
        ),
    )

    id: Mapped[NewId]
    check: Mapped[str]
    subject: Mapped[str]
    facts: Mapped[dict[str, object]]
    found_at: Mapped[dt.datetime]
    seen_at: Mapped[dt.datetime]
    closed_at: Mapped[dt.datetime | None]


class ChainAnchor(Ours, table="chain_anchors"):
    """The head of an account's hash chain when an audit last verified it.

    `mac`: the hash of the row itself. `published_entries`: its entries when it was last written to
    the file or the log.
    """

    account_id: Mapped[OwnerId]
    entries: Mapped[BigInt]
    entry_id: Mapped[BigInt]
    last_hash: Mapped[bytes]
    balance: Mapped[BigInt]
    mac: Mapped[bytes]
    anchored_at: Mapped[dt.datetime]
    published_entries: Mapped[BigInt] = mapped_column(server_default=text("0"))


class ChainTotal(Ours, table="chain_total"):
    """The sum of all anchors, in one row, and how far a full audit has come.

    `old_id`: the last entry with a hash of version 1; after `old_ended_at` no later one may have
    it. `full_after`: the account up to which the running full audit has come.
    """

    __table_args__ = (CheckConstraint("id = 1", name="id"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    accounts: Mapped[BigInt]
    digest: Mapped[bytes]
    old_id: Mapped[BigInt]
    old_seen_at: Mapped[dt.datetime]
    old_ended_at: Mapped[dt.datetime | None]
    full_after: Mapped[BigInt | None]
    full_began_at: Mapped[dt.datetime | None]
    full_at: Mapped[dt.datetime | None]
    mac: Mapped[bytes]


class AllowedRole(Ours, table="allowed_roles"):
    """A role of Postgres that `billing roles` gave the rights of a part, renewed by migrations."""

    __table_args__ = (CheckConstraint("part IN ('worker', 'app', 'read_only')", name="part"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    part: Mapped[str]


class Repair(Ours, table="repairs"):
    """A repair by an operator, with the values before and after. Rows are only added."""

    id: Mapped[NewId]
    act: Mapped[str]
    subject: Mapped[str]
    facts: Mapped[dict[str, object]]
    actor: Mapped[str]
    recorded_at: Mapped[dt.datetime]
