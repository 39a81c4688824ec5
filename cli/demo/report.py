"""The demo's output: plain text of at most 100 columns, or JSON."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import zip_longest

from billing.support.overview import Overview
from cli.demo.runner import Ending, Result
from cli.demo.stage import Outcome

WIDTH = 100
#: Columns of what came in, of an account's name, and of its status and balance.
CAME_IN, SLUG, ENTRIES = 45, 14, 17
ARROW = "-> "
_INDENT = "  "
#: A space at which no line is broken.
_TIED = "\N{NO-BREAK SPACE}"


def section(number: int, result: Result) -> str:
    """Format a section: a heading, then a line for each thing that came in."""
    heading = f"{number} {result.section.title}"
    lines = [line for outcome in result.outcomes for line in _outcome(outcome)]
    return "\n".join([heading, f"{_INDENT}{result.section.about}", "", *lines, ""])


def _outcome(outcome: Outcome) -> Iterator[str]:
    yield from _beside(outcome.came_in, ARROW + outcome.became, CAME_IN)
    if not outcome.is_expected:
        yield from _beside("UNEXPECTED", "expected: " + outcome.expected, CAME_IN + len(ARROW))


def ledgers(accounts: Sequence[Overview]) -> str:
    """Format each account as a line: its status, its balance, and its entries."""
    lines = [line for account in accounts for line in _ledger(account)]
    return "\n".join(["Ledgers", *lines, ""])


def _ledger(account: Overview) -> Iterator[str]:
    entries = ", ".join(
        f"{entry.amount:+,}{_TIED}{entry.description.replace(' ', _TIED)}"
        for entry in account.entries
    )
    text = f"{account.status:<9} {account.credits:>5,}  {entries or 'no entries'}"
    yield from _beside(account.slug, text, SLUG, indent=ENTRIES)


def audit(ending: Ending) -> str:
    """Format the audit: each finding, then the numbers of accounts, checks and findings."""
    report = ending.audit
    broken = [
        f"{_INDENT}{check}: {subject}: {facts}"
        for check, findings in report.findings.items()
        for subject, facts in findings
    ]
    verdict = "the ledger agrees" if report.agrees else "THE LEDGER DOES NOT AGREE"
    counted = f"{report.accounts} accounts, {len(report.findings)} checks, {len(broken)} findings"
    return "\n".join(["Audit", *broken, f"{_INDENT}{counted}: {verdict}"])


def verdict(results: Sequence[Result], seconds: float) -> str:
    """Count the outcomes that are as expected."""
    outcomes = [outcome for result in results for outcome in result.outcomes]
    good = sum(outcome.is_expected for outcome in outcomes)
    return f"\n{good} of {len(outcomes)} outcomes as expected, in {seconds:.0f} s"


def as_json(results: Sequence[Result], ending: Ending, *, is_fine: bool) -> dict[str, object]:
    """Collect sections, accounts and audit, for machines."""
    return {
        "is_as_expected": is_fine,
        "sections": [
            {
                "title": result.section.title,
                "outcomes": [asdict(o) | {"is_expected": o.is_expected} for o in result.outcomes],
            }
            for result in results
        ],
        "accounts": [
            {"slug": account.slug, "status": account.status, "credits": account.credits}
            for account in ending.accounts
        ],
        "audit": {"agrees": ending.audit.agrees, "findings": ending.audit.findings},
    }


def _beside(left: str, right: str, column: int, *, indent: int = len(ARROW)) -> Iterator[str]:
    """Put two texts side by side, each wrapped in its own column."""
    lefts = textwrap.wrap(left, column - 1)
    rights = textwrap.wrap(right, WIDTH - column - len(_INDENT), subsequent_indent=" " * indent)
    for beginning, rest in zip_longest(lefts, rights, fillvalue=""):
        yield f"{_INDENT}{beginning:<{column}}{rest}".replace(_TIED, " ").rstrip()
