"""`billing dead-letters`: what could not be handled, and what a person does about it."""

import getpass
from collections.abc import Sequence

import click

from billing.operations import dead_letters as letters_act
from billing.operations.dead_letters import UnknownDeadLetter
from billing_client.client import HIDDEN, SENT_AT
from cli.screen import console, json_option, show_json, table
from models.operations import DeadLetter
from worker import clock
from worker import dead_letters as letters
from worker.app import app
from worker.database import transaction
from worker.transport import queues

#: Letters that a list shows, or one replay takes, unless told otherwise.
AT_ONCE = 100

ids_argument = click.argument("ids", nargs=-1, type=int)
all_option = click.option("--all", "take_all", is_flag=True, help="Take every open one.")
task_option = click.option("--task", help="Only those of this task.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would happen; do nothing.")


class NoMessageOfOurs(Exception):
    """A letter that no queue could take again."""

    def __init__(self, letter_id: int) -> None:
        super().__init__(letter_id)
        self.letter_id = letter_id

    def __str__(self) -> str:
        """For the operator."""
        return (
            f"dead letter {self.letter_id} is no message for a queue of ours:"
            " drop it, send a good one"
        )


@click.group("dead-letters")
def dead_letters() -> None:
    """List, replay or drop messages that could not be handled."""


@dead_letters.command("list")
@task_option
@click.option("--limit", default=AT_ONCE, show_default=True)
@json_option
def list_letters(task: str | None, limit: int, as_json: bool) -> None:
    """List the open ones, oldest first."""
    letters.collect(_known_tasks())
    with transaction() as ctx:
        found = letters_act.list_open(ctx.session, limit=limit, task=task)
        total = letters_act.count_open(ctx.session)
    if as_json:
        show_json({"open": total, "letters": found})
        return
    table(
        f"{total} open dead letters",
        ("id", "last at", "task", "error", "reason", "tries", "arguments"),
        [(d.id, d.last_at, d.task, d.error, d.reason, d.attempts, _contents(d)) for d in found],
    )


@dead_letters.command()
@ids_argument
@all_option
@task_option
@dry_run_option
@json_option
def replay(
    ids: Sequence[int], take_all: bool, task: str | None, dry_run: bool, as_json: bool
) -> None:
    """Send messages again, as they were. A key keeps a replay from counting twice."""
    _close(ids, take_all, task, state="replayed", dry_run=dry_run, as_json=as_json)


@dead_letters.command()
@ids_argument
@all_option
@task_option
@dry_run_option
@json_option
def drop(
    ids: Sequence[int], take_all: bool, task: str | None, dry_run: bool, as_json: bool
) -> None:
    """Take messages off the list without handling them; the rows stay."""
    _close(ids, take_all, task, state="dropped", dry_run=dry_run, as_json=as_json)


def _close(
    ids: Sequence[int],
    take_all: bool,
    task: str | None,
    *,
    state: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    if bool(ids) == take_all:
        raise click.UsageError("name dead letters by id, or say --all")
    if task and not take_all:
        raise click.UsageError("--task goes with --all")
    chosen = list(ids)
    if take_all:
        with transaction() as ctx:
            found = letters_act.list_open(ctx.session, limit=10**6, task=task)
        chosen = [letter.id for letter in found]
    left = {} if dry_run else _close_each(chosen, state)
    done = [letter_id for letter_id in chosen if letter_id not in left]
    word = f"would be {state}" if dry_run else state
    if as_json:
        show_json({"state": state, "dry_run": dry_run, "ids": done, "left": left})
    else:
        console.print(f"{len(done)} {word}: {', '.join(map(str, done)) or 'none'}")
        for why in left.values():
            click.echo(f"Error: {why}", err=True)
    if left:
        raise SystemExit(1)


def _close_each(ids: Sequence[int], state: str) -> dict[int, str]:
    """Close those that can be; returns why the others can't: one bad letter holds up no other."""
    left = {}
    for letter_id in ids:
        try:
            _close_one(letter_id, state)
        except UnknownDeadLetter:
            left[letter_id] = f"no open dead letter has the id {letter_id}"
        except NoMessageOfOurs as error:
            left[letter_id] = str(error)
    return left


def _close_one(letter_id: int, state: str) -> None:
    """Close, send, commit: a crash in between leaves it open, and a second replay is harmless.

    Raises UnknownDeadLetter or NoMessageOfOurs.
    """
    with transaction() as ctx:
        letter = letters_act.close(ctx.by(f"operator:{getpass.getuser()}"), letter_id, state=state)
        if state == "replayed":
            _send(letter)


def _send(letter: DeadLetter) -> None:
    import celeryconfig  # reads the settings, which `--help` has no need of

    if letter.raw is not None:
        if letter.queue not in celeryconfig.QUEUES:
            raise NoMessageOfOurs(letter.id)
        queues.connection().lpush(letter.queue, letter.raw)
        return
    assert letter.task is not None, "a letter without bytes names its task"
    app.send_task(
        letter.task,
        kwargs=letter.arguments or {},
        task_id=letter.message_id,
        ignore_result=True,
        headers={SENT_AT: clock.now().isoformat()},
        argsrepr=HIDDEN,
        kwargsrepr=HIDDEN,
        **({"queue": letter.queue} if letter.queue else {}),
    )


def _known_tasks() -> set[str]:
    app.loader.import_default_modules()
    return set(app.tasks)


def _contents(letter: DeadLetter) -> str:
    shown = letter.raw if letter.raw is not None else letter.arguments
    return repr(shown)[:200]
