"""A new trial at Stripe for an account that has left its first: granted or refused, and announced.

The policy for repeated trials decides, as for trial fingerprints.
"""

import datetime as dt

from billing.context import Context
from billing.events import outbox
from billing.host import accounts
from billing.host.accounts import HostAccount
from billing.lifecycle import status
from billing.lifecycle.transitions import MONEY_REASONS
from billing.lifecycle.trials import fingerprints
from billing.lifecycle.trials import rows as trial_rows
from billing.lifecycle.trials import sweeps as trial_sweeps
from models.life import Trial


def decide(ctx: Context, account_id: int, *, ends_at: dt.datetime) -> str | None:
    """Put a cancelled or suspended account back into a trial until `ends_at`, or refuse it.

    Returns:
        granted or refused; None if there is nothing to decide: the account has access, or the
        trial is over.
    """
    account = accounts.lock(ctx.session, [account_id])[account_id]
    if account.is_system or account.status not in ("suspended", "cancelled") or ends_at <= ctx.now:
        return None
    reasons = status.suspension_reasons(ctx.session, account_id)
    is_by_app = account.status == "suspended" and not reasons
    if is_by_app or not MONEY_REASONS.issuperset(reasons):
        return "refused"  # by a person, a dispute, or the main app: a trial lifts none of them
    trial = ctx.session.get(Trial, account_id, populate_existing=True)
    is_repeated = trial is not None or account_id in fingerprints.repeated(
        ctx.session, [account_id]
    )
    is_refused = is_repeated and ctx.policy.repeated_trials == "refuse"
    if is_repeated:
        payload = {"kinds": ["account"], "accounts": [account_id], "is_refused": is_refused}
        outbox.leave(ctx, "trial.repeated", account_id=account_id, payload=payload)
    if is_refused:
        return "refused"
    _begin(ctx, account, reasons)
    trial_sweeps.begin_missing(ctx, after=account_id - 1, limit=1)
    trial = ctx.session.get_one(Trial, account_id, populate_existing=True)
    trial_rows.move(ctx, trial, ends_at=ends_at)
    return "granted"


def _begin(ctx: Context, account: HostAccount, reasons: list[str]) -> None:
    if account.status == "cancelled":
        status.change(ctx, account.id, to="trial", reason="trial_started")
    for reason in reasons:
        status.lift(ctx, account.id, reason=reason, to="trial")
