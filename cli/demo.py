"""`billing demo`: the main job once, on real servers: debits from the client to the ledger."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from billing_client import BillingClient, new_key
from cli.run_steps import Place, nodes, steps, workers_answer
from cli.stack import errors_for_people
from devstack.children import Command
from devstack.folder import DataFolder
from devstack.fresh import empty_redis, fresh_database
from devstack.guard import Guard
from devstack.stack import Urls, held_stack, outside_urls

#: Longer than this on any machine means that something is broken.
WAIT_S = 60.0
POLL_S = 0.1


@dataclass(frozen=True)
class Ask:
    """A debit that the demo sends, how often, and what should become of it."""

    slug: str
    account_id: int
    operation: str
    units: int
    expected: str
    times: int = 1


ASKS = (
    Ask("home-g8", 29, "content_generation", 1250, "taken"),
    Ask("home-g8", 29, "image_generation", 3, "taken"),
    Ask("scale-account", 14, "idea_generation", 20, "taken"),
    Ask("scale-account", 14, "clustering", 1, "taken", times=3),
    Ask("aws-admin", 5, "image_prompt_extraction", 1, "taken"),
    Ask("tacbit", 30, "image_generation", 19, "taken"),
    Ask("tacbit", 30, "image_generation", 2, "refused: InsufficientCredits"),
    Ask("auto-remote", 28, "clustering", 1, "refused: InsufficientCredits"),
    Ask("home-g8", 29, "mind_reading", 1, "dead letter: UnknownOperation"),
    Ask("(no such)", 404, "clustering", 1, "dead letter: UnknownAccount"),
)


@click.command()
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), help="Keep the data here."
)
def demo(data: Path | None) -> None:
    """Start everything, queue debits for the sample accounts, and show what became of each.

    Takes a fresh folder that is thrown away, unless --data names one. With DATABASE_URL and
    REDIS_URL set it takes those servers: there, a new database that is dropped again, and an empty
    database of the Redis. Exits 0 if every debit ended as expected and the books agree.
    """
    with tempfile.TemporaryDirectory(prefix="billing-demo-") as fresh, errors_for_people():
        folder = DataFolder(data or Path(fresh))
        with Guard() as outer, _servers(outer, folder) as urls, Guard() as guard:
            _say("Postgres and Redis are up; making tables and sample accounts")
            place = _take_place(folder, urls)
            for step in steps(place)[:2]:
                _run_once(guard, folder, step.command)
            for step in steps(place)[2:4]:
                guard.spawn(step.command, folder.log(step.command.name))
            answered = workers_answer(urls.redis_url, nodes("worker", "debits"))
            _wait(answered, "the workers to answer")
            _say("the workers are up; the client queues debits")
            is_fine = _main_job(urls)
    sys.exit(0 if is_fine else 1)


@contextmanager
def _servers(guard: Guard, folder: DataFolder) -> Iterator[Urls]:
    """Raises a StackError."""
    outside = outside_urls(folder)
    if outside is None:
        with held_stack(guard, folder) as stack:
            yield stack.urls
        return
    folder.create()
    with (
        fresh_database(outside.database_url, prefix="billing_demo") as database_url,
        empty_redis(outside.redis_url) as redis_url,
    ):
        yield Urls(database_url, redis_url)


def _take_place(folder: DataFolder, urls: Urls) -> Place:
    os.environ.update(urls.environment(), BILLING_DATA=str(folder.path))
    return Place(folder, dict(os.environ), flower_port=0)


def _run_once(guard: Guard, folder: DataFolder, command: Command) -> None:
    child = guard.spawn(command, folder.log(command.name))
    _wait(lambda: child.exit_code is not None, child.name)
    if child.exit_code != 0:
        raise click.ClickException(f"{child.name} failed:\n{child.tail()}")


def _main_job(urls: Urls) -> bool:
    from billing.support import audit
    from cli import audit as audit_screen
    from cli.demo_outcome import outcome_of, show_ledgers
    from cli.screen import table
    from worker.database import transaction
    from worker.transport import queues

    client = BillingClient(urls.redis_url)
    asked = [(ask, new_key()) for ask in ASKS]
    for ask, key in asked:
        for _ in range(ask.times):
            client.debit(ask.account_id, ask.operation, units=ask.units, key=key)
    redis = queues.connection()
    _wait(
        lambda: queues.depth(redis, "debits") == 0 and queues.in_hand(redis) == 0,
        "the queue to be empty",
    )
    with transaction() as ctx:
        outcomes = [outcome_of(ctx.session, key) for _, key in asked]
    table(
        "what became of each debit",
        ("account", "operation", "units", "sent", "outcome"),
        [
            (ask.slug, ask.operation, ask.units, f"{ask.times} x", outcome)
            for (ask, _), outcome in zip(asked, outcomes, strict=True)
        ],
    )
    with transaction() as ctx:
        show_ledgers(ctx, sorted({ask.slug for ask in ASKS}))
    with transaction() as ctx:
        report = audit.run(ctx)
    audit_screen.show(report)
    return report.agrees and _all_as_expected(outcomes)


def _all_as_expected(outcomes: Sequence[str]) -> bool:
    wrong = [
        f"{ask.slug} {ask.operation}: {outcome}, expected {ask.expected}"
        for ask, outcome in zip(ASKS, outcomes, strict=True)
        if not outcome.startswith(ask.expected)
    ]
    for words in wrong:
        _say(f"UNEXPECTED: {words}")
    return not wrong


def _wait(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        if time.monotonic() > deadline:
            raise click.ClickException(f"waited {WAIT_S:.0f} s for {what}")
        time.sleep(POLL_S)


def _say(line: str) -> None:
    click.echo(line)
