"""`billing audit`: check the invariants of the ledger."""

import click

from billing.operations import findings
from billing.support import audit as ledger_audit
from cli.screen import console, in_json, json_option, table
from worker import clock
from worker.database import AUDIT_S, transaction


@click.command()
@click.option(
    "--hash-chain/--no-hash-chain", default=True, help="Also check the hash of every entry."
)
@click.option("--seals/--no-seals", default=True, hidden=True, deprecated="Use --hash-chain.")
@json_option
def audit(hash_chain: bool, seals: bool) -> None:
    """Check every invariant of the ledger; exit 1 if one is violated. Repairs nothing."""
    now = clock.now()
    with transaction(statement_timeout_s=AUDIT_S) as ctx:
        report = ledger_audit.run(ctx.at(now), with_chain=hash_chain and seals)
    with transaction() as ctx:
        findings.keep(ctx.at(now), report.findings)
    facts = {"agrees": report.agrees, "accounts": report.accounts, "books": report.accounts}
    if not in_json({**facts, "findings": report.findings}):
        show(report)
    if not report.agrees:
        raise SystemExit(1)


def show(report: ledger_audit.Report) -> None:
    """Print each invariant with the number of its violations, then each violation."""
    checks = ledger_audit.CHECKS + ledger_audit.LONG_CHECKS
    invariants = {check.name: check.invariant for check in checks}
    invariants[ledger_audit.STRIPE_WITHOUT_CREDITS] = ledger_audit.STRIPE_WITHOUT_CREDITS_INVARIANT
    invariants[ledger_audit.HASH_CHAIN] = ledger_audit.HASH_CHAIN_INVARIANT
    table(
        f"audit of {report.accounts:,} accounts",
        ("check", "invariant", "violations"),
        [(name, invariants[name], len(violations)) for name, violations in report.findings.items()],
    )
    for name, violations in report.findings.items():
        for subject, facts in violations:
            shown = ", ".join([f"{key} {value}" for key, value in facts.items()])
            console.print(f"{name}: {subject}: {shown}", style="red")
    console.print("the ledger agrees" if report.agrees else "THE LEDGER DOES NOT AGREE")
