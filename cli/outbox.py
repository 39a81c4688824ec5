"""`billing outbox`: the events for the main app that wait or are dead."""

import getpass
from collections.abc import Callable, Sequence

import click

from billing.context import Context
from billing.events import deliveries
from billing.events.deliveries import UnknownEvent
from cli.screen import console, json_option, show_json, table
from worker.database import transaction

#: Events that a list shows, or one replay takes, unless told otherwise.
AT_ONCE = 100

ids_argument = click.argument("ids", nargs=-1, type=int)
all_option = click.option("--all", "take_all", is_flag=True, help="Take every dead one.")
type_option = click.option("--type", "event_type", help="Only those of this type.")


@click.group()
def outbox() -> None:
    """List, replay or drop events for the main app."""


@outbox.command("list")
@click.option("--waiting", is_flag=True, help="Those that wait, instead of the dead ones.")
@type_option
@click.option("--limit", default=AT_ONCE, show_default=True)
@json_option
def list_events(waiting: bool, event_type: str | None, limit: int, as_json: bool) -> None:
    """List the dead ones, oldest first."""
    if waiting and event_type:
        raise click.UsageError("--type goes with the dead ones")
    with transaction() as ctx:
        if waiting:
            found = deliveries.waiting(ctx.session, limit=limit)
        else:
            found = deliveries.dead(ctx.session, limit=limit, event_type=event_type)
        number, _, died = deliveries.count(ctx.session)
    if as_json:
        show_json({"waiting": number, "dead": died, "events": found})
        return
    table(
        f"{number} events wait, {died} are dead",
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
            for e in found
        ],
    )


@outbox.command()
@ids_argument
@all_option
@type_option
@json_option
def replay(ids: Sequence[int], take_all: bool, event_type: str | None, as_json: bool) -> None:
    """Send dead events, or delivered ones by id, once more; they may come out of order."""

    def act(ctx: Context, event_id: int) -> None:
        deliveries.replay(ctx.by(_who()), event_id)

    _each(ids, take_all, event_type, act, word="replayed", as_json=as_json)


@outbox.command()
@ids_argument
@all_option
@type_option
@json_option
def drop(ids: Sequence[int], take_all: bool, event_type: str | None, as_json: bool) -> None:
    """Never send dead events, or waiting ones by id; the rows stay."""

    def act(ctx: Context, event_id: int) -> None:
        deliveries.drop(ctx.by(_who()), event_id)

    _each(ids, take_all, event_type, act, word="dropped", as_json=as_json)


def _each(
    ids: Sequence[int],
    take_all: bool,
    event_type: str | None,
    act: Callable[[Context, int], None],
    *,
    word: str,
    as_json: bool,
) -> None:
    if bool(ids) == take_all:
        raise click.UsageError("name events by id, or say --all")
    if event_type and not take_all:
        raise click.UsageError("--type goes with --all")
    with transaction() as ctx:
        chosen = list(ids)
        if take_all:
            found = deliveries.dead(ctx.session, limit=10**6, event_type=event_type)
            chosen = [event.id for event in found]
        for event_id in chosen:
            try:
                act(ctx, event_id)
            except UnknownEvent:
                raise click.ClickException(f"no event {event_id} may be {word}") from None
    if as_json:
        show_json({"state": word, "ids": chosen})
    else:
        console.print(f"{len(chosen)} {word}: {', '.join(map(str, chosen)) or 'none'}")


def _who() -> str:
    return f"operator:{getpass.getuser()}"
