"""The sections of the demo, in their order. To add one, write its module and add a line here."""

from collections.abc import Callable
from typing import NamedTuple

from cli.demo import bank_file, debits, new_account, stripe_webhook, trial_end
from cli.demo.outcome import Outcome
from cli.demo.stage import Stage


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
