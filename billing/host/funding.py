"""Who lives on what is paid for: then credits come from purchases, and the calendar rests.

An account does while a purchase of a plan runs, and while Stripe or we have a subscription of it
going: then the next payment brings the next credits, and no payment brings none. Where Stripe has
not spoken of the subscription yet, a purchase that ended of late stands for it.
"""

from collections.abc import Iterable

from billing.context import Context
from billing.postgres import sql

#: Of an account `a`, at `:now`; used by the sweeps' questions and by the audit too.
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

_COVERED_NOW = FUNDED.format(now="%(now)s")
_COVERED_ONES = f"""
SELECT a.id FROM igny8_tenants AS a WHERE a.id = ANY(%(ids)s::bigint[]) AND {_COVERED_NOW}
"""  # noqa: S608


def is_funded(ctx: Context, account_id: int) -> bool:
    """Whether the account lives on what is paid for. Call it under the account's lock."""
    return bool(funded_accounts(ctx, [account_id]))


def funded_accounts(ctx: Context, account_ids: Iterable[int]) -> set[int]:
    """Those of these accounts that live on what is paid for. Call it under their locks."""
    asked = {"ids": sql.numbers(account_ids), "now": ctx.now}
    return {row[0] for row in ctx.session.connection().exec_driver_sql(_COVERED_ONES, asked)}
