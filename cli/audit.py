"""`billing audit`: do the books agree?"""

import click

from billing.operations import findings
from billing.support import audit as books_audit
from cli.screen import console, json_option, show_json, table
from worker import clock
from worker.database import AUDIT_S, transaction


@click.command()
@click.option("--seals/--no-seals", default=True, help="Also read every entry's seal.")
@json_option
def audit(seals: bool, as_json: bool) -> None:
    """Check every promise of the books; exit code 1 if one is broken. Repairs nothing."""
    now = clock.now()
    with transaction(statement_timeout_s=AUDIT_S) as ctx:
        report = books_audit.run(ctx.at(now), with_seals=seals)
    with transaction() as ctx:
        findings.keep(ctx.at(now), report.findings)
    if as_json:
        show_json(
            {
                "agrees": report.agrees,
                "accounts": report.accounts,
                "books": report.accounts,
                "findings": report.findings,
            }
        )
    else:
        show(report)
    if not report.agrees:
        raise SystemExit(1)


def show(report: books_audit.Report) -> None:
    """Print each promise with how many break it, and who."""
    promises = {check.name: check.promise for check in books_audit.CHECKS + books_audit.LONG_CHECKS}
    promises[books_audit.SEALS] = books_audit.SEALS_PROMISE
    table(
        f"audit of {report.accounts:,} accounts",
        ("check", "promise", "broken by"),
        [(name, promises[name], len(found)) for name, found in report.findings.items()],
    )
    for name, found in report.findings.items():
        for subject, facts in found:
            shown = ", ".join([f"{key} {value}" for key, value in facts.items()])
            console.print(f"{name}: {subject}: {shown}", style="red")
    console.print("the books agree" if report.agrees else "THE BOOKS DO NOT AGREE")
