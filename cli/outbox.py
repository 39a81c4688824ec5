"""`billing outbox`: events for the main app that wait or are dead."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from billing.context import Context
from billing.events import deliveries
from cli.screen import console, in_json, json_option, limit_option, operator, options, show_list
from cli.topic import Topic
from worker.database import transaction

type_option = click.option("--type", "event_type", help="Only events of this type.")
choice_options = options(
    click.argument("ids", nargs=-1, type=int),
    click.option("--all", "take_all", is_flag=True, help="Take all dead events."),
    type_option,
    json_option,
)


@click.group(cls=Topic)
def outbox() -> None:
    """List, replay or drop events for the main app."""


@outbox.command("list")
@click.option("--waiting", is_flag=True, help="List waiting events instead of dead ones.")
@type_option
@limit_option("The most events to list.")
@json_option
def list_events(waiting: bool, event_type: str | None, limit: int) -> None:
    """List dead events, oldest first."""
    if waiting and event_type:
        raise click.UsageError("--type lists dead events only.")
    with transaction() as ctx:
        if waiting:
            events = deliveries.waiting(ctx.session, limit=limit)
        else:
            events = deliveries.dead(ctx.session, limit=limit, event_type=event_type)
        waiting_count, _, dead_count = deliveries.count(ctx.session)
    show_list(
        {"waiting": waiting_count, "dead": dead_count, "events": events},
        f"{waiting_count} events wait, {dead_count} are dead",
        "id, happened: happened_at, type, account: account_id, tries: attempts, next: due_at"
        ", sent to: sent_to, error",
        events,
    )


@outbox.command()
@choice_options
def replay(**choice: Any) -> None:
    """Send dead events, or delivered ones by id, again. They may arrive out of order."""
    _apply(deliveries.replay, state="replayed", **choice)


@outbox.command()
@choice_options
def drop(**choice: Any) -> None:
    """Drop dead events, or waiting ones by id: they are never sent. The rows stay."""
    _apply(deliveries.drop, state="dropped", **choice)


def _apply(
    act: Callable[[Context, int], None],
    *,
    state: str,
    ids: Sequence[int],
    take_all: bool,
    event_type: str | None,
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
    if not in_json({"state": state, "ids": event_ids}):
        console.print(f"{len(event_ids)} {state}: {', '.join(map(str, event_ids)) or 'none'}")
