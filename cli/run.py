"""`billing run`: servers, migrations, samples, workers, beat and Flower, until Ctrl-C."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from cli.run_steps import Place, flower_login, steps
from cli.stack import as_lines, data_option
from devstack.folder import DataFolder
from devstack.guard import Guard
from devstack.ports import choose_port
from devstack.stack import Stack, exclusively, held_stack, outside_urls, read_record
from devstack.stopping import listening_for_stop
from devstack.supervisor import Supervisor

#: Flower's usual port; another is chosen if it is taken.
FLOWER_PORT = 5555


@click.command()
@data_option
@click.option(
    "--flower-port",
    type=int,
    default=0,
    help="Flower's port. Without it: the last one used, else 5555, else a free one.",
)
@click.option(
    "--until-parent-ends", is_flag=True, help="Also stop when the parent process ends (for make)."
)
def run(data: Path, flower_port: int, until_parent_ends: bool) -> None:
    """Run everything on this machine until Ctrl-C.

    It uses the servers of DATABASE_URL and REDIS_URL, else those of `billing stack start` if they
    run, else it starts its own. A second Ctrl-C stops without waiting for tasks.
    """
    folder = DataFolder(data)
    folder.create()
    with (
        listening_for_stop(until_parent_ends=until_parent_ends) as stop,
        # Two runs would share node names, beat's schedule and the logs.
        exclusively(folder, "run"),
        Guard(stop.times) as guard,
        _servers(guard, folder) as servers,
    ):
        environment = {**os.environ, **servers.urls.environment(), "BILLING_DATA": str(folder.path)}
        port = choose_port(folder, "flower", flower_port, usual=FLOWER_PORT)
        place = Place(
            folder, environment | {"FLOWER_BASIC_AUTH": flower_login(folder, environment)}, port
        )
        _print_addresses(place, servers)
        supervisor = Supervisor(guard, folder, stop, servers=servers.children, say=_print)
        supervisor.run(
            steps(place),
            on_running=lambda: _print("running; Ctrl-C stops everything, a second one hurries"),
        )
    _print("stopped")


@contextmanager
def _servers(
    guard: Guard, folder: DataFolder, environ: Mapping[str, str] = os.environ
) -> Iterator[Stack]:
    """Yield the servers to use; start them if none run. Raises a StackError."""
    outside = outside_urls(folder, environ)
    background = read_record(folder)
    if outside:
        yield Stack(outside, ())
    elif background:
        yield Stack(background.urls(folder), ())
    else:
        with held_stack(guard, folder) as stack:
            yield stack


def _print_addresses(place: Place, servers: Stack) -> None:
    _print(as_lines(servers.urls))
    user, _, password = place.environment["FLOWER_BASIC_AUTH"].partition(":")
    _print(f"Flower  http://127.0.0.1:{place.flower_port}  (user {user}, password {password})")
    _print(f"Logs    {place.folder.logs}")
    _print(f"Data    {place.folder.path}")


def _print(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()  # a pipe is buffered
