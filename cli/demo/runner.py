"""The sections of the demo in their order, then the audit.

To add a section, write its module and add a line to SECTIONS.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from billing.support import overview
from billing.support.audit import Report
from billing.support.overview import Overview
from cli.demo import bank_file, debits, new_account, stripe_webhook, trial_end
from cli.demo.accounts import SIGNED_UP
from cli.demo.stage import Outcome, Stage
from cli.samples import ACCOUNTS
from flows import audit
from worker.database import transaction


class Section(NamedTuple):
    """A job of the worker; `run` sends what comes in, waits, and reads the outcomes."""

    title: str
    about: str
    run: Callable[[Stage], list[Outcome]]


SECTIONS = (
    Section("Debits", debits.ABOUT, debits.run),
    Section("Stripe webhook", stripe_webhook.ABOUT, stripe_webhook.run),
    Section("Bank file", bank_file.ABOUT, bank_file.run),
    Section("Trial end", trial_end.ABOUT, trial_end.run),
    Section("New account", new_account.ABOUT, new_account.run),
)


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
        accounts = [overview.of(ctx, account[1]) for account in (*ACCOUNTS, *SIGNED_UP)]
    return Ending(accounts, audit.run(is_full=True))


def is_as_expected(results: Sequence[Result], ending: Ending) -> bool:
    """Whether every outcome is the expected one and the ledger agrees."""
    outcomes = [outcome for result in results for outcome in result.outcomes]
    return ending.audit.agrees and all(outcome.is_expected for outcome in outcomes)
