"""`billing audit`: check the invariants of the ledger."""

import click

from billing.operations import findings
from billing.support import audit as books_audit
from cli.screen import console, json_option, show_json, table
from worker import clock
from worker.database import AUDIT_S, transaction


@click.command()
@click.option("--seals/--no-seals", default=True, help="Also verify the hash of every entry.")
@json_option
def audit(seals: bool, as_json: bool) -> None:
    """Check the invariants of the ledger; exit code 1 if one is broken. Repairs nothing."""
    now = clock.now()
    with transaction(statement_timeout_s=AUDIT_S) as ctx:
        report = books_audit.run(ctx.at(now), with_chain=seals)
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
    """Print each invariant with the number of breaches, then the breaches."""
    checks = books_audit.CHECKS + books_audit.LONG_CHECKS
    invariants = {check.name: check.invariant for check in checks}
    invariants[books_audit.HASH_CHAIN] = books_audit.HASH_CHAIN_INVARIANT
    table(
        f"audit of {report.accounts:,} accounts",
        ("check", "invariant", "broken by"),
        [(name, invariants[name], len(rows)) for name, rows in report.findings.items()],
    )
    for name, rows in report.findings.items():
        for subject, facts in rows:
            shown = ", ".join([f"{key} {value}" for key, value in facts.items()])
            console.print(f"{name}: {subject}: {shown}", style="red")
    console.print("the books agree" if report.agrees else "THE BOOKS DO NOT AGREE")
