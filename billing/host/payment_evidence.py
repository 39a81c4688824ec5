"""The payments and subscriptions that keep an account from being suspended or dunned.

They are read under the accounts' locks, in a statement of its own, so that a sweep sees a payment
that came while it was under way.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from billing.context import Context
from billing.postgres import sql

#: Statuses of a payment, and of a subscription, that mean there is money.
PAID = ("succeeded", "paid")
SUBSCRIBED = ("active", "past_due")
TRIES_AT_STRIPE = ("trialing",)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence of one account's payments, from the main app's tables.

    `is_paid`: a payment came since then that was not for a top-up, and none is missing since.
    `is_subscribed`: a subscription runs at Stripe. `tries_until`: the end of a trial at Stripe.
    """

    is_paid: bool
    is_subscribed: bool
    tries_until: dt.datetime | None


_EVIDENCE = """
SELECT requested.id,
       EXISTS (SELECT FROM igny8_payments AS p
               WHERE p.tenant_id = requested.id AND p.happened_at >= requested.since
                 AND p.status = ANY(%(paid)s) AND NOT EXISTS (
                     SELECT FROM billing.purchases AS t
                     WHERE t.origin = p.external_payment_id AND t.source = 'top_up')
                 AND NOT EXISTS (
                     SELECT FROM billing.dunning_cases AS c
                     WHERE c.account_id = requested.id AND c.closed_at IS NULL
                       AND c.opened_at >= p.happened_at)),
       COALESCE(s.status = ANY(%(subscribed)s) AND s.current_period_end > %(now)s, false),
       CASE WHEN s.status = ANY(%(trying)s) AND s.current_period_end > %(now)s
            THEN s.current_period_end END
FROM unnest(%(ids)s::bigint[], %(since)s::timestamptz[]) AS requested (id, since)
LEFT JOIN igny8_subscriptions AS s ON s.tenant_id = requested.id
"""


def of(ctx: Context, since: Mapping[int, dt.datetime]) -> dict[int, Evidence]:
    """Read the evidence for these accounts; payments count from the time given for each."""
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
    return {row[0]: Evidence(*row[1:]) for row in rows}


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
    """Return those of these dunning cases that are paid.

    A case is paid when its invoice is; without an invoice, any later payment counts.
    """
    values = {"ids": sql.numbers(case_ids), "paid": list(PAID)}
    return {row[0] for row in session.connection().exec_driver_sql(_SETTLED, values)}
