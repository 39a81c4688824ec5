"""The repair of credit cycles: accounts that should have credits or a cycle, and lack them.

It gives what signup, activation or the main app's own writes left out: the signup grant, a credit
cycle for an account that the main app activated, the lot of the running period.
"""

from collections.abc import Sequence
from contextlib import suppress

from billing.context import Context
from billing.errors import Rejected
from billing.host import accounts
from billing.renewal import cycles, due, signup_grant
from billing.sweep import AT_ONCE, Page, SweepResult, all_or_each


def sweep(ctx: Context, *, after: int = 0, limit: int = AT_ONCE) -> Page:
    """Repair up to `limit` accounts above id `after`; a run looks at each account once."""
    ids = due.repairs(ctx, after=after, limit=limit)
    locked = sorted(accounts.try_lock(ctx.session, ids))
    results = all_or_each(ctx, locked, _repair) if locked else []
    return Page(results, max(ids, default=None))


def _repair(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
    return [result for account_id in ids if (result := repair(ctx, account_id))]


def repair(ctx: Context, account_id: int) -> SweepResult | None:
    """Give the account what is missing; None if nothing is, or if it may get nothing."""
    with suppress(Rejected):
        return cycles.resume(ctx, account_id) or signup_grant.give(ctx, account_id).result
    return None
