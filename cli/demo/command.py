"""`billing demo`: start everything, do the five jobs once, and show the outcome of each."""

import sys
import tempfile
import time
from pathlib import Path

import click

from cli.demo.servers import running, say
from cli.demo.stage import Stage
from cli.screen import in_json, json_option, wants_json
from devstack.folder import DataFolder


@click.command()
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), help="Keep the data here."
)
@json_option
def demo(data: Path | None) -> None:
    """Start everything, do the worker's five jobs once, and show the outcome of each.

    The jobs are debits, a Stripe webhook, a bank file, the end of a trial, and a new account. The
    demo uses a temporary folder unless --data names one. With DATABASE_URL and REDIS_URL set it
    uses those servers: a new database, which it drops afterwards, and an empty Redis database.
    Exit 0 if every outcome is the expected one and the audit finds nothing.
    """
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="billing-demo-") as fresh,
        running(DataFolder(data or Path(fresh))) as stage,
    ):
        is_fine = _show(stage, began=began)
        say("stopping the servers ...")
    sys.exit(0 if is_fine else 1)


def _show(stage: Stage, *, began: float) -> bool:
    from cli.demo import report, runner  # they need the settings, which are made by now

    results = []
    for number, result in enumerate(runner.results(stage), start=1):
        results.append(result)
        if not wants_json():
            click.echo(report.section(number, result))
    ending = runner.ending()
    is_fine = runner.is_as_expected(results, ending)
    if not in_json(report.as_json(results, ending, is_fine=is_fine)):
        click.echo(report.ledgers(ending.accounts))
        click.echo(report.audit(ending))
        click.echo(report.verdict(results, time.monotonic() - began))
    return is_fine
