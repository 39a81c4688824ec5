"""The facts of all stories as tables that queries read: entries by lot, purchases, refunds, holds."""

import sqlalchemy as sa

from worker.database import transaction

#: `moves`: credits that an entry moved in or out of a lot. `bought`: lots that money bought, with
#: the purchase. `refunds`: clawbacks of a purchase. `plans`: purchases of a plan. `uses`: holds by
#: the app, until they ended.
FACTS = """
WITH purchases AS (
    SELECT * FROM billing.purchases WHERE account_id = ANY(:ids)
), entries AS (
    SELECT id, tenant_id AS account_id, type, idempotency_key AS key, reference, lots_used AS lots,
           created_at AS at
    FROM igny8_credit_transactions WHERE tenant_id = ANY(:ids) AND idempotency_key IS NOT NULL
), moves AS (
    SELECT e.id, e.account_id, e.type, e.key, e.reference, e.at,
           (part ->> 0)::bigint AS lot, (part ->> 1)::bigint AS credits
    FROM entries AS e CROSS JOIN LATERAL jsonb_array_elements(e.lots) AS part
), bought AS (
    SELECT l.id AS lot, p.*, l.expires_at
    FROM purchases AS p
    JOIN billing.lots AS l ON l.account_id = p.account_id AND starts_with(l.key, 'billing:bought:' || p.key || ':')
), refunds AS (
    SELECT e.*, p.id AS purchase
    FROM entries AS e
    JOIN purchases AS p ON e.account_id = p.account_id AND starts_with(e.key, 'billing:take-back:' || p.key || ':')
    WHERE e.type = 'take_back' AND (p.returned_minor > 0 OR p.plan_id IS NULL)
), renewals AS (
    SELECT * FROM entries WHERE key LIKE 'billing:renewal:%'
), bank AS (
    SELECT * FROM purchases WHERE origin LIKE 'billing:invoice:%'
), card AS (
    SELECT * FROM purchases WHERE origin NOT LIKE 'billing:%'
), uses AS (
    SELECT account_id, key_text AS key, placed_at, finished_at, state, (part ->> 0)::bigint AS lot
    FROM billing.holds CROSS JOIN LATERAL jsonb_array_elements(lots) AS part
    WHERE account_id = ANY(:ids) AND operation NOT LIKE 'billing:%' AND finished_at IS NOT NULL
)
"""


def run(query, **values):
    """The rows of a query after FACTS; `ids` are the accounts that it looks at."""
    with transaction() as ctx:
        return ctx.session.execute(sa.text(query), values).all()
