"""What comes is a row of the inbox before anything follows from it: an event, or what is none."""

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy.dialects.postgresql import insert

from billing.context import Context
from billing.errors import Rejected
from billing.postgres import arrays
from billing.stripe.events import Event
from billing.stripe.inbox import TAKEN_UP_AGAIN
from models.stripe import StripeEvent

#: Of a body that was refused so much is kept: enough to see what it was, too little to fill a disk.
KEPT_OF_REFUSED = 2048


class Arrived(NamedTuple):
    """An event, and when the relay had it."""

    event: Event
    received_at: dt.datetime


# In the order of the key, so that two sets with the same events wait for one another, and never
# each for the other.
_KEEP = """
INSERT INTO billing.stripe_events
    (event_id, digest, source, type, object_id, customer, payload, deliveries, state, happened_at,
     received_at, recorded_at, due_at)
SELECT event_id, digest, %(source)s, type, object_id, customer, payload, deliveries, 'received',
       happened_at, received_at, %(now)s, %(due_at)s
FROM ROWS FROM (
    unnest(%(event_ids)s::text[], %(digests)s::bytea[], %(types)s::text[], %(object_ids)s::text[],
           %(customers)s::text[], %(deliveries)s::int[], %(happened_at)s::timestamptz[],
           %(received_at)s::timestamptz[]),
    jsonb_array_elements(%(payloads)s::jsonb))
    AS new (event_id, digest, type, object_id, customer, deliveries, happened_at, received_at,
            payload)
ORDER BY event_id, digest
ON CONFLICT (event_id, digest) DO UPDATE
SET deliveries = stripe_events.deliveries + excluded.deliveries
RETURNING id, event_id, digest, deliveries
"""


def keep_all(ctx: Context, arrived: Sequence[Arrived], *, source: str) -> list[StripeEvent | None]:
    """Keep these events; for each its row, or None if it was there already.

    An event that comes more than once in the set has its row at the first; each delivery counts.
    The rows are of no session: `billing.stripe.inbox.write_all` writes what became of them.
    `source`: webhook, gap_fill or replay.
    """
    if not arrived:
        return []
    keys = [(each.event.id, each.event.digest()) for each in arrived]
    counts = Counter(keys)
    first = dict(zip(reversed(keys), reversed(arrived), strict=True))
    events = [each.event for each in first.values()]
    rows = ctx.session.connection().exec_driver_sql(
        _KEEP,
        {
            "event_ids": arrays.texts([event.id for event in events]),
            "digests": arrays.binaries([digest for _, digest in first]),
            "types": arrays.texts([event.type for event in events]),
            "object_ids": arrays.texts([event.kept_object_id for event in events]),
            "customers": arrays.texts([event.kept_customer for event in events]),
            "deliveries": arrays.numbers([counts[key] for key in first]),
            "happened_at": arrays.moments([event.happened_at for event in events]),
            "received_at": arrays.moments([each.received_at for each in first.values()]),
            "payloads": json.dumps([event.payload for event in events]),
            "source": source,
            "now": ctx.now,
            "due_at": ctx.now + TAKEN_UP_AGAIN,
        },
    )
    new: dict[tuple[str, bytes], StripeEvent] = {}
    for number, event_id, digest, deliveries in rows.all():
        key = event_id, bytes(digest)
        if deliveries == counts[key]:
            payload = first[key].event.payload
            new[key] = StripeEvent(
                id=number, payload=payload, state="received", attempts=0, recorded_at=ctx.now
            )
    return [new.pop(key, None) for key in keys]


def keep(ctx: Context, event: Event, *, source: str, received_at: dt.datetime) -> int | None:
    """Keep one event, as `keep_all`; its number, or None if it was there already."""
    (row,) = keep_all(ctx, [Arrived(event, received_at)], source=source)
    return None if row is None else row.id


def refuse(
    ctx: Context, body: bytes, error: Rejected, *, source: str, received_at: dt.datetime
) -> int:
    """Keep the beginning of a body that is no event of ours, and why; returns its number."""
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
