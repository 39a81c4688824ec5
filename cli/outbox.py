"""`billing outbox`: events for the main app that wait or are dead."""

from collections.abc import Callable, Sequence

import click

from billing.context import Context
from billing.events import deliveries
from cli.screen import console, json_option, operator, show_json, table
from cli.topic import Topic
from worker.database import transaction

#: The default limit of a list.
AT_ONCE = 100

ids_argument = click.argument("ids", nargs=-1, type=int)
all_option = click.option("--all", "take_all", is_flag=True, help="Take all dead events.")
type_option = click.option("--type", "event_type", help="Only events of this type.")


@click.group(cls=Topic)
def outbox() -> None:
    """List, replay or drop events for the main app."""


@outbox.command("list")
@click.option("--waiting", is_flag=True, help="List waiting events instead of dead ones.")
@type_option
@click.option("--limit", default=AT_ONCE, show_default=True, help="The most events to list.")
@json_option
def list_events(waiting: bool, event_type: str | None, limit: int, as_json: bool) -> None:
    """List dead events, oldest first."""
    if waiting and event_type:
        raise click.UsageError("--type lists dead events only.")
    with transaction() as ctx:
        if waiting:
            events = deliveries.waiting(ctx.session, limit=limit)
        else:
            events = deliveries.dead(ctx.session, limit=limit, event_type=event_type)
        waiting_count, _, dead_count = deliveries.count(ctx.session)
    if as_json:
        show_json({"waiting": waiting_count, "dead": dead_count, "events": events})
        return
    table(
        f"{waiting_count} events wait, {dead_count} are dead",
        ("id", "happened", "type", "account", "tries", "next", "sent to", "error"),
        [
            (
                e.id,
                e.happened_at,
                e.type,
                e.account_id,
                e.attempts,
                e.due_at,
                ", ".join(e.sent_to),
                e.error,
            )
            for e in events
        ],
    )


@outbox.command()
@ids_argument
@all_option
@type_option
@json_option
def replay(ids: Sequence[int], take_all: bool, event_type: str | None, as_json: bool) -> None:
    """Send dead events, or delivered ones by id, again. They may arrive out of order."""
    _apply(ids, take_all, event_type, deliveries.replay, state="replayed", as_json=as_json)


@outbox.command()
@ids_argument
@all_option
@type_option
@json_option
def drop(ids: Sequence[int], take_all: bool, event_type: str | None, as_json: bool) -> None:
    """Drop dead events, or waiting ones by id: they are never sent. The rows stay."""
    _apply(ids, take_all, event_type, deliveries.drop, state="dropped", as_json=as_json)


def _apply(
    ids: Sequence[int],
    take_all: bool,
    event_type: str | None,
    act: Callable[[Context, int], None],
    *,
    state: str,
    as_json: bool,
) -> None:
    if bool(ids) == take_all:
        raise click.UsageError("Give ids of events, or --all.")
    if event_type and not take_all:
        raise click.UsageError("Use --type together with --all.")
    with transaction(actor=operator()) as ctx:
        event_ids = list(ids)
        if take_all:
            events = deliveries.dead(ctx.session, limit=10**6, event_type=event_type)
            event_ids = [event.id for event in events]
        for event_id in event_ids:
            act(ctx, event_id)
    if as_json:
        show_json({"state": state, "ids": event_ids})
    else:
        console.print(f"{len(event_ids)} {state}: {', '.join(map(str, event_ids)) or 'none'}")
