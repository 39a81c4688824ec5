"""The deliveries of the outbox: events are claimed in order, retried, and dead after the last try.

claim → (send, no transaction open) → record. A claim is a lease in `due_at`: if its process dies,
the event is due again. An account's event is claimed only if no earlier one of it waits for later.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BillingError
from billing.host import recipients
from billing.postgres import sql
from billing_client.events import Event, Recipient
from models.operations import OutboxEvent

#: Pauses before the second try, the third, …: a receiver may be unavailable for a day, as in the
#: example schedule of the Standard Webhooks specification. After the last try, the event is dead.
PAUSES = (
    dt.timedelta(seconds=5),
    dt.timedelta(minutes=5),
    dt.timedelta(minutes=30),
    dt.timedelta(hours=2),
    dt.timedelta(hours=5),
    dt.timedelta(hours=10),
    dt.timedelta(hours=10),
)
#: Time for which a claim keeps an event from other processes; a run stops before its end.
LEASE = dt.timedelta(seconds=120)
#: Events that one claim takes; a run has at most so many at hand, and gives back what it has no
#: time for.
AT_ONCE = 500
#: Time for which delivered events are kept, for operators.
KEPT = dt.timedelta(days=90)
#: Old events that a run removes at once.
REMOVED_AT_ONCE = 1000
#: Characters of an error that are kept.
MAX_ERROR = 500


class UnknownEvent(BillingError):
    """No event of the outbox with the id {event_id} can be replayed or dropped."""


@dataclass(slots=True)
class Outgoing:
    """A claimed event; `sent_to`: the channels that took it; `error`: why one did not.

    `is_tried` is false if it was not sent because an earlier event could not be. `was_due_at` is
    its time before the claim, and `leased_until` marks the claim.
    """

    event: Event
    attempts: int
    was_due_at: dt.datetime
    leased_until: dt.datetime
    sent_to: set[str] = field(default_factory=set)
    error: str | None = None
    is_tried: bool = False
    is_dead: bool = False

    def kill(self, error: BillingError) -> None:
        """Let the event be dead at once: another try would only do harm."""
        self.is_tried = self.is_dead = True
        self.error = f"{error.name}: {error}"


# One claim at a time: a second one could skip a locked event and take the account's next one.
_ONE_CLAIM = "SELECT pg_try_advisory_xact_lock(hashtext('billing.outbox'))"
#: For each event of a claim, the events that are due that it looks at for their accounts.
LOOKS_AT = 4
_DUE = """
SELECT id, account_id FROM billing.outbox WHERE state = 'waiting' AND due_at <= %(now)s
ORDER BY due_at, id LIMIT %(limit)s
"""
# One row of each account, its first, by as many index probes as there are accounts.
_FIRST_OF_EACH = """
WITH RECURSIVE head AS (
    (SELECT account_id, id, due_at FROM billing.outbox WHERE state = 'waiting'
     AND account_id IS NOT NULL ORDER BY account_id, id LIMIT 1)
    UNION ALL
    SELECT later.* FROM head CROSS JOIN LATERAL (
        SELECT o.account_id, o.id, o.due_at FROM billing.outbox AS o WHERE o.state = 'waiting'
        AND o.account_id > head.account_id ORDER BY o.account_id, o.id LIMIT 1) AS later
)
(SELECT id, account_id FROM head WHERE due_at <= %(now)s LIMIT %(limit)s)
UNION ALL
(SELECT id, account_id FROM billing.outbox WHERE state = 'waiting' AND account_id IS NULL
 AND due_at <= %(now)s ORDER BY id LIMIT %(limit)s)
"""
# An account's waiting events from its first one on, up to one that is not due: it is leased, or
# waits for its next try. Wherever the limit cuts, none is taken without those before it.
_TAKE = """
WITH chosen AS (
    SELECT id FROM unnest(%(accounts)s::bigint[]) AS account (id_of) CROSS JOIN LATERAL (
        SELECT id, bool_or(due_at > %(now)s) OVER (ORDER BY id) AS must_wait FROM (
            SELECT id, due_at FROM billing.outbox
            WHERE state = 'waiting' AND account_id = account.id_of
            ORDER BY id LIMIT %(limit)s) AS first) AS event
    WHERE NOT must_wait
    UNION ALL SELECT unnest(%(without_account)s::bigint[])
    ORDER BY id LIMIT %(limit)s
), was AS (
    SELECT o.id, o.due_at FROM billing.outbox AS o JOIN chosen USING (id)
    WHERE o.state = 'waiting' AND o.due_at <= %(now)s FOR UPDATE OF o
)
UPDATE billing.outbox AS o SET due_at = %(leased_until)s FROM was WHERE o.id = was.id
RETURNING o.id, o.type, o.account_id, o.happened_at, o.payload, o.attempts, o.sent_to, was.due_at
"""


def claim(ctx: Context, *, limit: int = AT_ONCE) -> list[Outgoing]:
    """Claim events that are due, in order for each account; none while another process claims.

    The longest due come first. Where these wait for earlier ones of their accounts, every account
    is looked at, so that one with very many events hides no other.
    """
    if not ctx.session.execute(text(_ONE_CLAIM)).scalar():
        return []
    due = sql.rows(ctx.session, _DUE, {"now": ctx.now, "limit": limit * LOOKS_AT})
    rows = _take(ctx, due, limit=limit)
    rest = limit - len(rows)
    if len(due) == limit * LOOKS_AT and rest >= limit // 2:
        firsts = sql.rows(ctx.session, _FIRST_OF_EACH, {"now": ctx.now, "limit": rest})
        rows += _take(ctx, firsts, limit=rest)
    recipient_of = recipients.of(ctx.session, {row[2] for row in rows} - {None}) if rows else {}
    return [_outgoing(ctx, row, recipient_of) for row in sorted(rows)]


def _take(ctx: Context, due: Sequence[sql.Row], *, limit: int) -> list[sql.Row]:
    """Lease the events that may go now, of the accounts of these."""
    if not due:
        return []
    values = {
        "accounts": sql.numbers({account_id for _, account_id in due} - {None}),
        "without_account": sql.numbers([id for id, account_id in due if account_id is None]),
        "now": ctx.now,
        "limit": limit,
        "leased_until": ctx.now + LEASE,
    }
    return sql.rows(ctx.session, _TAKE, values)


def _outgoing(ctx: Context, row: sql.Row, recipient_of: Mapping[int, Recipient]) -> Outgoing:
    id, type, account_id, happened_at, payload, attempts, sent_to, was_due_at = row
    event = Event(
        id=id,
        type=type,
        account_id=account_id,
        happened_at=happened_at,
        recipient=recipient_of.get(account_id),
        data=payload,
    )
    return Outgoing(event, attempts, was_due_at, ctx.now + LEASE, set(sent_to))


# A claim whose lease ran out changes nothing but what was sent: another process has the event.
_RECORD = """
UPDATE billing.outbox AS o
SET state = new.state, due_at = new.due_at, attempts = new.attempts, error = new.error,
    sent_to = CAST(new.sent_to AS text[]), recipient = new.recipient,
    delivered_at = new.delivered_at
FROM unnest(%(id)s::bigint[], %(state)s::text[], %(due_at)s::timestamptz[], %(attempts)s::int[],
            %(error)s::text[], %(sent_to)s::text[], %(recipient)s::text[],
            %(delivered_at)s::timestamptz[], %(leased_until)s::timestamptz[])
    AS new (id, state, due_at, attempts, error, sent_to, recipient, delivered_at, leased_until)
WHERE o.id = new.id AND o.state = 'waiting'
  AND (o.due_at = new.leased_until OR new.state = 'delivered')
"""


def record(ctx: Context, claimed: Iterable[Outgoing]) -> None:
    """Record the outcome of claimed events, in one statement: delivered, due again, or dead.

    Events that were dropped meanwhile stay as they are.
    """
    rows = [_outcome(outgoing, ctx.now) for outgoing in sorted(claimed, key=lambda o: o.event.id)]
    columns = {name: sql.LITERALS[kind](row[name] for row in rows) for name, kind in _TYPES.items()}
    ctx.session.connection().exec_driver_sql(_RECORD, columns)


_TYPES = {
    "id": "bigint",
    "state": "text",
    "due_at": "timestamptz",
    "attempts": "int",
    "error": "text",
    "sent_to": "text",
    "recipient": "text",
    "delivered_at": "timestamptz",
    "leased_until": "timestamptz",
}


def _outcome(outgoing: Outgoing, now: dt.datetime) -> dict[str, Any]:
    recipient = outgoing.event.recipient
    attempts = outgoing.attempts + outgoing.is_tried
    row = {
        "id": outgoing.event.id,
        "state": "waiting",
        "due_at": outgoing.was_due_at,
        "attempts": attempts,
        "error": outgoing.error and outgoing.error[:MAX_ERROR],
        "sent_to": sql.texts(sorted(outgoing.sent_to)),
        "recipient": recipient.source if recipient else "no recipient",
        "delivered_at": None,
        "leased_until": outgoing.leased_until,
    }
    if not outgoing.is_tried:
        return row
    if outgoing.error is None:
        return row | {"state": "delivered", "delivered_at": now}
    if outgoing.is_dead or attempts > len(PAUSES):
        return row | {"state": "dead"}
    return row | {"due_at": now + PAUSES[attempts - 1]}


def remove_old(ctx: Context) -> int:
    """Remove events that were delivered long ago; returns the number of them."""
    old = select(OutboxEvent.id).where(
        OutboxEvent.state == "delivered", OutboxEvent.delivered_at < ctx.now - KEPT
    )
    old = old.order_by(OutboxEvent.delivered_at).limit(REMOVED_AT_ONCE)
    removed = delete(OutboxEvent).where(OutboxEvent.id.in_(old)).returning(OutboxEvent.id)
    return len(ctx.session.execute(removed).all())


def dead(session: Session, *, limit: int, event_type: str | None = None) -> Sequence[OutboxEvent]:
    """List dead events, oldest first; with `event_type` only those of this type."""
    rows = select(OutboxEvent).where(OutboxEvent.state == "dead").order_by(OutboxEvent.id)
    if event_type:
        rows = rows.where(OutboxEvent.type == event_type)
    return session.scalars(rows.limit(limit)).all()


def waiting(session: Session, *, limit: int) -> Sequence[OutboxEvent]:
    """List waiting events, oldest first."""
    rows = select(OutboxEvent).where(OutboxEvent.state == "waiting").order_by(OutboxEvent.id)
    return session.scalars(rows.limit(limit)).all()


def count(session: Session) -> tuple[int, dt.datetime | None, int]:
    """Count waiting and dead events; returns (waiting, time of the oldest, dead)."""
    waiting = select(func.count(), func.min(OutboxEvent.happened_at))
    number, oldest = session.execute(waiting.where(OutboxEvent.state == "waiting")).one()
    dead = select(func.count()).where(OutboxEvent.state == "dead")
    return number, oldest, session.execute(dead).scalar_one()


def replay(ctx: Context, event_id: int) -> None:
    """Send a dead or delivered event again, by every channel, with all its tries.

    It may then come after later events of its account. Raises UnknownEvent.
    """
    unsent = {
        "state": "waiting",
        "due_at": ctx.now,
        "attempts": 0,
        "sent_to": [],
        "delivered_at": None,
    }
    _close(ctx.session, event_id, {**unsent, "closed_by": ctx.actor}, states=("dead", "delivered"))


def drop(ctx: Context, event_id: int) -> None:
    """Drop a waiting or dead event, so that it is never sent. Raises UnknownEvent."""
    _close(
        ctx.session,
        event_id,
        {"state": "dropped", "closed_by": ctx.actor},
        states=("dead", "waiting"),
    )


def _close(
    session: Session, event_id: int, values: dict[str, object], *, states: tuple[str, ...]
) -> None:
    changed = session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.id == event_id, OutboxEvent.state.in_(states))
        .values(**values)
        .returning(OutboxEvent.id)
    ).first()
    if changed is None:
        raise UnknownEvent(event_id=event_id)
