"""Apply events of the inbox: read each event's object, and sync it.

An event is a hint that an object changed. With an API key its current state was fetched, and is
newer than any event; without one the event's own object serves, guarded by its version.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import ProcessKilled, Rejected
from billing.stripe import events, inbox, object_rows, sync
from billing.stripe.errors import (
    NeedsApiKey,
    StripeKnowsNone,
    UnhandledType,
    UnknownPrice,
)
from billing.stripe.events import Guard
from billing.stripe.fields import JSON
from billing.stripe.inbox import WAITING, Handling, OpenEvent, Outcome, Retry
from billing.stripe.kinds import KINDS
from billing.stripe.object_rows import State
from billing.stripe.objects.base import Facts
from billing.stripe.objects.price import CatalogPrice


@dataclass(frozen=True, slots=True)
class Fetched:
    """Stripe's answer at `at`: the event's object (None: unknown there), and prices it names."""

    object: JSON | None
    prices: Sequence[JSON]
    at: dt.datetime


#: Stripe's answer for an event. None: there was nothing to ask. An error: Stripe can't be asked.
Answer = Fetched | Exception | None


def apply_rows(
    ctx: Context, rows: Sequence[OpenEvent], *, guard: Guard, answers: Mapping[int, Answer]
) -> dict[int, Outcome]:
    """Apply events in this transaction. An event that needs a batch of its own stays `WAITING`."""
    with inbox.handle(ctx, rows) as handling:
        apply(ctx, handling, guard=guard, answers=answers)
    return {row.id: Outcome(row.id, WAITING) for row in rows} | handling.outcomes


def apply(ctx: Context, handling: Handling, *, guard: Guard, answers: Mapping[int, Answer]) -> None:
    """Apply the events in hand, and note the result of each.

    An event without a result needs a batch of its own. Raises as `sync` does.
    """
    states: dict[int, State] = {}
    for event in handling.events:
        answer = answers.get(event.id)
        if isinstance(answer, ProcessKilled):
            handling.results[event.id] = answer
        elif isinstance(answer, Exception):
            handling.results[event.id] = Retry(answer)
        elif not (answer and answer.prices) or len(handling.events) == 1:
            try:
                states[event.id] = _state_of(ctx, event, guard=guard, fetched=answer)
            except Rejected as error:
                handling.results[event.id] = error
    results = sync.sync(ctx, list(states.values())) if states else []
    for event_id, result in zip(states, results, strict=True):
        if result is not None:
            handling.results[event_id] = result


def _state_of(ctx: Context, row: OpenEvent, *, guard: Guard, fetched: Fetched | None) -> State:
    """The state of the event's object.

    Raises UnhandledType, LivemodeMismatch, ForeignAccount, NeedsApiKey, StripeKnowsNone or
    BadObject.
    """
    event = row.event or events.of_payload(row.payload, is_stored=True)
    kind = event.kind
    if kind is None:
        raise UnhandledType
    guard.check(event)
    if fetched is None:
        if event.is_thin:
            raise NeedsApiKey(object=event.object_id)
        return State(kind.parse(event.newest), event.happened_at)
    if fetched.object is None:
        if not event.is_deletion:
            raise StripeKnowsNone(object=event.object_id)
        if not event.is_thin:
            return State(kind.parse(event.newest), fetched.at)
    return State(current_facts(ctx, kind, event.object_id, fetched), fetched.at)


def current_facts(ctx: Context, kind: type[Facts], object_id: str, fetched: Fetched) -> Facts:
    """The facts of a fetched object; of one that Stripe deleted, the known facts as deleted.

    Stores the prices that were fetched with it. Raises StripeKnowsNone or a BadObject.
    """
    if fetched.prices:
        prices = [State(CatalogPrice.parse(price), fetched.at) for price in fetched.prices]
        if any(object_rows.store_all(ctx, prices)):
            inbox.wake(ctx, reason=UnknownPrice.__name__)
    if fetched.object is not None:
        return kind.parse(fetched.object)
    return _gone(ctx.session, kind, object_id)


def _gone(session: Session, kind: type[Facts], object_id: str) -> Facts:
    newest = object_rows.read(session, object_id)
    gone = newest.gone() if newest is not None and type(newest) is kind else None
    if gone is None:
        raise StripeKnowsNone(object=object_id)
    return gone


def facts_of(kind: str, source: JSON) -> Facts:
    """Parse an object of the kind with this name. Raises BadObject and its subclasses."""
    return KINDS[kind].parse(source)
