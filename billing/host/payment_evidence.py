"""What speaks against shutting an account out: money that came, a transfer, a subscription.

Asked under the accounts' locks, in a statement of its own, at the moment of the act: what landed
while the sweep was on its way is seen.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from billing.context import Context
from billing.postgres import sql

#: How the statuses of a payment and of a subscription say that there is money.
PAID = ("succeeded", "paid")
SUBSCRIBED = ("active", "past_due")
TRIES_AT_STRIPE = ("trialing",)


@dataclass(frozen=True, slots=True)
class Evidence:
    """`is_paid`: money came since then, not for a top-up alone, and none is missing since.

    `is_subscribed`: a subscription runs at Stripe. `tries_until`: a trial at Stripe ends then.
    """

    is_paid: bool
    is_subscribed: bool
    tries_until: dt.datetime | None


_EVIDENCE = """
SELECT asked.id,
       EXISTS (SELECT FROM igny8_payments AS p
               WHERE p.tenant_id = asked.id AND p.happened_at >= asked.since
                 AND p.status = ANY(%(paid)s) AND NOT EXISTS (
                     SELECT FROM billing.purchases AS t
                     WHERE t.origin = p.external_payment_id AND t.source = 'top_up')
                 AND NOT EXISTS (
                     SELECT FROM billing.dunning_cases AS c
                     WHERE c.account_id = asked.id AND c.closed_at IS NULL
                       AND c.opened_at >= p.happened_at)),
       COALESCE(s.status = ANY(%(subscribed)s) AND s.current_period_end > %(now)s, false),
       CASE WHEN s.status = ANY(%(trying)s) AND s.current_period_end > %(now)s
            THEN s.current_period_end END
FROM unnest(%(ids)s::bigint[], %(since)s::timestamptz[]) AS asked (id, since)
LEFT JOIN igny8_subscriptions AS s ON s.tenant_id = asked.id
"""


def of(ctx: Context, since: Mapping[int, dt.datetime]) -> dict[int, Evidence]:
    """What is known of these accounts; payments count from the time given for each."""
    rows = ctx.session.connection().exec_driver_sql(
        _EVIDENCE,
        {
            "ids": sql.numbers(since),
            "since": sql.times(since.values()),
            "paid": list(PAID),
            "subscribed": list(SUBSCRIBED),
            "trying": list(TRIES_AT_STRIPE),
            "now": ctx.now,
        },
    )
    return {row[0]: Evidence(*row[1:]) for row in rows.all()}


_SETTLED = """
SELECT c.id FROM billing.dunning_cases AS c
WHERE c.id = ANY(%(ids)s::bigint[]) AND (
    EXISTS (SELECT FROM igny8_invoices AS i
            WHERE i.id = c.invoice_id AND i.status = ANY(%(paid)s))
    OR c.invoice_id IS NULL AND EXISTS (
        SELECT FROM igny8_payments AS p
        WHERE p.tenant_id = c.account_id AND p.happened_at > c.opened_at
          AND p.status = ANY(%(paid)s)))
"""


def settled(session: Session, case_ids: Iterable[int]) -> set[int]:
    """Those of these dunning cases whose money came: the invoice's, or where none is known, any."""
    rows = session.connection().exec_driver_sql(
        _SETTLED, {"ids": sql.numbers(case_ids), "paid": list(PAID)}
    )
    return {row[0] for row in rows.all()}
