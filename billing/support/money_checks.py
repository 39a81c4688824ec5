"""The invariants of money and credits: credits were paid for, and payments gave their credits.

They recompute the money from Stripe's objects and from bank allocations, not from the counters that
the clawbacks keep.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Row, text

from billing.context import Context
from billing.stripe import bills, catalog, object_rows
from billing.stripe.objects.invoice import Invoice

#: A subject and its facts.
Breach: TypeAlias = tuple[str, dict[str, object]]
#: What reading an object raises whose JSON has another shape.
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)

#: (subject, facts) of each purchase with more credits than its kept money bought. `back`: refunds,
#: lost disputes and credit notes, by the objects of the payment that they are linked to. Roundings
#: may leave a credit a lot, and a month that has hardly begun a hundredth of one.
UNPAID_CREDITS = """
WITH RECURSIVE back AS (
    SELECT id, (facts ->> 'amount')::bigint AS amount, facts ->> 'currency' AS currency
    FROM billing.stripe_objects
    WHERE kind = 'refund' AND facts ->> 'status' NOT IN ('failed', 'canceled', 'requires_action')
       OR kind = 'dispute' AND facts ->> 'status' = 'lost'
    UNION ALL
    SELECT id, (facts ->> 'amount')::bigint
               - (SELECT COALESCE(sum((refund ->> 1)::bigint), 0)
                  FROM jsonb_array_elements(facts -> 'refunds') AS refund),
           facts ->> 'currency'
    FROM billing.stripe_objects
    WHERE kind = 'credit_note' AND facts ->> 'status' <> 'void'
      AND NOT jsonb_path_exists(facts, '$.refunds[*][1] ? (@ == null)')
), reached (seed, id) AS (
    SELECT id, id FROM back
    UNION
    SELECT reached.seed, next.id FROM reached CROSS JOIN LATERAL (
        SELECT to_id AS id FROM billing.stripe_links WHERE from_id = reached.id
        UNION ALL
        SELECT from_id FROM billing.stripe_links WHERE to_id = reached.id) AS next
), paid AS (
    SELECT o.id, o.facts ->> 'currency' AS currency,
           CASE o.kind
           WHEN 'invoice' THEN (o.facts ->> 'total')::bigint - (
               SELECT COALESCE(sum(LEAST((line ->> 'amount')::bigint, 0)), 0)
               FROM jsonb_array_elements(o.facts -> 'lines') AS line)
           WHEN 'payment_intent' THEN (o.facts ->> 'received')::bigint
           ELSE (o.facts ->> 'total')::bigint END AS amount
    FROM billing.stripe_objects AS o
    WHERE o.kind IN ('invoice', 'payment_intent', 'checkout_session')
), returned AS (
    SELECT p.id, paid.amount AS paid, LEAST(sum(back.amount), paid.amount) AS back
    FROM billing.purchases AS p
    JOIN paid ON paid.id = p.origin AND paid.amount > 0
    JOIN reached ON reached.id = p.origin
    JOIN back ON back.id = reached.seed AND back.currency = paid.currency
    GROUP BY p.id, paid.amount
    UNION ALL
    SELECT p.id, i.due_minor,
           CASE i.state WHEN 'paid' THEN 0 ELSE i.due_minor - COALESCE(sum(a.amount_minor), 0) END
    FROM billing.purchases AS p
    JOIN billing.transfer_invoices AS i ON p.origin = 'billing:invoice:' || i.number
    LEFT JOIN billing.allocations AS a ON a.transfer_invoice_id = i.id
    WHERE i.due_minor > 0
    GROUP BY p.id, i.id
    UNION ALL
    SELECT id, price_minor, returned_minor + moved_minor FROM billing.purchases
    WHERE price_minor > 0 AND returned_minor + moved_minor >= price_minor
)
SELECT 'account ' || p.account_id || ' payment ' || p.origin || ' purchase ' || p.id,
       jsonb_build_object('account_id', p.account_id, 'payment', p.origin, 'given', p.granted,
                          'taken_back', p.taken_back - p.cancelled, 'paid', r.paid,
                          'returned', r.back, 'credits_too_many', p.granted
                          - (p.taken_back - p.cancelled) - share.most)
FROM returned AS r JOIN billing.purchases AS p USING (id) CROSS JOIN LATERAL (
    SELECT ceil(p.credits::numeric * p.lots * GREATEST(r.paid - r.back, 0) / r.paid) AS most
) AS share
WHERE p.granted - (p.taken_back - p.cancelled)
      > share.most + p.lots + p.credits / 100
ORDER BY p.id
"""

#: (subject, facts) of each bank invoice that was paid for a plan with credits, and gave none.
BANK_WITHOUT_PURCHASE = """
SELECT 'account ' || i.account_id || ' payment ' || i.number,
       jsonb_build_object('account_id', i.account_id, 'payment', i.number,
                          'kept_minor', i.settled_minor, 'currency', i.currency)
FROM billing.transfer_invoices AS i JOIN igny8_plans AS p ON p.id = i.plan_id
WHERE i.state = 'paid' AND i.settled_minor > 0 AND p.included_credits > 0
  AND NOT EXISTS (SELECT FROM billing.purchases AS b
                  WHERE b.origin = 'billing:invoice:' || i.number)
"""


def without_purchase(ctx: Context, *, limit: int) -> list[Breach]:
    """(subject, facts) of each paid invoice of Stripe that bought credits and did not give them.

    An invoice that can't be read is among them.
    """
    rows = ctx.session.execute(text(_INVOICES), {"most": limit}).all()
    try:
        return _without_purchase(ctx, rows)
    except UNREADABLE:
        return [breach for row in rows for breach in _of_one(ctx, row)]


def _of_one(ctx: Context, row: Row[Any]) -> list[Breach]:
    try:
        return _without_purchase(ctx, [row])
    except UNREADABLE as error:
        problem = f"its facts can't be read: {type(error).__name__} {error}"
        facts = {"table": "billing.stripe_objects", "row": row.id, "problem": problem}
        subject = f"account {row.account_id} payment {row.id}"
        return [(subject, {"account_id": row.account_id, **facts})]


def _without_purchase(ctx: Context, rows: Sequence[Row[Any]]) -> list[Breach]:
    invoices = object_rows.read_all(ctx.session, [row.id for row in rows])
    prices = catalog.load(ctx.session, invoices)
    by_id = {row.id: row for row in rows}
    breaches: list[Breach] = []
    for invoice in invoices:
        assert isinstance(invoice, Invoice), "the query asks for invoices"
        sold = bills.sold(invoice, prices)
        if sold:
            account_id = by_id[invoice.id].account_id
            facts = {
                "account_id": account_id,
                "payment": invoice.id,
                "kept_minor": by_id[invoice.id].kept,
                "currency": invoice.currency,
                "credits_missing": sum([item.credits * item.lots for item in sold]),
            }
            breaches.append((f"account {account_id} payment {invoice.id}", facts))
    return breaches


#: Paid invoices of known accounts that have no purchase, and no event that waits for a person.
_INVOICES = """
SELECT o.id, o.account_id, (o.facts ->> 'paid')::bigint AS kept
FROM billing.stripe_objects AS o
JOIN igny8_tenants AS a ON a.id = o.account_id AND NOT a.is_deleted
WHERE o.kind = 'invoice' AND o.facts ->> 'status' = 'paid' AND (o.facts ->> 'paid')::bigint > 0
  AND NOT EXISTS (SELECT FROM billing.purchases AS p WHERE p.origin = o.id)
  AND NOT EXISTS (SELECT FROM billing.stripe_events AS e
                  WHERE e.object_id = o.id AND e.state IN ('parked', 'failed'))
ORDER BY o.id LIMIT :most
"""
