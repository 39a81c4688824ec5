"""`billing alive`: a container's health check."""

import click

from worker.alive import is_alive, is_ready


@click.command()
@click.argument("name")
@click.option(
    "--ready", is_flag=True, help="Also exit 1 if it is a reader of debits that reaches no server."
)
def alive(name: str, ready: bool) -> None:
    """Exit 0 if the worker NAME (as in -n NAME@%h) was alive within the last minute, else 1."""
    if not (is_ready if ready else is_alive)(name):
        raise SystemExit(1)
