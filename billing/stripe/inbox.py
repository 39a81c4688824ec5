"""The inbox of Stripe's events: store, claim, and the only place that finishes one.

The states are received → applied, ignored, parked or failed, and `refused` for a body that is no
event. An event is a committed row before anything follows from it. An unfinished one is taken up
again.
"""

import datetime as dt
import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import AccountDeleted, BillingError, Rejected
from billing.stripe.errors import NoneOfOurs, Waits
from billing.stripe.events import Event
from models.stripe import StripeEvent

#: An event whose worker died is taken up again after this.
TAKEN_UP_AGAIN = dt.timedelta(seconds=30)
#: The pauses before a failed or parked event is tried again: doubled from the first to the longest.
FIRST_PAUSE, LONGEST_PAUSE = dt.timedelta(seconds=30), dt.timedelta(hours=6)
#: After so many attempts a failed event waits for an operator; after so long a parked one gives up.
MAX_ATTEMPTS = 10
PARKED_FOR = dt.timedelta(days=30)
#: The part of a refused body that is kept: enough to recognise it, too little to fill a disk.
KEPT_OF_REFUSED = 2048

#: The state of a stored event that nothing has followed from yet.
WAITING = "received"
#: States from which an event is taken up.
OPEN = (WAITING, "parked", "failed")
#: Errors that end once something becomes known; waiting does not mend the others.
PARKS = (Waits, AccountDeleted)


class Received(NamedTuple):
    """An event, and the time at which the relay had it."""

    event: Event
    received_at: dt.datetime


class OpenEvent(NamedTuple):
    """A row of the inbox that this transaction has locked. `event`: its payload, if parsed."""

    id: int
    payload: dict[str, Any]
    attempts: int
    recorded_at: dt.datetime
    event: Event | None = None


class Applied(NamedTuple):
    """The result of an event that was applied: its account, and what it did.

    `error`: the reason why a part of it, such as a line of an invoice, was not applied.
    """

    account_id: int | None
    facts: dict[str, object]
    error: Rejected | None = None


class Retry(NamedTuple):
    """The result of an event that met a bug, or that Stripe could not be asked about."""

    error: Exception


Result = Applied | Rejected | Retry
#: State, reason, facts, and the time at which the event is due again.
Verdict = tuple[str, str | None, dict[str, object] | None, dt.datetime | None]


class Outcome(NamedTuple):
    """The state of an event's row, and the reason for it."""

    number: int | None
    state: str
    reason: str | None = None


@dataclass(slots=True)
class Handling:
    """Events in hand: the results noted by their ids, and in the end the outcomes."""

    events: Sequence[OpenEvent]
    results: dict[int, Result] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)


@contextmanager
def handle(ctx: Context, events: Sequence[OpenEvent]) -> Iterator[Handling]:
    """Finish, park or fail events by the results that the body notes.

    An event without a result stays as it is and is taken up again. If the body raises a Rejected,
    a batch of one is undone and gets that error as its result. A larger batch raises it: one event
    broke it, and its events are to be applied one by one.
    """
    handling = Handling(events)
    savepoint = ctx.session.begin_nested() if len(events) == 1 else None
    try:
        yield handling
    except Rejected as error:
        if savepoint is None:
            raise
        savepoint.rollback()
        handling.results[events[0].id] = error
    else:
        if savepoint is not None:
            savepoint.commit()
    by_id = {event.id: event for event in events}
    rows = [_row(by_id[id_], result, ctx.now) for id_, result in handling.results.items()]
    _write(ctx.session, rows)
    handling.outcomes |= {
        row["id"]: Outcome(row["id"], row["state"], row["reason"]) for row in rows
    }


def _row(event: OpenEvent, result: Result, now: dt.datetime) -> dict[str, Any]:
    """The row of an event that has this result."""
    state, reason, facts, due_at = _verdict(event, result, now)
    is_finished = state in {"applied", "ignored"}
    return {
        "id": event.id,
        "state": state,
        "reason": reason,
        "facts": facts,
        "attempts": event.attempts + 1,
        "due_at": due_at.isoformat() if due_at else None,
        "finished_at": now.isoformat() if is_finished else None,
        "account_id": result.account_id if isinstance(result, Applied) else None,
    }


def _verdict(event: OpenEvent, result: Result, now: dt.datetime) -> Verdict:
    attempts = event.attempts + 1
    if isinstance(result, Applied):
        if result.error is None:
            return "applied", None, result.facts, None
        result = result.error
    if isinstance(result, Retry):
        facts = result.error.facts if isinstance(result.error, BillingError) else None
        due_at = now + _pause(attempts) if attempts < MAX_ATTEMPTS else None
        return "failed", type(result.error).__name__, facts, due_at
    if isinstance(result, NoneOfOurs):
        return "ignored", result.name, result.facts or None, None
    if not isinstance(result, PARKS):
        return "failed", result.name, result.facts, None
    if now - event.recorded_at > PARKED_FOR:
        return "ignored", "NeverLinked", result.facts, None
    return "parked", result.name, result.facts, now + _pause(attempts)


def _pause(attempts: int) -> dt.timedelta:
    doubled = FIRST_PAUSE * int(2 ** min(attempts - 1, 20))
    return min(doubled, LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


_WRITE = """
UPDATE billing.stripe_events AS e
SET state = new.state, reason = new.reason, facts = new.facts, attempts = new.attempts,
    due_at = new.due_at, finished_at = new.finished_at,
    account_id = COALESCE(new.account_id, e.account_id)
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS new (id bigint, state text, reason text, facts jsonb, attempts int, due_at timestamptz,
            finished_at timestamptz, account_id bigint)
WHERE e.id = new.id
"""


def _write(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        session.connection().exec_driver_sql(_WRITE, {"rows": json.dumps(rows)})


_CLAIM = """
SELECT id, payload, attempts, recorded_at FROM billing.stripe_events
WHERE id = ANY(%(numbers)s::bigint[]) AND state = ANY(%(states)s::text[])
ORDER BY id FOR UPDATE SKIP LOCKED
"""


def claim(session: Session, numbers: Iterable[int]) -> list[OpenEvent]:
    """Lock those of these events that are open and that no other worker has."""
    values = {"numbers": list(numbers), "states": list(OPEN)}
    rows = session.connection().exec_driver_sql(_CLAIM, values)
    return [OpenEvent(*row) for row in rows]


# In the order of the key: two batches with the same events then wait for one another, and never
# each for the other.
_STORE = """
INSERT INTO billing.stripe_events
    (event_id, digest, source, type, object_id, customer, payload, deliveries, state, happened_at,
     received_at, recorded_at, due_at)
SELECT event_id, digest, %(source)s, type, object_id, customer, payload, deliveries, 'received',
       happened_at, received_at, %(now)s, %(due_at)s
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS new (event_id text, digest bytea, type text, object_id text, customer text, payload jsonb,
            deliveries int, happened_at timestamptz, received_at timestamptz)
ORDER BY event_id, digest
ON CONFLICT (event_id, digest) DO UPDATE
SET deliveries = stripe_events.deliveries + excluded.deliveries
RETURNING id, event_id, digest, deliveries
"""


def store_all(ctx: Context, received: Sequence[Received], *, source: str) -> list[OpenEvent | None]:
    """Store events; for each its row, or None if the inbox had it already.

    An event that comes twice in the batch has its row at the first; every delivery is counted.
    `source`: webhook, gap_fill or replay.
    """
    if not received:
        return []
    keys = [(item.event.id, item.event.digest()) for item in received]
    counts = Counter(keys)
    first = dict(zip(reversed(keys), reversed(received), strict=True))
    rows = [
        {
            **item.event.row(),
            "digest": f"\\x{key[1].hex()}",
            "deliveries": counts[key],
            "received_at": item.received_at.isoformat(),
        }
        for key, item in first.items()
    ]
    due_at = ctx.now + TAKEN_UP_AGAIN
    stored = ctx.session.connection().exec_driver_sql(
        _STORE, {"rows": json.dumps(rows), "source": source, "now": ctx.now, "due_at": due_at}
    )
    new: dict[tuple[str, bytes], OpenEvent] = {}
    for number, event_id, digest, deliveries in stored.all():
        key = event_id, bytes(digest)
        if deliveries == counts[key]:
            event = first[key].event
            new[key] = OpenEvent(number, event.payload, 0, ctx.now, event)
    return [new.pop(key, None) for key in keys]


def store(ctx: Context, event: Event, *, source: str, received_at: dt.datetime) -> int | None:
    """Store one event; return its number, or None if the inbox had it already."""
    (row,) = store_all(ctx, [Received(event, received_at)], source=source)
    return None if row is None else row.id


def refuse(
    ctx: Context, body: bytes, error: Rejected, *, source: str, received_at: dt.datetime
) -> int:
    """Keep the beginning of a body that is no event, and the reason; return its number."""
    digest = hashlib.sha256(body).digest()[:16]
    new = insert(StripeEvent).values(
        event_id=f"body:{digest.hex()}",
        digest=digest,
        source=source,
        raw=body[:KEPT_OF_REFUSED],
        state="refused",
        reason=error.name,
        facts={**error.facts, "bytes": len(body)},
        received_at=received_at,
        recorded_at=ctx.now,
        finished_at=ctx.now,
    )
    return ctx.session.execute(
        new.on_conflict_do_update(
            index_elements=[StripeEvent.event_id, StripeEvent.digest],
            set_={
                "deliveries": StripeEvent.deliveries + 1,
                "reason": new.excluded.reason,
                "facts": new.excluded.facts,
                "received_at": new.excluded.received_at,
            },
        ).returning(StripeEvent.id)
    ).scalar_one()


_WAKE = """
UPDATE billing.stripe_events SET due_at = %(now)s
WHERE id IN (SELECT id FROM billing.stripe_events
             WHERE state = 'parked' AND (object_id = ANY(%(objects)s::text[])
                                         OR customer = ANY(%(customers)s::text[])
                                         OR reason = %(reason)s)
             FOR UPDATE SKIP LOCKED)
"""


_REOPEN_FOREIGN = """
UPDATE billing.stripe_events SET state = 'received', due_at = %(now)s, finished_at = NULL
WHERE id IN (SELECT id FROM billing.stripe_events
             WHERE state = 'ignored' AND reason = 'ForeignProduct' AND payload IS NOT NULL
               AND object_id = ANY(%(objects)s::text[])
             FOR UPDATE SKIP LOCKED)
"""


def reopen_foreign(ctx: Context, object_ids: Iterable[str]) -> int:
    """Reopen the events of these objects that were ignored as foreign; return how many."""
    values = {"objects": list(object_ids), "now": ctx.now}
    return ctx.session.connection().exec_driver_sql(_REOPEN_FOREIGN, values).rowcount


def wake(
    ctx: Context,
    *,
    customers: Iterable[str] = (),
    object_ids: Iterable[str] = (),
    reason: str | None = None,
) -> int:
    """Make parked events due: of these customers or objects, or parked for this reason.

    Returns how many.
    """
    values = {"objects": list(object_ids), "customers": list(customers), "reason": reason}
    woken = ctx.session.connection().exec_driver_sql(_WAKE, {**values, "now": ctx.now})
    return woken.rowcount
