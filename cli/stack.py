"""`billing stack`: embedded Postgres and Redis in the background."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from cli.topic import Topic
from devstack import Urls
from devstack.background import start_in_background, stop_background
from devstack.folder import DataFolder, default_folder
from devstack.stack import outside_urls, read_record
from devstack.status import Status, stack_status

# Exit codes as of LSB service scripts: 0 running, 3 not running; 1: a server does not answer.
EXIT_UNHEALTHY, EXIT_NOT_RUNNING = 1, 3

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_folder,
    help="Folder of the servers' data.  [default: $BILLING_DATA, else .data]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=Topic)
def stack() -> None:
    """Start and stop the embedded Postgres and Redis, in the background."""


@stack.command()
@data_option
@click.option("--port-postgres", type=int, default=0, help="0: the last one used, else a free one.")
@click.option("--port-redis", type=int, default=0, help="0: the last one used, else a free one.")
@json_option
def start(data: Path, port_postgres: int, port_redis: int, as_json: bool) -> None:
    """Start both servers unless they run, and print their URLs.

    To use them in a shell: export $(billing stack start)
    """
    folder = DataFolder(data)
    if urls := outside_urls(folder):
        click.echo("DATABASE_URL and REDIS_URL are set: no server is started.", err=True)
    else:
        urls = _start(folder, port_postgres, port_redis)
    click.echo(json.dumps(urls.environment()) if as_json else as_lines(urls))


@stack.command()
@data_option
@json_option
def stop(data: Path, as_json: bool) -> None:
    """Stop both servers and wait until they have ended. Exit 0 also if none runs."""
    stopped = stop_background(DataFolder(data))
    click.echo(
        json.dumps({"stopped": stopped}) if as_json else "stopped" if stopped else "not running"
    )


@stack.command()
@data_option
@json_option
def status(data: Path, as_json: bool) -> None:
    """Show process ids, ports, health and size of the data.

    Exit code 0: running, 3: not running, 1: a server does not answer.
    """
    state = stack_status(DataFolder(data))
    click.echo(json.dumps(asdict(state)) if as_json else _as_text(state))
    if not state.running:
        sys.exit(EXIT_NOT_RUNNING)
    if not state.healthy:
        sys.exit(EXIT_UNHEALTHY)


def as_lines(urls: Urls) -> str:
    """Format the URLs as lines for a shell or a .env file."""
    return "\n".join(f"{name}={value}" for name, value in urls.environment().items())


def _start(folder: DataFolder, postgres_port: int, redis_port: int) -> Urls:
    urls = start_in_background(folder, postgres_port=postgres_port, redis_port=redis_port)
    record = read_record(folder)
    for requested_port, name, port in (
        (postgres_port, "Postgres", record and record.postgres_port),
        (redis_port, "Redis", record and record.redis_port),
    ):
        if requested_port not in (0, port):
            click.echo(
                f"{name} runs already, on port {port} instead of {requested_port}.", err=True
            )
    return urls


def _as_text(status: Status) -> str:
    if not status.running:
        return f"not running ({status.data}, {status.data_bytes:,} bytes)"
    place = "in the background" if status.background else "in the foreground"
    lines = [f"running {place} (pid {status.pid})"]
    for name, server in (("postgres", status.postgres), ("redis", status.redis)):
        assert server is not None  # both are known while they run
        health = "answers" if server.reachable else "DOES NOT ANSWER"
        lines.append(f"{name:9} pid {server.pid}, port {server.port}, {health}")
    return "\n".join([*lines, f"data      {status.data}, {status.data_bytes:,} bytes"])
