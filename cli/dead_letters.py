"""`billing dead-letters`: list, replay or drop messages that could not be handled."""

from collections.abc import Sequence
from typing import Any

import click

from billing.errors import BillingError
from billing.operations import dead_letters as dead_letters_table
from billing.operations.dead_letters import UnknownDeadLetter
from billing.printable import printable
from billing_client.client import QUIET, SENT_AT
from cli.screen import (
    console,
    dry_run_option,
    in_json,
    json_option,
    limit_option,
    operator,
    options,
    show_list,
)
from cli.topic import Topic
from models.operations import DeadLetter
from worker import clock
from worker import dead_letters as worker_dead_letters
from worker.app import app
from worker.database import transaction
from worker.transport import queues

task_option = click.option("--task", help="Only dead letters of this task.")
choice_options = options(
    click.argument("ids", nargs=-1, type=int),
    click.option("--all", "take_all", is_flag=True, help="Take all open dead letters."),
    task_option,
    dry_run_option(),
    json_option,
)


class NotReplayable(BillingError):
    """Dead letter {id} is not a message for one of our queues. Drop it and send a correct one."""


@click.group("dead-letters", cls=Topic)
def dead_letters() -> None:
    """List, replay or drop messages that could not be handled."""


@dead_letters.command("list")
@task_option
@limit_option("The most to list.")
@json_option
def list_open(task: str | None, limit: int) -> None:
    """List the open dead letters, oldest first."""
    app.loader.import_default_modules()
    worker_dead_letters.collect(app.tasks)
    with transaction() as ctx:
        rows = dead_letters_table.list_open(ctx.session, limit=limit, task=task)
        total = dead_letters_table.count_open(ctx.session)
    show_list(
        {"open": total, "letters": rows},
        f"{total} open dead letters",
        "id, last at: last_at, task, error, reason, tries: attempts, arguments",
        rows,
        {"arguments": lambda row: repr(row.arguments if row.raw is None else row.raw)[:200]},
    )


@dead_letters.command()
@choice_options
def replay(**choice: Any) -> None:
    """Send messages again, unchanged. Their keys keep a replay from counting twice."""
    _close(state="replayed", **choice)


@dead_letters.command()
@choice_options
def drop(**choice: Any) -> None:
    """Close dead letters without sending them; the rows stay."""
    _close(state="dropped", **choice)


def _close(
    *, state: str, ids: Sequence[int], take_all: bool, task: str | None, dry_run: bool
) -> None:
    if bool(ids) == take_all:
        raise click.UsageError("Give ids of dead letters, or --all.")
    if task and not take_all:
        raise click.UsageError("Use --task together with --all.")
    chosen_ids = list(ids)
    if take_all:
        with transaction() as ctx:
            rows = dead_letters_table.list_open(ctx.session, limit=10**6, task=task)
        chosen_ids = [row.id for row in rows]
    failures = {} if dry_run else _close_all(chosen_ids, state)
    closed_ids = [id for id in chosen_ids if id not in failures]
    verb = f"would be {state}" if dry_run else state
    if not in_json({"state": state, "dry_run": dry_run, "ids": closed_ids, "left": failures}):
        console.print(f"{len(closed_ids)} {verb}: {', '.join(map(str, closed_ids)) or 'none'}")
        for sentence in failures.values():
            click.echo(printable(f"Error: {sentence}"), err=True)
    if failures:
        raise SystemExit(1)


def _close_all(ids: Sequence[int], state: str) -> dict[int, str]:
    """Close dead letters one by one; return the reason of each that failed."""
    failures = {}
    for dead_letter_id in ids:
        try:
            _close_one(dead_letter_id, state)
        except (UnknownDeadLetter, NotReplayable) as error:
            failures[dead_letter_id] = str(error)
    return failures


def _close_one(dead_letter_id: int, state: str) -> None:
    """Close, send, commit. After a crash in between it stays open; a second replay is harmless.

    Raises UnknownDeadLetter or NotReplayable.
    """
    with transaction(actor=operator()) as ctx:
        dead_letter = dead_letters_table.close(ctx, dead_letter_id, state=state)
        if state == "replayed":
            _send(dead_letter)


def _send(dead_letter: DeadLetter) -> None:
    import celeryconfig  # reads the settings, which `--help` does not need

    if dead_letter.raw is not None:
        if dead_letter.queue not in celeryconfig.QUEUES:
            raise NotReplayable(id=dead_letter.id)
        queues.connection().lpush(dead_letter.queue, dead_letter.raw)
        return
    assert dead_letter.task is not None, "a dead letter without raw bytes names its task"
    app.send_task(
        dead_letter.task,
        kwargs=dead_letter.arguments or {},
        task_id=dead_letter.message_id,
        headers={SENT_AT: clock.now().isoformat()},
        **QUIET,
        **({"queue": dead_letter.queue} if dead_letter.queue else {}),
    )
