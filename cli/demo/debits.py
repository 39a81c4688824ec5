"""Debits from the main app's client: taken once each, refused, or kept as a dead letter."""

from dataclasses import dataclass

from sqlalchemy import select

from billing.context import Context
from billing.ledger import entry_rows, idempotency
from billing.usage import refusals
from billing_client import new_key
from cli.demo.stage import Outcome, Stage
from models.operations import DeadLetter
from worker.database import transaction

ABOUT = "The main app's client queues debits; a worker takes them in batches, each key once."


@dataclass(frozen=True)
class Sent:
    """A debit, the number of times it is sent under one key, and its expected outcome."""

    slug: str
    account_id: int
    operation: str
    units: int
    expected: str
    times: int = 1

    def __str__(self) -> str:
        again = f", sent {self.times} times" if self.times > 1 else ""
        return f"{self.slug}: {self.operation} x {self.units:,}{again}"


DEBITS = (
    Sent("home-g8", 29, "content_generation", 1250, "took 13 credits, 7,987 left"),
    Sent("home-g8", 29, "image_generation", 3, "took 15 credits, 7,972 left"),
    Sent("scale-account", 14, "idea_generation", 20, "took 40 credits, 7,960 left"),
    Sent("scale-account", 14, "clustering", 1, "took 10 credits, 7,950 left", times=3),
    Sent("aws-admin", 5, "image_prompt_extraction", 1, "took 2 credits, 452 left"),
    Sent("tacbit", 30, "image_generation", 19, "took 95 credits, 5 left"),
    Sent("tacbit", 30, "image_generation", 2, "refused: InsufficientCredits"),
    Sent("auto-remote", 28, "clustering", 1, "refused: InsufficientCredits"),
    Sent("home-g8", 29, "mind_reading", 1, "dead letter: UnknownOperation"),
    Sent("(no such account)", 404, "clustering", 1, "dead letter: UnknownAccount"),
)


def run(stage: Stage) -> list[Outcome]:
    """Queue each debit under a key of its own, and look up what became of the key."""
    sent = [(debit, new_key()) for debit in DEBITS]
    for debit, key in sent:
        for _ in range(debit.times):
            stage.client.debit(debit.account_id, debit.operation, units=debit.units, key=key)
    stage.settle()
    with transaction() as ctx:
        return [Outcome(str(debit), _of(ctx, key), debit.expected) for debit, key in sent]


def _of(ctx: Context, key: str) -> str:
    uuid = idempotency.as_uuid(key)
    answer = idempotency.lookup(ctx.session, [uuid]).get(uuid)
    if answer is None:
        return _dead_letter(ctx, key)
    if answer.entry_id is None:
        (error,) = refusals.by_key(ctx.session, [key]).values()
        return f"refused: {error.name} ({error})"
    entry = entry_rows.entries_by_id(ctx.session, [answer.entry_id])[answer.entry_id]
    return f"took {-entry.amount:,} credits, {entry.balance_after:,} left"


def _dead_letter(ctx: Context, key: str) -> str:
    of_key = select(DeadLetter).where(DeadLetter.arguments["key"].astext == key)
    row = ctx.session.scalars(of_key).first()
    return f"dead letter: {row.error} ({row.reason})" if row else "nothing yet"
