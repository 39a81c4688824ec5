"""The ways an account is funded, and until when: for credit cycles, status and dunning.

An account is funded while a purchase of a plan runs, and while it has a subscription at Stripe or
by bank transfer: then each payment brings the next credits, and its monthly credit cycle is paused.
Where Stripe has not sent the subscription yet, a purchase of a plan that ended recently stands for
it. `ways` tells card and bank apart, so that neither ends or overwrites the other.
"""

import datetime as dt
from collections.abc import Iterable
from typing import NamedTuple

from billing.context import Context
from billing.postgres import sql

#: The condition, of an account `a` at `{now}`; the queries of the sweeps use it too.
FUNDED = """(
    EXISTS (SELECT FROM billing.purchases AS p
            WHERE p.account_id = a.id AND p.plan_id IS NOT NULL AND p.ends_at > {now}
              AND p.reduced < p.credits)
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

#: The same, of an account `a` at the time of the act: `now` of the statement's values.
FUNDED_NOW = FUNDED.format(now="%(now)s")
_FUNDED_OF = f"""
SELECT a.id FROM igny8_tenants AS a WHERE a.id = ANY(%(ids)s::bigint[]) AND {FUNDED_NOW}
"""  # noqa: S608


def funded(ctx: Context, account_ids: Iterable[int]) -> set[int]:
    """Return those of these accounts that something funds. Call it under their locks."""
    values = {"ids": sql.numbers(account_ids), "now": ctx.now}
    return {row[0] for row in ctx.session.connection().exec_driver_sql(_FUNDED_OF, values)}


class Funding(NamedTuple):
    """The end of what each way of paying funds; None for a way that does not fund the account now.

    Attributes:
        card_until: The end of a running period at Stripe.
        card_since: The start of its subscription, or of its first payment.
        bank_until: The end of a period that a bank transfer paid for.
    """

    card_until: dt.datetime | None = None
    card_since: dt.datetime | None = None
    bank_until: dt.datetime | None = None

    @property
    def until(self) -> dt.datetime | None:
        """The end of all that is paid for; None if nothing is."""
        return max(filter(None, (self.card_until, self.bank_until)), default=None)


NOT_FUNDED = Funding()

# A purchase whose money went back whole, or that a change of plan ended, funds nothing any more.
_PAID = """
billing.purchases AS p WHERE p.account_id = a.id AND p.plan_id IS NOT NULL
    AND p.ends_at > %(now)s AND p.taken_back < p.credits::bigint * p.lots
    AND p.reduced < p.credits
"""
_WAYS = f"""
SELECT a.id, card.until, card.since, GREATEST(
    (SELECT max(p.ends_at) FROM {_PAID} AND p.origin LIKE 'billing:%%'),
    (SELECT s.current_period_end FROM igny8_subscriptions AS s
     WHERE s.tenant_id = a.id AND s.payment_method = 'bank_transfer'
       AND s.external_payment_id LIKE 'billing:%%' AND s.status = 'active'
       AND s.current_period_end > %(now)s))
FROM igny8_tenants AS a CROSS JOIN LATERAL (
    SELECT max(until) AS until, min(since) AS since FROM (
        SELECT to_timestamp((o.facts->>'end')::bigint) AS until,
               to_timestamp((o.facts->>'created')::bigint) AS since
        FROM billing.stripe_objects AS o
        WHERE o.account_id = a.id AND o.kind = 'subscription' AND o.facts->>'status' = 'active'
        UNION ALL
        SELECT p.ends_at, p.recorded_at FROM {_PAID} AND p.origin NOT LIKE 'billing:%%'
            AND NOT EXISTS (SELECT FROM billing.stripe_objects AS o
                            WHERE o.account_id = a.id AND o.kind = 'subscription')) AS paid
    WHERE until > %(now)s) AS card
WHERE a.id = ANY(%(ids)s::bigint[])
"""  # noqa: S608


def ways(ctx: Context, account_ids: Iterable[int]) -> dict[int, Funding]:
    """Read how these accounts are funded, by account. Call it under their locks."""
    values = {"ids": list(account_ids), "now": ctx.now}
    rows = ctx.session.connection().exec_driver_sql(_WAYS, values)
    return {account_id: Funding(*funding) for account_id, *funding in rows}


def way(ctx: Context, account_id: int) -> Funding:
    """Read how one account is funded. Call it under its lock."""
    return ways(ctx, [account_id]).get(account_id, NOT_FUNDED)


_OTHER_SUBSCRIPTION = """
SELECT EXISTS (SELECT FROM billing.stripe_objects AS o
               WHERE o.account_id = %(account_id)s AND o.kind = 'subscription'
                 AND o.facts->>'status' = 'active' AND o.id IS DISTINCT FROM %(subscription)s)
"""


def by_other_subscription(ctx: Context, account_id: int, subscription: str | None) -> bool:
    """Whether another subscription at Stripe than this one is active. None: any is another."""
    values = {"account_id": account_id, "subscription": subscription}
    connection = ctx.session.connection()
    return bool(connection.exec_driver_sql(_OTHER_SUBSCRIPTION, values).scalar_one())
