"""Tasks about credits: debits and reversals, the inbox, grants, signup grants and holds."""

import time

from billing.ledger import grants
from billing.operations import dead_letters as dead_letters_table
from billing.purchases import credits_back
from billing.renewal import signup_grant
from billing.usage import holds, post
from billing_client.messages import (
    Capture,
    Debit,
    DebitMany,
    DrainInbox,
    Grant,
    PlaceHold,
    Release,
    Reverse,
    SeedAccount,
)
from flows import sweeps
from worker import dead_letters
from worker.app import app
from worker.database import transaction
from worker.debits.inbox_drain import InboxDrain

#: Seconds that one task drains the inbox; the next doorbell continues.
DRAIN_S = 50.0


def apply_one(message: post.Message) -> dict[str, object]:
    """Apply one message in its own transaction; return the facts for the log.

    Raises the error of a rejected message, which may be replayed once its cause is gone.
    """
    with transaction() as ctx:
        (answer,) = answers = post.apply(ctx, [message])
        if not isinstance(message, Debit):
            credits_back.follow(ctx, answers)
    if answer.error is not None and answer.is_rejected:
        raise answer.error
    return {"outcome": answer.outcome, "is_repeat": answer.is_repeat}


@app.task(name=Debit.TASK, message=Debit)
def debit(message: Debit) -> dict[str, object]:
    """Take one debit, if debits are left to stock Celery; the debit reader takes batches."""
    return apply_one(message)


@app.task(name=DebitMany.TASK, message=DebitMany, bind=True)
def debit_many(self: object, message: DebitMany) -> dict[str, object]:
    """Take many debits in one transaction."""
    with transaction() as ctx:
        answers = post.apply(ctx, message.debits)
        ids = [f"{self.request.id}:{number}" for number, _ in enumerate(answers)]  # type: ignore[attr-defined]
        dead_letters_table.keep(ctx, dead_letters.from_rejected(ids, answers))
    return {"debits": len(answers)}


@app.task(name=Reverse.TASK, message=Reverse)
def reverse(message: Reverse) -> dict[str, object]:
    """Reverse a debit: give its credits back."""
    return apply_one(message)


@app.task(name=DrainInbox.TASK, message=DrainInbox, is_tick=True)
def drain_inbox(message: DrainInbox) -> dict[str, object]:  # noqa: ARG001 - a doorbell has no content
    """Apply the rows that wait in the inbox."""
    deadline, rows = time.monotonic() + DRAIN_S, 0
    drain = InboxDrain()
    while (count := drain.drain_batch()) and time.monotonic() < deadline:
        rows += count
    return {"rows": rows + count}


@app.task(name=Grant.TASK, message=Grant)
def grant(message: Grant) -> dict[str, object]:
    """Give an account credits as one lot."""
    with transaction() as ctx:
        granted = grants.apply(ctx.by("main_app"), message)
    return {"entry_id": granted.entry.id, "is_repeat": granted.is_repeat}


@app.task(name=SeedAccount.TASK, message=SeedAccount)
def seed_account(message: SeedAccount) -> dict[str, object]:
    """Give a new account its plan's first credits, once."""
    with transaction() as ctx:
        granted = signup_grant.give(ctx, message.account_id)
    return {"entry_id": granted.entry and granted.entry.id, "why_not": granted.why_not}


@app.task(name=PlaceHold.TASK, message=PlaceHold)
def place_hold(message: PlaceHold) -> dict[str, object]:
    """Place a hold, by the SQL function that the main app can call itself."""
    with transaction() as ctx:
        placed = holds.place(ctx, message)
    if error := holds.error_of(placed, message):
        raise error
    return {"outcome": placed.outcome, "reason": placed.reason}


@app.task(name=Capture.TASK, message=Capture)
def capture(message: Capture) -> dict[str, object]:
    """Capture a hold: take the credits that it reserved."""
    return apply_one(message)


@app.task(name=Release.TASK, message=Release)
def release(message: Release) -> dict[str, object]:
    """Release a hold: give back the credits that it reserved."""
    return apply_one(message)


@app.task(name="holds.expire_due", is_tick=True)
def expire_holds() -> dict[str, object]:
    """Expire the holds that are due."""
    return sweeps.counts(sweeps.until_done(credits_back.expire_holds))
