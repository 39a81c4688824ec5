"""Credits that reversals and ended holds give back to lots whose money, or whose trial, is over.

A refund or a trial's end may come before or after them: the account ends the same (decision 0032).
Call it in the transaction that gave the credits back, after the act.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import groupby

from sqlalchemy import select

from billing.context import Context
from billing.errors import BalanceTooLarge
from billing.purchases import clawbacks
from billing.renewal import expiry
from billing.sweep import SweepResult
from billing.usage import holds
from billing.usage.post import Answer
from billing_client.messages import Debit
from models.purchases import Purchase


def follow(ctx: Context, answers: Iterable[Answer]) -> None:
    """Correct the accounts to which these messages gave credits back; debits give none."""
    account_ids = {
        answer.message.account_id
        for answer in answers
        if not isinstance(answer.message, Debit) and answer.error is None and not answer.is_repeat
    }
    if account_ids:
        _correct(ctx, account_ids)


def _correct(ctx: Context, account_ids: Collection[int]) -> None:
    """End trial credits that came back, and make clawbacks again that charge for such credits."""
    if ctx.policy.trial_credits_lapse:
        expiry.end_returned_trial_credits(ctx, account_ids)
    clawed = select(Purchase).where(
        Purchase.account_id.in_(account_ids), Purchase.taken_back > Purchase.cancelled
    )
    rows = ctx.session.scalars(clawed.order_by(Purchase.account_id, Purchase.id))
    for account_id, purchases in groupby(list(rows), key=lambda purchase: purchase.account_id):
        # A balance that can't hold the credits for a moment keeps the clawback as it is.
        with suppress(BalanceTooLarge), ctx.session.begin_nested():
            clawbacks.claw_back_anew(ctx, account_id, list(purchases))


def expire_holds(ctx: Context, *, limit: int = holds.EXPIRED_AT_ONCE) -> list[SweepResult]:
    """Expire up to `limit` holds that are due, and correct their accounts. Safe to repeat."""
    expired = holds.sweep(ctx, limit=limit)
    if expired:
        _correct(ctx, {result.account_id for result in expired})
    return expired
