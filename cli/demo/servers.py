"""The servers, tables, workers and relay that the demo runs on."""

import os
import secrets
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from billing_client import BillingClient
from cli.demo.stage import WAIT_S, Stage, wait_until
from cli.run_steps import Place, nodes, steps, workers_answer
from devstack.children import Command
from devstack.folder import DataFolder
from devstack.fresh import empty_redis, fresh_database
from devstack.guard import Guard
from devstack.ports import HOST, choose_port
from devstack.stack import Urls, held_stack, outside_urls
from web.relay import HEALTH_PATH, PATH
from worker.settings import Settings

#: The workers of `billing run`. Beat does not run: the demo sends the ticks that it shows.
WORKERS = ("worker", "debits")
HTTP_TIMEOUT_S = 5.0
#: Without a grace period, the demo need not wait for days.
SETTINGS = {"BILLING_TRIAL_GRACE_DAYS": "0"}


@contextmanager
def running(folder: DataFolder) -> Iterator[Stage]:
    """Start everything; stop it at the end. Raises a StackError or a ClickException."""
    with Guard() as outer, own_or_named(outer, folder) as urls, Guard() as guard:
        secret = f"whsec_{secrets.token_hex(16)}"
        _configure(urls, secret, folder)
        place = Place(folder, dict(os.environ), flower_port=0)
        commands = {step.command.name: step.command for step in steps(place)}
        say("making tables ...")
        _run_once(guard, folder, commands["migrate"])
        say("starting the workers and the relay, signing up accounts ...")
        for name in WORKERS:
            guard.spawn(commands[name], folder.log(name))
        relay = _start_relay(guard, folder)
        _set_up()
        _wait(lambda: _answers(relay + HEALTH_PATH), "the relay to answer")
        _wait(workers_answer(urls.redis_url, nodes(*WORKERS)), "the workers to answer")
        yield Stage(BillingClient(urls.redis_url), relay + PATH, secret)


def say(line: str) -> None:
    """Print progress, apart from the demo's own output."""
    click.echo(line, err=True)


@contextmanager
def own_or_named(guard: Guard, folder: DataFolder) -> Iterator[Urls]:
    """Use the servers of DATABASE_URL and REDIS_URL, else start embedded ones.

    Raises a StackError.
    """
    outside = outside_urls(folder)
    if outside is None:
        say("starting Postgres and Redis ...")
        with held_stack(guard, folder) as stack:
            yield stack.urls
        return
    folder.create()
    with (
        fresh_database(outside.database_url, prefix="billing_demo") as database_url,
        empty_redis(outside.redis_url) as redis_url,
    ):
        yield Urls(database_url, redis_url)


def _configure(urls: Urls, webhook_secret: str, folder: DataFolder) -> None:
    """Replace every setting by the demo's own, so that it can't reach a real Stripe account."""
    for name in Settings.model_fields:
        os.environ.pop(f"BILLING_{name.upper()}", None)
    own = {"BILLING_STRIPE_WEBHOOK_SECRETS": webhook_secret, "BILLING_DATA": str(folder.path)}
    os.environ.update(urls.environment() | SETTINGS | own)


def _run_once(guard: Guard, folder: DataFolder, command: Command) -> None:
    child = guard.spawn(command, folder.log(command.name))
    _wait(lambda: child.exit_code is not None, child.name)
    if child.exit_code != 0:
        raise click.ClickException(f"{child.name} failed:\n{child.tail()}")


def _start_relay(guard: Guard, folder: DataFolder) -> str:
    """Start the relay on a free port; return its address."""
    port = choose_port(folder, "relay", 0)
    argv = (sys.executable, "-m", "cli.main", "relay", "--port", str(port))
    guard.spawn(Command("relay", argv, dict(os.environ)), folder.log("relay"))
    return f"http://{HOST}:{port}"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=HTTP_TIMEOUT_S):  # noqa: S310 - our own relay
            return True
    except OSError:
        return False


def _set_up() -> None:
    from cli.demo.set_up import set_up
    from worker.database import transaction

    with transaction(actor="operator:demo") as ctx:
        is_new = set_up(ctx)
    if not is_new:
        raise click.ClickException("This data folder has seen a demo already; name another one.")


def _wait(condition: Callable[[], bool], what: str) -> None:
    if not wait_until(condition):
        raise click.ClickException(f"waited {WAIT_S:.0f} s for {what}")
