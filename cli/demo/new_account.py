"""The signup grant of a new account: its plan's credits, once, for any number of requests."""

from billing.context import Context
from billing.support import overview
from cli.demo.accounts import IDS, NEW_CUSTOMER
from cli.demo.stage import Outcome, Stage
from worker.database import transaction

ABOUT = "The main app asks for the credits of a new account; its plan says how many."
#: A sample account that already had credits when the worker took over.
OLD_CUSTOMER, OLD_CUSTOMER_ID = "scale-account", 14
TIMES = 2


def run(stage: Stage) -> list[Outcome]:
    """Request the signup grant of a new account twice, and of an account that needs none."""
    for _ in range(TIMES):
        stage.client.seed_account(IDS[NEW_CUSTOMER])
    stage.client.seed_account(OLD_CUSTOMER_ID)
    stage.settle()
    with transaction() as ctx:
        new, old = _grants(ctx, NEW_CUSTOMER), _grants(ctx, OLD_CUSTOMER)
    sent = f"{NEW_CUSTOMER}: seed_account, sent {TIMES} times"
    return [
        Outcome(sent, new, "granted 2,000 credits, 2,000 left"),
        Outcome(f"{OLD_CUSTOMER}: seed_account, had credits", old, "nothing granted"),
    ]


def _grants(ctx: Context, slug: str) -> str:
    account = overview.of(ctx, slug)
    amounts = [entry.amount for entry in account.entries if entry.type == "grant"]
    if not amounts:
        return "nothing granted"
    granted = " and ".join(f"{amount:,}" for amount in amounts)
    return f"granted {granted} credits, {account.credits:,} left"
