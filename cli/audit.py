"""`billing audit`: check the invariants of the ledger."""

from typing import TextIO

import click

from billing.ledger import anchors as chain_anchors
from billing.ledger import compare_anchors
from billing.ledger.compare_anchors import Kept
from billing.support.audit import INVARIANTS, Coverage, Report
from cli.screen import console, in_json, json_option, progress, table
from flows import audit as whole_audit
from worker.database import transaction


@click.command()
@click.option("--full", is_flag=True, help="Read every entry, not only those since the anchors.")
@click.option(
    "--hash-chain/--no-hash-chain", default=True, help="Also check the hash of every entry read."
)
@click.option("--seals/--no-seals", default=True, hidden=True, deprecated="Use --hash-chain.")
@click.option(
    "--anchors",
    type=click.File(encoding="utf-8", errors="replace"),
    help="Compare with the anchors in this FILE, or log, of BILLING_CHAIN_ANCHORS.",
)
@click.option(
    "--new-anchors",
    is_flag=True,
    help="Record the anchors anew from the ledger as it is; implies --full.",
)
@json_option
def audit(
    full: bool, hash_chain: bool, seals: bool, anchors: TextIO | None, new_anchors: bool
) -> None:
    """Check every invariant of the ledger; exit 1 if one is violated. Repairs nothing."""
    kept = _kept(anchors) if anchors else None
    if new_anchors:
        with transaction() as ctx:
            chain_anchors.forget(ctx)
    report = whole_audit.run(
        is_full=full or new_anchors,
        with_chain=hash_chain and seals,
        kept=kept,
        on_progress=_show_progress,
    )
    facts = {"agrees": report.agrees, "accounts": report.accounts, "books": report.accounts}
    if not in_json({**facts, "coverage": report.coverage, "findings": report.findings}):
        show(report)
    if not report.agrees:
        raise SystemExit(1)


def _kept(file: TextIO) -> Kept:
    try:
        kept = compare_anchors.read_lines(file)
    except ValueError as error:
        raise click.ClickException(f"{file.name}: {error}.") from None
    if not kept.newest:
        raise click.ClickException(f"{file.name} has no line of an anchor.")
    return kept


def _show_progress(coverage: Coverage) -> None:
    progress.print(f"{coverage.accounts:,} accounts, {coverage.entries:,} entries checked")


def show(report: Report) -> None:
    """Print each invariant with the number of its violations, each violation, and what was read."""
    table(
        f"audit of {report.accounts:,} accounts",
        ("check", "invariant", "violations"),
        [(name, INVARIANTS[name], len(violations)) for name, violations in report.findings.items()],
    )
    for name, violations in report.findings.items():
        for subject, facts in violations:
            shown = ", ".join([f"{key} {value}" for key, value in facts.items()])
            console.print(f"{name}: {subject}: {shown}", style="red", markup=False)
    console.print(_coverage(report.coverage))
    console.print("the ledger agrees" if report.agrees else "THE LEDGER DOES NOT AGREE")


def _coverage(coverage: Coverage) -> str:
    """Say what was read, since when, and how long it took."""
    read = f"{coverage.entries:,} entries of {coverage.accounts:,} accounts"
    if coverage.kind == "full":
        after = coverage.resumed_after
        where = "all of them" if after is None else f"those after account {after}, resumed"
    else:
        where = f"since the anchors, up to {coverage.since}" if coverage.since else "from the start"
    return f"read {read} ({where}) in {coverage.seconds} s"
