"""Every way in which the domain says no.

    BillingError
    ├── Rejected                an answer: trying again changes nothing
    │   ├── InsufficientCredits     the credits and the plan's debt limit do not reach
    │   ├── SpendCapReached         the account's own cap for the month does not reach
    │   ├── ReversedFirst           the debit was reversed before it came
    │   ├── UnknownHold             no hold of this account has the key
    │   ├── HoldNotFinished         the hold has taken nothing yet that could be given back
    │   ├── NothingToReverse        the debit was refused, so there is nothing to give back
    │   ├── AccountDeleted          the account is soft-deleted
    │   ├── UnknownAccount          no such account
    │   ├── UnknownOperation        no price for it
    │   ├── KeyReused               the key stands for something else already
    │   ├── BalanceTooLarge         the main app's column could not hold the balance
    │   ├── AlreadyExpired          a grant that ends before it begins
    │   ├── SystemAccount           a system account is never seeded, suspended or expired
    │   ├── NoPlan                  the account has no plan to seed it from
    │   ├── StatusChangeRefused     the transition table has no such step
    │   ├── TrialEndRefused         the trial can't have that end
    │   ├── StripeRefused           Stripe says no to what we ask: a wrong key, no right to it
    │   ├── StatementRefused        a bank file; its tree is in billing/statements/errors.py
    │   ├── StripeRejected          an event of Stripe's; its tree is in billing/stripe/errors.py
    │   └── Malformed               the message can't be what its sender meant
    └── TryLater                a not-yet: the same message may well succeed in a while
        └── StripeAway              Stripe can't be reached, or has no time for us

An error is a fact, with its data as attributes; every one survives pickling.
"""

from typing import Any


class BillingError(Exception):
    """A fact with data: `facts` are JSON-safe, hold ids and numbers only, and are kept."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(facts)
        self.facts = facts

    @property
    def name(self) -> str:
        """The fact's name, as kept in tables and shown to people."""
        return type(self).__name__

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.facts.items())

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.facts))


def _rebuild(kind: type[BillingError], facts: dict[str, Any]) -> BillingError:
    return kind(**facts)


class Rejected(BillingError):
    """An answer: trying again changes nothing."""


class InsufficientCredits(Rejected):
    """`needed` credits are more than `available` and what the plan lets the account owe."""


class SpendCapReached(Rejected):
    """`needed` credits are more than the account's own cap for the month leaves."""


class ReversedFirst(Rejected):
    """The debit was reversed before it came: taking it now would undo the reversal."""


class UnknownHold(Rejected):
    """No hold of this account has the key."""


class HoldNotFinished(Rejected):
    """The hold has taken nothing yet that could be given back; a later reversal may."""


class NothingToReverse(Rejected):
    """The debit was refused, so there is nothing to give back."""


class AccountDeleted(Rejected):
    """The account is soft-deleted: nothing is taken from it or given to it."""


class UnknownAccount(Rejected):
    """No account has this id."""


class UnknownOperation(Rejected):
    """No price is known for the operation."""


class KeyReused(Rejected):
    """The key already stands for something with other content."""


class BalanceTooLarge(Rejected):
    """The balance would not fit into the main app's integer column."""


class AlreadyExpired(Rejected):
    """The lot would end before it begins."""


class SystemAccount(Rejected):
    """A system account is never seeded, suspended or expired."""


class NoPlan(Rejected):
    """The account has no plan, or its plan no longer exists."""


class StatusChangeRefused(Rejected):
    """The transition table has no step from this status to that for this reason."""


class TrialEndRefused(Rejected):
    """The trial is over, or was never, or can't have that end."""


class StripeRefused(Rejected):
    """Stripe says no to what we ask of it. `status` and `code` are Stripe's, `kind` is ours."""


class Malformed(Rejected):
    """The message can't be what its sender meant; `problem` says why."""


class TryLater(BillingError):
    """A not-yet: the same message may well succeed in a while."""


class StripeAway(TryLater):
    """Stripe can't be reached, throttles us, or is at fault itself. `status` None: no answer."""
