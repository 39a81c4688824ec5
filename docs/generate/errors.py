"""Errors and refusals, from the error classes: the docstring is what an error says."""

from typing import Any

from billing import errors
from billing.bank import errors as bank
from billing.statements import errors as statements
from billing.stripe import errors as stripe
from billing.usage.post import FINAL
from billing_client import errors as client
from docs.generate.markdown import code, prose, table
from worker.app import app

#: A family of errors -> what follows when one of them is raised. The nearest family counts.
FOLLOWS: dict[type[Exception], str] = {
    errors.Rejected: "a dead letter; can be replayed",
    errors.TryLater: "tried again, then a dead letter; can be replayed",
    client.InvalidMessage: "the client raises it and sends nothing; from another sender a dead letter",
    bank.BankRejected: "nothing changes; a message becomes a dead letter",
    statements.StatementRefused: "the file is refused, for good",
    stripe.SignatureRefused: "the event is refused, for good",
    stripe.Unreadable: "the event is refused, for good",
    stripe.NoneOfOurs: "the event is ignored; can be replayed",
    stripe.Waits: "the event is parked, and tried again by itself",
    stripe.StripeRejected: "the event failed; can be replayed",
}
HEADINGS: dict[type[Exception], str] = {
    client.InvalidMessage: "Messages",
    errors.Rejected: "Credits and accounts",
    errors.TryLater: "Transient errors",
    stripe.StripeRejected: "Events of Stripe",
    bank.BankRejected: "Bank transfers",
    statements.StatementRefused: "Bank files",
}


def block() -> str:
    """A section for each family, with its errors."""
    app.loader.import_default_modules()
    return "\n\n".join(f"### {title}\n\n{_table(family)}" for family, title in HEADINGS.items())


def _table(family: type[Exception]) -> str:
    rows = [(code(error.__name__), prose(error), _follows(error)) for error in _leaves(family)]
    return table("error | meaning | what follows", rows)


def _leaves(family: type[Exception]) -> list[type[Exception]]:
    """The errors that are raised: those without a family of their own, in the order of the code."""
    found: list[type[Exception]] = []
    for error in family.__subclasses__():
        if error not in HEADINGS:
            found += _leaves(error) or [error]
    return found


def _follows(error: Any) -> str:
    if error in FINAL:
        return "refused, for good; the key is used up"
    return next(FOLLOWS[base] for base in error.__mro__ if base in FOLLOWS)
