"""Stripe's webhooks from a filled queue to the last commit: ours, and dj-stripe.

dj-stripe and Django are no dependencies of this project. Set BENCH_DJSTRIPE_PYTHON to the Python of
an environment with both; without it, that contestant is left out with a message.
"""

import json
import os
import tempfile
from pathlib import Path

import click
import sqlalchemy as sa

from bench import dj_stripe_side, ground, measure, workers
from bench.ground import LedgerDisagrees
from bench.measure import Result, Row
from bench.stack import server_pids
from bench.stencil import Stencil, stencil_of
from bench.stripe_lives import LIFE, PLAN, lives, plan_price
from billing.stripe.signature import sign
from billing_client import BillingClient
from billing_client.messages import StripeWebhook
from flows.stripe import apply as stripe_apply
from flows.stripe import receive as stripe_receive
from models.host import Account, CreditTransaction, Plan
from models.stripe import StripeEvent
from tests.billing.stripe.writing import Shop
from worker import clock
from worker.database import engine, transaction
from worker.settings import settings
from worker.transport import queues

SECRET = "whsec_of_the_bench"
CREDITS = 1000
#: The parts of the count: an event costs twenty times as much as a debit, with dj-stripe more.
PART, DJ_STRIPE_PART = 0.5, 0.05
PUSHED_AT_ONCE = 500
_OURS = ("-A", "worker.app", "worker", "-Q", StripeWebhook.QUEUE, "-c", "2", "-l", "INFO")


def run(*, count: int, rounds: int) -> Result:
    """Apply `count` / 2 events of paid months, and a part of them with dj-stripe, `rounds` times.

    Raises LedgerDisagrees, Stalled or WorkerEnded.
    """
    os.environ["BILLING_STRIPE_WEBHOOK_SECRETS"] = SECRET
    settings.cache_clear()
    open_accounts()
    stencil = _stencil()
    python = os.environ.get("BENCH_DJSTRIPE_PYTHON")
    if python is None:
        click.echo("BENCH_DJSTRIPE_PYTHON is not set: dj_stripe is left out.", err=True)
    measured: dict[str, list[Row]] = {}
    paid_months = 0
    for number in range(rounds):
        months = max(int(count * PART) // len(LIFE), 2)
        paid_months += months
        measured.setdefault("stripe_events", []).append(_drain(stencil, number, months))
        if python is not None:
            months = max(int(count * DJ_STRIPE_PART) // len(LIFE), 2)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "events"
                file.write_text("\n".join(lives(f"dj{number}", months)))
                row = dj_stripe_side.row(python, file, count=months * len(LIFE), secret=SECRET)
            measured.setdefault(row.name, []).append(row)
    _check_ledger(paid_months)
    rows = [measure.median(round_rows) for round_rows in measured.values()]
    pairs = [("stripe_events", "dj_stripe")] if python is not None else []
    return Result(rows, measure.ratios(rows, pairs))


def open_accounts() -> None:
    """Create accounts that are Stripe's customers, a plan, and the price that buys it."""
    ground.open_accounts(1)
    with engine().begin() as connection:
        if connection.execute(sa.select(Plan.id).where(Plan.slug == PLAN)).first():
            return
        plan = {"slug": PLAN, "name": PLAN, "price": 0, "max_sites": 1, "max_users": 1}
        connection.execute(sa.insert(Plan).values(**plan, included_credits=CREDITS))
        customer = sa.func.concat("cus_", Account.id)
        connection.execute(sa.update(Account).values(stripe_customer_id=customer))
    shop = Shop(now=int(clock.now().timestamp()))
    body = json.dumps(shop.event("price.created", plan_price()), separators=(",", ":"))
    outcome = stripe_apply.finish(stripe_receive.receive([_webhook(body)]))[0]
    assert outcome.state == "applied", outcome


def _webhook(body: str) -> StripeWebhook:
    now = clock.now()
    return StripeWebhook(body, sign(body.encode(), secret=SECRET, at=now), now)


def _stencil() -> Stencil:
    client = BillingClient(os.environ["REDIS_URL"])
    webhook = _webhook("{}")
    redis = queues.connection()
    return stencil_of(redis, StripeWebhook.QUEUE, lambda: client.send(webhook))


def _drain(stencil: Stencil, number: int, months: int) -> Row:
    """Fill the queue with mixed events, in order for each account, and time draining it."""
    redis = queues.connection()
    bodies = list(lives(f"r{number}", months))
    messages = [stencil.cut(_webhook(body).arguments()) for body in bodies]
    for start in range(0, len(messages), PUSHED_AT_ONCE):
        redis.lpush(StripeWebhook.QUEUE, *messages[start : start + PUSHED_AT_ONCE])

    def count_open() -> int:
        return redis.llen(StripeWebhook.QUEUE) + queues.in_hand(redis)

    with workers.running(_OURS) as pids:
        return measure.drain(
            "stripe_events",
            len(messages),
            count_open=count_open,
            workers=pids,
            servers=server_pids(),
        )


def _check_ledger(paid_months: int) -> None:
    """Check that all events are applied, each paid month's credits are granted once, and the audit."""
    while due := _waiting():
        for number in due:
            stripe_apply.apply(number)
    ground.check_ledger()
    with transaction() as ctx:
        open_ones = sa.select(sa.func.count()).where(StripeEvent.state != "applied")
        grants = sa.select(sa.func.count()).where(CreditTransaction.type == "grant")
        counted = (
            ctx.session.execute(open_ones).scalar_one(),
            ctx.session.execute(grants).scalar_one(),
        )
    if counted != (0, paid_months):
        raise LedgerDisagrees(
            f"{counted[0]} events are not applied; there are {counted[1]} grants, not {paid_months}."
        )


def _waiting() -> list[int]:
    """Return events that wait: for what comes before them, or for an account that was locked."""
    with transaction() as ctx:
        return list(
            ctx.session.scalars(
                sa.select(StripeEvent.id).where(StripeEvent.state.in_(("parked", "received")))
            )
        )
