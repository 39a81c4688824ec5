"""Credits: debits of AI operations and their reversal, the inbox, grants, and first credits."""

import time

from billing.ledger import grants
from billing.renewal import signup_grant
from billing.usage import post
from billing_client.messages import (
    Debit,
    DebitMany,
    DrainInbox,
    Grant,
    Reverse,
    SeedAccount,
)
from worker.app import app
from worker.database import transaction
from worker.debits.inbox_drain import InboxDrain
from worker.debits.single import apply_one, keep_rejected

#: One task drains for so long, then leaves the rest to the next ring.
DRAIN_S = 50.0


@app.task(name=Debit.TASK, message=Debit)
def debit(message: Debit) -> dict[str, object]:
    """Take one debit: the stock worker's way; the debit reader takes many at once."""
    return apply_one(message)


@app.task(name=DebitMany.TASK, message=DebitMany, bind=True)
def debit_many(self: object, message: DebitMany) -> dict[str, object]:
    """Take many debits in one transaction."""
    with transaction() as ctx:
        answers = post.apply(ctx, message.debits)
        keep_rejected(ctx, self.request.id, answers)  # type: ignore[attr-defined]
    return {"debits": len(answers)}


@app.task(name=Reverse.TASK, message=Reverse)
def reverse(message: Reverse) -> dict[str, object]:
    """Give back what a debit took."""
    return apply_one(message)


@app.task(name=DrainInbox.TASK, message=DrainInbox, is_tick=True)
def drain_inbox(message: DrainInbox) -> dict[str, object]:  # noqa: ARG001 - a doorbell says no more
    """Do what waits in the inbox."""
    deadline, rows = time.monotonic() + DRAIN_S, 0
    drain = InboxDrain()
    while (taken := drain.drain_batch()) and time.monotonic() < deadline:
        rows += taken
    return {"rows": rows + taken}


@app.task(name=Grant.TASK, message=Grant)
def grant(message: Grant) -> dict[str, object]:
    """Give credits as a lot."""
    with transaction() as ctx:
        granted = grants.apply(ctx.by("main_app"), message)
    return {"entry_id": granted.entry.id, "is_repeat": granted.is_repeat}


@app.task(name=SeedAccount.TASK, message=SeedAccount)
def seed_account(message: SeedAccount) -> dict[str, object]:
    """Give a new account its plan's credits, once."""
    with transaction() as ctx:
        granted = signup_grant.give(ctx, message.account_id)
    return {"entry_id": granted.entry and granted.entry.id, "why_not": granted.why_not}
