"""A trial that is over: sweeps suspend the account and expire its trial credits."""

import datetime as dt
import math

from billing.context import Context
from billing.support import overview
from cli.demo.accounts import IDS, TRIAL_OVER
from cli.demo.stage import Outcome, Stage
from models.life import Trial
from worker.database import transaction

ABOUT = "Sweeps that run every minute end the trials that are over and that nobody paid for."
#: A sample account whose trial has just begun.
STILL_TRYING = "tacbit"
#: Ticks of beat, in this order. With `billing run`, beat sends each of them every minute.
TICKS = ("trials.expire_due", "credits.expire_due")
DAY = dt.timedelta(days=1)


def run(stage: Stage) -> list[Outcome]:
    """Grant an account its trial credits, then run the sweeps."""
    stage.client.seed_account(IDS[TRIAL_OVER])
    stage.settle()
    for name in TICKS:
        _tick(name)
        stage.settle()
    with transaction() as ctx:
        ended, running = _ended(ctx, TRIAL_OVER), _running(ctx, STILL_TRYING)
    on_day_16 = f"{TRIAL_OVER}: trial of 14 days, on day 16"
    on_day_1 = f"{STILL_TRYING}: trial of 14 days, on day 1"
    return [
        Outcome(on_day_16, ended, "suspended (trial_over), 2,000 credits expired"),
        Outcome(on_day_1, running, "trial goes on, 14 days left"),
    ]


def _tick(name: str) -> None:
    """Send a tick as beat does."""
    from celeryconfig import beat_schedule  # it reads the settings, which the demo makes first
    from worker.app import app

    app.send_task(name, expires=beat_schedule[name]["schedule"])


def _ended(ctx: Context, slug: str) -> str:
    account = overview.of(ctx, slug)
    why = "".join(f" ({reason})" for reason in account.suspension_reasons)
    expired = sum(-entry.amount for entry in account.entries if entry.type == "expiry")
    return f"{account.status}{why}, {expired:,} credits expired"


def _running(ctx: Context, slug: str) -> str:
    account = overview.of(ctx, slug)
    trial = ctx.session.get(Trial, account.account_id)
    if trial is None or account.status != "trial":
        return f"account {account.status}, {'trial ended' if trial else 'trial has no end'}"
    return f"trial goes on, {math.ceil((trial.ends_at - ctx.now) / DAY)} days left"
