"""Errors and refusals, from the error classes: the docstring is what an error says."""

from collections import defaultdict

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
    client.InvalidMessage: "The client raises it and sends nothing. In the worker: a dead letter.",
    errors.Rejected: "Dead letter. Replay it once the cause is gone.",
    errors.TryLater: "Retried, then a dead letter. Replay it once the cause is gone.",
    bank.BankRejected: "Nothing changes. A message becomes a dead letter.",
    statements.StatementRefused: "The file is refused for good. Another file is another try.",
    stripe.SignatureRefused: "The event is refused for good.",
    stripe.Unreadable: "The event is refused for good.",
    stripe.NoneOfOurs: "The event is ignored. It can be replayed.",
    stripe.Waits: "The event is parked. It is retried by itself once the fact is known.",
    stripe.StripeRejected: "The event failed. Replay it once the cause is gone.",
}
REFUSED = "Refused for good. The key is consumed; a new attempt needs a new key."
HEADINGS: dict[type[Exception], str] = {
    client.InvalidMessage: "Messages",
    errors.Rejected: "Credits and accounts",
    errors.TryLater: "Transient errors",
    stripe.StripeRejected: "Stripe events",
    bank.BankRejected: "Bank transfers",
    statements.StatementRefused: "Bank files",
}


def block() -> str:
    """A section for each family of errors."""
    app.loader.import_default_modules()
    return "\n\n".join(_section(family) for family in HEADINGS)


def _section(family: type[Exception]) -> str:
    """The family's errors, in one table for each consequence."""
    parts = [f"### {HEADINGS[family]}"]
    errors_of = defaultdict(list)
    for error in _leaves(family):
        errors_of[_follows(error)].append(error)
    for follows, same in errors_of.items():
        rows = [(code(error.__name__), prose(error)) for error in same]
        parts += [f"**{follows}**", table("error | meaning", rows)]
    return "\n\n".join(parts)


def _leaves(family: type[Exception]) -> list[type[Exception]]:
    """The errors that are raised, in the order of the code: classes without a subclass."""
    leaves: list[type[Exception]] = []
    for error in family.__subclasses__():
        if error not in HEADINGS:
            leaves += _leaves(error) or [error]
    return leaves


def _follows(error: type[Exception]) -> str:
    if error in FINAL:
        return REFUSED
    return next(FOLLOWS[base] for base in error.__mro__ if base in FOLLOWS)
