"""What must hold on every account after every act, beside the checks of `tests.lives`.

Each query returns (account, the facts) of what is wrong.
"""

from tests.machine.facts import FACTS, run

#: No lot was ever below 0, entry by entry.
_LOTS_BELOW_0 = """
SELECT account_id, 'lot ' || lot || ' fell to ' || min(rest) FROM (
    SELECT account_id, lot, sum(credits) OVER (PARTITION BY lot ORDER BY id) AS rest FROM moves
) AS history GROUP BY account_id, lot HAVING min(rest) < 0
"""
#: A debit takes from live lots alone. Held credits outlive their lot.
_DEAD_LOTS_USED = """
SELECT m.account_id, m.key || ' took ' || -m.credits || ' of lot ' || m.lot || ', which had expired'
FROM moves AS m JOIN billing.lots AS l ON l.id = m.lot
WHERE m.type = 'deduction' AND m.key NOT LIKE 'billing:finish:%' AND l.expires_at <= m.at
"""
#: A debit is given back once, and whole.
_REVERSED_TWICE = """
SELECT r.tenant_id, r.reference || ' was reversed to ' || sum(r.amount)
FROM igny8_credit_transactions AS r
WHERE r.tenant_id = ANY(:ids) AND r.type = 'reversal' AND r.idempotency_key LIKE 'billing:reversal:%'
GROUP BY r.tenant_id, r.reference
HAVING count(*) > 1 OR sum(r.amount) <> (
    SELECT -sum(d.amount) FROM igny8_credit_transactions AS d
    WHERE d.tenant_id = r.tenant_id AND d.type = 'deduction'
      AND d.idempotency_key IN (r.reference, 'billing:finish:' || r.reference))
"""
#: A refund charges for what was used of its lots, and no more: what it made a debt, or wrote off,
#: is spent or held, or paid an older debt when the lot came. A lot that was a bridge before has more
#: moves than it was granted.
_CHARGED_UNUSED = """
SELECT c.account_id, c.origin || ' charges ' || c.debt || ', writes off ' || c.written_off
       || ', and ' || c.used || ' were used'
FROM (
    SELECT p.account_id, p.origin,
           sum((e.metadata ->> 'debt')::bigint) AS debt,
           sum((e.metadata ->> 'written_off')::bigint) AS written_off,
           (SELECT COALESCE(-sum(m.credits), 0) FROM moves AS m JOIN bought AS b USING (lot)
            WHERE b.id = p.id AND m.type IN ('deduction', 'reversal', 'repayment')
              AND m.key NOT LIKE 'billing:take-back%')
           + GREATEST(0, (SELECT COALESCE(sum(l.granted), 0)
                          FROM billing.lots AS l JOIN bought AS b ON b.lot = l.id WHERE b.id = p.id)
                         - (SELECT COALESCE(sum(m.credits), 0)
                            FROM moves AS m JOIN bought AS b USING (lot)
                            WHERE b.id = p.id AND m.type = 'grant'))
           + (SELECT COALESCE(sum(l.held), 0) FROM billing.lots AS l JOIN bought AS b ON b.lot = l.id
              WHERE b.id = p.id) AS used,
           (SELECT COALESCE(sum(l.remaining - l.held), 0)
            FROM billing.lots AS l JOIN bought AS b ON b.lot = l.id WHERE b.id = p.id) AS free
    FROM purchases AS p
    JOIN igny8_credit_transactions AS e ON e.tenant_id = p.account_id
      AND starts_with(e.idempotency_key, 'billing:take-back:' || p.key || ':')
    WHERE e.type = 'take_back' AND NOT EXISTS (
        SELECT FROM igny8_credit_transactions AS u
        WHERE u.tenant_id = p.account_id AND u.idempotency_key = 'billing:take-back-undone:' || e.idempotency_key)
    GROUP BY p.id, p.account_id, p.origin
) AS c WHERE c.debt + c.written_off > c.used + c.free OR c.written_off > c.used
"""
#: An account that a transfer has paid for is not locked out for want of money.
_PAID_AND_LOCKED_OUT = """
SELECT b.account_id, a.status || ', and ' || b.origin || ' is paid for until ' || b.ends_at
FROM bank AS b JOIN igny8_tenants AS a ON a.id = b.account_id AND NOT a.is_deleted
JOIN billing.suspensions AS s ON s.account_id = a.id AND s.lifted_at IS NULL
WHERE a.status = 'suspended' AND s.reason IN ('payment_failed', 'trial_over')
  AND :now BETWEEN b.starts_at AND b.ends_at AND b.returned_minor = 0 AND b.taken_back = 0
"""
#: Holds and balances, as they stand.
_HELD = """
SELECT l.account_id, 'lot ' || l.id || ' holds ' || l.held || ', and its holds reserve '
       || COALESCE(h.credits, 0)
FROM billing.lots AS l LEFT JOIN (
    SELECT (part ->> 0)::bigint AS lot, sum((part ->> 1)::bigint) AS credits
    FROM billing.holds CROSS JOIN LATERAL jsonb_array_elements(lots) AS part
    WHERE state = 'held' GROUP BY 1
) AS h ON h.lot = l.id
WHERE l.held <> COALESCE(h.credits, 0)
UNION ALL
SELECT b.account_id, 'the balance is ' || b.credits || ', its lots hold ' || COALESCE(l.credits, 0)
FROM billing.books AS b LEFT JOIN (
    SELECT account_id, sum(remaining) AS credits FROM billing.lots GROUP BY 1
) AS l USING (account_id)
WHERE b.credits <> COALESCE(l.credits, 0) - b.debt
"""
_ALL = (
    _LOTS_BELOW_0,
    _DEAD_LOTS_USED,
    _REVERSED_TWICE,
    _CHARGED_UNUSED,
    _PAID_AND_LOCKED_OUT,
    _HELD,
)
_QUERY = f"""
{FACTS}
SELECT * FROM ({" UNION ALL ".join(f"({query})" for query in _ALL)}) AS wrong (account_id, what)
WHERE account_id = ANY(:ids)
"""


def wrong(now, account_ids):
    """(account id, what is wrong with it) of these accounts."""
    return run(_QUERY, now=now, ids=account_ids)
