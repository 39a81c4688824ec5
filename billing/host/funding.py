"""Whether a purchase funds an account; if so, its monthly credit cycle is paused.

An account is funded while a purchase of a plan runs, and while it has a subscription at Stripe or
by bank transfer: then each payment brings the next credits. Where Stripe has not sent the
subscription yet, a purchase of a plan that ended recently stands for it.
"""

from collections.abc import Iterable

from billing.context import Context

#: The condition, of an account `a` at `{now}`; the queries of the sweeps use it too.
FUNDED = """(
    EXISTS (SELECT FROM billing.purchases AS p
            WHERE p.account_id = a.id AND p.plan_id IS NOT NULL AND p.ends_at > {now})
    OR EXISTS (SELECT FROM billing.stripe_objects AS o
               WHERE o.account_id = a.id AND o.kind = 'subscription'
                 AND o.facts->>'status' IN ('trialing', 'active', 'past_due', 'unpaid', 'paused'))
    OR EXISTS (SELECT FROM billing.purchases AS p
               WHERE p.account_id = a.id AND p.plan_id IS NOT NULL
                 AND p.ends_at > {now}::timestamptz - interval '35 days')
       AND NOT EXISTS (SELECT FROM billing.stripe_objects AS o
                       WHERE o.account_id = a.id AND o.kind = 'subscription')
    OR EXISTS (SELECT FROM igny8_subscriptions AS s
               WHERE s.tenant_id = a.id AND s.payment_method = 'bank_transfer'
                 AND s.external_payment_id LIKE 'billing:%%' AND s.status = 'active'))"""

_FUNDED_NOW = FUNDED.format(now="%(now)s")
_FUNDED_ACCOUNTS = f"""
SELECT a.id FROM igny8_tenants AS a WHERE a.id = ANY(%(ids)s::bigint[]) AND {_FUNDED_NOW}
"""  # noqa: S608


def is_funded(ctx: Context, account_id: int) -> bool:
    """Whether a purchase funds the account. Call it under the account's lock."""
    return bool(funded_accounts(ctx, [account_id]))


def funded_accounts(ctx: Context, account_ids: Iterable[int]) -> set[int]:
    """Return those of these accounts that purchases fund. Call it under their locks."""
    values = {"ids": list(account_ids), "now": ctx.now}
    return {row[0] for row in ctx.session.connection().exec_driver_sql(_FUNDED_ACCOUNTS, values)}
