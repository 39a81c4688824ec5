"""`python -m bench [NAME…]`: run the named benches, or all, and print one table."""

import importlib
import os

import click

from bench.measure import Result, machine_speed
from bench.stack import bench_stack
from worker import logs

#: Modules of this package, each with `run(count=…, rounds=…) -> Result`.
BENCHES = ("debits", "inbox", "holds", "access", "sweeps", "stripe")
#: Run only by name: `bank`, `growth` and `starving` take minutes, `latency` is part of `debits`, and `scale`
#: first inserts ten million entries.
NAMED = ("bank", "growth", "latency", "scale", "starving")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(BENCHES + NAMED))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--count", default=20_000, show_default=True, help="Messages for the fastest bench.")
@click.option("--rounds", default=3, show_default=True, help="Rounds; the median is shown.")
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
