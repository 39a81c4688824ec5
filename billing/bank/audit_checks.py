"""The invariants of bank money, as queries for the audit."""

#: (subject, facts) of each transfer or invoice whose counter is not the sum of its movements.
COUNTERS = """
SELECT 'transfer ' || t.id,
       jsonb_build_object('allocated', t.allocated_minor, 'credited', t.credited_minor)
FROM billing.transfers AS t
WHERE t.allocated_minor <> (SELECT COALESCE(sum(amount_minor), 0) FROM billing.allocations
                            WHERE transfer_id = t.id)
   OR t.credited_minor <> (SELECT COALESCE(sum(amount_minor), 0) FROM billing.unapplied_cash
                           WHERE transfer_id = t.id)
UNION ALL
SELECT 'invoice ' || i.number, jsonb_build_object('settled', i.settled_minor, 'state', i.state)
FROM billing.transfer_invoices AS i
WHERE i.settled_minor <> (SELECT COALESCE(sum(amount_minor), 0) FROM billing.allocations
                          WHERE transfer_invoice_id = i.id)
   OR (i.state = 'paid' AND i.settled_minor + i.waived_minor <> i.due_minor)
"""

#: (subject, facts) of each line that has neither a transfer nor a reason, an hour after its import.
LINE_ENDS = """
SELECT 'line ' || l.key,
       jsonb_build_object('account', l.account, 'format', l.format, 'amount', l.amount_minor,
                          'currency', l.currency, 'day', l.booking_date)
FROM billing.bank_lines AS l
WHERE l.pays_nothing IS NULL
  AND NOT EXISTS (SELECT FROM billing.transfers AS t WHERE t.line = l.key)
  AND (SELECT min(s.recorded_at) FROM billing.statement_lines AS m
       JOIN billing.statements AS s ON s.digest = m.statement WHERE m.line = l.key)
      < :now - interval '1 hour'
"""
