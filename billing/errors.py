"""The errors of the domain: each is a fact, and its docstring is the sentence that it says.

    BillingError
    ├── Rejected                an answer: a retry changes nothing
    │   ├── InsufficientCredits     too few credits, even with the plan's debt limit
    │   ├── SpendCapReached         over the account's own cap for the month
    │   ├── ReversedFirst           the debit's reversal arrived before it
    │   ├── UnknownHold             no hold of this account has the key
    │   ├── HoldNotFinished         a hold that has taken nothing yet can't be reversed
    │   ├── NothingToReverse        the debit was refused, so it took nothing
    │   ├── AccountDeleted          the account is soft-deleted
    │   ├── UnknownAccount          no account has the id
    │   ├── UnknownOperation        the operation has no price
    │   ├── KeyReused               the key already stands for other content
    │   ├── BalanceTooLarge         the main app's column can't hold the balance
    │   ├── AlreadyExpired          the grant expires before it starts
    │   ├── SystemAccount           system accounts get no credits and no status changes
    │   ├── NoPlan                  the account has no plan
    │   ├── StatusChangeRefused     the transition table does not allow the change
    │   ├── TrialEndRefused         the trial can't end then
    │   ├── StripeRefused           Stripe refuses our request: wrong key, missing rights
    │   ├── StatementRefused        a bank file; its tree is in billing/statements/errors.py
    │   ├── BankRejected            a transfer; its tree is in billing/bank/errors.py
    │   ├── StripeRejected          a Stripe event; its tree is in billing/stripe/errors.py
    │   ├── ProcessKilled           it was begun three times, and killed its process each time
    │   ├── MessageTooLarge         the message is larger than any that we send
    │   └── Malformed               the message does not have the form of its kind
    └── TryLater                transient: the same message may succeed in a while
        └── StripeAway              Stripe can't be reached, throttles, or fails

An error's message is the first line of its class's docstring, with its facts filled in. Facts that
the sentence does not name follow in brackets. Every error survives pickling.
"""

from string import Formatter
from typing import Any


class BillingError(Exception):
    """Something went wrong in billing.

    Attributes:
        facts: The data of the error: JSON-safe, ids and numbers rather than names or texts.
    """

    def __init__(self, **facts: Any) -> None:
        super().__init__(facts)
        self.facts = facts

    @property
    def name(self) -> str:
        """The error's name, as tables keep it and people see it."""
        return type(self).__name__

    def __str__(self) -> str:
        return sentence(type(self).__doc__ or self.name, self.facts)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.facts))


def sentence(template: str, facts: dict[str, Any]) -> str:
    """Fill the facts into the template's first line; add those that it does not name."""
    line = template.strip().partition("\n")[0].removesuffix(".")
    named = {name for _, name, _, _ in Formatter().parse(line) if name}
    others = ", ".join(f"{name}={value}" for name, value in facts.items() if name not in named)
    text = line.format_map({**dict.fromkeys(named, "unknown"), **facts})
    return f"{text} ({others})" if others else text


def _rebuild(kind: type[BillingError], facts: dict[str, Any]) -> BillingError:
    return kind(**facts)


class Rejected(BillingError):
    """The request was rejected."""


class InsufficientCredits(Rejected):
    """{needed} credits are needed, {available} are available, and {debt} are owed already."""


class SpendCapReached(Rejected):
    """{needed} credits are needed, and the month's cap of {cap} leaves {available}."""


class ReversedFirst(Rejected):
    """The debit {key} was reversed before it arrived, so it takes nothing."""


class UnknownHold(Rejected):
    """No hold of account {account_id} has the key {hold}."""


class HoldNotFinished(Rejected):
    """The hold {hold} has taken nothing yet; reverse it after its capture."""


class NothingToReverse(Rejected):
    """The debit {key} was refused, so there is nothing to give back."""


class AccountDeleted(Rejected):
    """Account {account_id} is deleted; nothing is taken from it or given to it."""


class UnknownAccount(Rejected):
    """No account has the id or slug {account_id}."""


class UnknownOperation(Rejected):
    """The operation {operation} has no price."""


class KeyReused(Rejected):
    """The key {key} already stands for something else."""


class BalanceTooLarge(Rejected):
    """{amount} more credits would not fit into the balance column of account {account_id}."""


class AlreadyExpired(Rejected):
    """The grant {key} would expire at {expires_at}, before it starts."""


class SystemAccount(Rejected):
    """Account {account_id} ({slug}) is a system account: nothing changes it."""


class NoPlan(Rejected):
    """Account {account_id} has no plan, or its plan no longer exists."""


class StatusChangeRefused(Rejected):
    """Account {account_id} can't go from {status} to {to} for the reason {reason}: {hint}."""


class TrialEndRefused(Rejected):
    """The trial of account {account_id} can't end then: {problem}."""


class StripeRefused(Rejected):
    """Stripe refuses our request for {kind}."""


class Malformed(Rejected):
    """The message is malformed: {problem}."""


class ProcessKilled(Rejected):
    """It was begun {times} times, and each time its process died before it was done."""


class MessageTooLarge(Rejected):
    """The message has {bytes} bytes, and may have {most}; only its beginning is kept."""


class TryLater(BillingError):
    """The request can't be served right now; the same request may succeed in a while."""


class StripeAway(TryLater):
    """Stripe does not answer our request for {kind}, or throttles it."""
