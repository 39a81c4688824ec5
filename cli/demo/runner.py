"""The run of all sections, then of the audit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from billing.support import audit
from billing.support.audit import Report
from billing.support.overview import Overview
from cli.demo.accounts import SIGNED_UP, read
from cli.demo.outcome import Outcome
from cli.demo.sections import SECTIONS, Section
from cli.demo.stage import Stage
from cli.samples import ACCOUNTS
from worker.database import transaction


@dataclass(frozen=True)
class Result:
    """A section and its outcomes."""

    section: Section
    outcomes: Sequence[Outcome]


@dataclass(frozen=True)
class Ending:
    """The accounts after all sections, and the audit."""

    accounts: Sequence[Overview]
    audit: Report


def results(stage: Stage) -> Iterator[Result]:
    """Run each section; one at a time, so that its result can be shown at once."""
    for section in SECTIONS:
        yield Result(section, section.run(stage))


def ending() -> Ending:
    """Read the ledgers of all accounts, and audit them."""
    with transaction() as ctx:
        accounts = [read(ctx, account[1]) for account in (*ACCOUNTS, *SIGNED_UP)]
    with transaction() as ctx:
        return Ending(accounts, audit.run(ctx))


def is_as_expected(results: Sequence[Result], ending: Ending) -> bool:
    """Whether every outcome is the expected one and the ledger agrees."""
    outcomes = [outcome for result in results for outcome in result.outcomes]
    return ending.audit.agrees and all(outcome.is_expected for outcome in outcomes)
