"""`billing alive`: a container's health check."""

import click

from worker.alive import is_alive, is_ready


@click.command()
@click.argument("name")
@click.option(
    "--ready", is_flag=True, help="Exit 1 also while it waits for a server, from 15 seconds on."
)
def alive(name: str, ready: bool) -> None:
    """Exit 0 if the worker NAME (as in -n NAME@%h) was alive within the last minute, else 1."""
    if not (is_ready if ready else is_alive)(name):
        raise SystemExit(1)
