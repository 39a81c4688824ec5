"""`billing alive`: a container's health check."""

import click

from worker.alive import is_alive


@click.command()
@click.argument("name")
def alive(name: str) -> None:
    """Exit 0 if the worker NAME (as in -n NAME@%h) was alive within the last minute, else 1."""
    if not is_alive(name):
        raise SystemExit(1)
