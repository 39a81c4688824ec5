"""`python -m bench [NAME…]`: run the benches of these names, or all, and print one table."""

import importlib
import os

import click

from bench.measure import Result, machine_speed
from bench.stack import bench_stack
from worker import logs

#: Each is a module of this package with `run(count=…, rounds=…) -> Result`.
BENCHES = ("debits", "inbox", "holds", "access", "sweeps", "stripe")
#: Only when named: `bank` and `starving` take minutes, `latency` is a part of `debits`, `scale`
#: fills in ten million entries first.
NAMED = ("bank", "latency", "scale", "starving")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(BENCHES + NAMED))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--count", default=20_000, show_default=True, help="Messages for the fastest one.")
@click.option("--rounds", default=3, show_default=True, help="The median of so many is shown.")
def main(names: tuple[str, ...], as_json: bool, count: int, rounds: int) -> None:
    """Measure side by side, on the same servers, with fsync and synchronous_commit on."""
    os.environ["BILLING_LOG_LEVEL"] = "WARNING"
    result = Result()
    speed = [machine_speed()]
    with bench_stack():
        logs.configure()
        for name in names or BENCHES:
            result += importlib.import_module(f"bench.{name}").run(count=count, rounds=rounds)
            speed.append(machine_speed())
    result.facts["machine_speed"] = speed
    if as_json:
        click.echo(result.as_json())
    else:
        result.show()


if __name__ == "__main__":
    main()
