"""The seams: pairs of jobs that meet on one account, how to get there, and what the database shows.

A path is a list of acts, of pauses in days, and of names of moments to wait for. `shows` is a query
for the accounts on which the jobs met in a way that matters: not what was tried, but what is in
the tables. All of it is read from rows that stay, so one look at the end is enough.
"""

from typing import NamedTuple

from tests.machine.facts import FACTS, run


class Seam(NamedTuple):
    name: str
    path: tuple
    shows: str


#: The bought lot `b` had credits when `x` happened, and an operation used some of them later.
_KEPT_AND_USED = """
    (SELECT sum(m.credits) FROM moves AS m WHERE m.lot = b.lot AND m.id < x.id) > 0
    AND EXISTS (SELECT FROM moves AS m
                WHERE m.lot = b.lot AND m.id > x.id AND m.type = 'deduction')
"""

SEAMS = (
    Seam(
        "a card payment meets an open bank invoice",
        ("announce_starter", 1, "subscribe_monthly", 2),
        """SELECT i.account_id FROM billing.transfer_invoices AS i JOIN card AS c USING (account_id)
           WHERE i.state = 'void' AND i.issued_at < c.recorded_at
             AND i.finished_at BETWEEN c.recorded_at AND c.ends_at""",
    ),
    Seam(
        "a bank payment meets a card that pays",
        ("subscribe_monthly", 1, "announce_starter", "transfer"),
        """SELECT u.account_id FROM billing.unapplied_cash AS u JOIN card AS c USING (account_id)
           WHERE u.amount_minor > 0 AND c.plan_id IS NOT NULL
             AND u.recorded_at BETWEEN c.recorded_at AND c.ends_at""",
    ),
    Seam(
        "a bought lot meets a renewal",
        ("app_activates", "buy_pack", 32, "spend_all"),
        f"SELECT x.account_id FROM renewals AS x JOIN bought AS b USING (account_id)"
        f" WHERE b.source = 'top_up' AND {_KEPT_AND_USED}",
    ),
    Seam(
        "a bought lot meets a reversal",
        ("buy_pack", "debit_half", "reverse_last", "spend_all"),
        """SELECT r.account_id FROM moves AS r JOIN bought AS b USING (account_id, lot)
           WHERE r.type = 'reversal' AND r.key LIKE 'billing:reversal:%' AND EXISTS (
               SELECT FROM moves AS m WHERE m.lot = r.lot AND m.id > r.id
                 AND m.type = 'deduction')""",
    ),
    Seam(
        "a bought lot meets a capture",
        ("buy_pack", "hold_all", "capture_part"),
        """SELECT m.account_id FROM moves AS m JOIN bought AS b USING (account_id, lot)
           WHERE m.type = 'deduction' AND m.key LIKE 'billing:finish:%'""",
    ),
    Seam(
        "a bought lot meets dunning",
        ("subscribe_monthly", "buy_pack", "card_breaks", 33, "spend_all"),
        """SELECT m.account_id FROM moves AS m JOIN bought AS b USING (account_id, lot)
           JOIN billing.dunning_cases AS d USING (account_id)
           WHERE m.type = 'deduction' AND b.recorded_at < d.opened_at
             AND m.at BETWEEN d.opened_at AND COALESCE(d.closed_at, 'infinity')""",
    ),
    Seam(
        "a bought lot meets a change of plan",
        ("app_activates", "buy_pack", 1, "app_raises_plan", 2, "spend_all"),
        f"SELECT x.account_id FROM entries AS x JOIN bought AS b USING (account_id)"
        f" WHERE x.key LIKE 'billing:plan_change:%' AND {_KEPT_AND_USED}",
    ),
    Seam(
        "a refund meets a renewal",
        ("subscribe_monthly", 33, "refund_first"),
        """SELECT r.account_id FROM refunds AS r JOIN bought AS old ON old.id = r.purchase
           JOIN bought AS new ON new.account_id = r.account_id AND new.starts_at > old.starts_at
             AND new.plan_id IS NOT NULL AND old.plan_id IS NOT NULL AND new.recorded_at < r.at
           WHERE (SELECT sum(m.credits) FROM moves AS m
                  WHERE m.lot = new.lot AND m.id < r.id) > 0""",
    ),
    Seam(
        "a refund meets a rollover",
        ("app_activates", "buy_pack", 32, "debit_some", "refund_last"),
        """SELECT r.account_id FROM refunds AS r JOIN moves AS o USING (account_id)
           WHERE o.type = 'rollover' AND o.id < r.id AND o.credits > 0
             AND (SELECT sum(m.credits) FROM moves AS m WHERE m.lot = o.lot AND m.id < r.id) > 0""",
    ),
    Seam(
        "a refund meets a reversal",
        ("buy_pack", "debit_half", "refund_last", "reverse_last"),
        """SELECT r.account_id FROM refunds AS r JOIN bought AS b ON b.id = r.purchase
           JOIN moves AS back ON back.lot = b.lot AND back.id > r.id
           WHERE back.type = 'reversal' AND back.key LIKE 'billing:reversal:%'""",
    ),
    Seam(
        "a refund meets a hold",
        ("buy_pack", "hold_some", "refund_last", "capture"),
        """SELECT r.account_id FROM refunds AS r JOIN bought AS b ON b.id = r.purchase
           JOIN uses AS u ON u.lot = b.lot AND r.at BETWEEN u.placed_at AND u.finished_at""",
    ),
    Seam(
        "a refund meets a hold meets an expiry",
        ("subscribe_monthly", "before_renewal", "hold_some", "refund_last", 0.5, "release"),
        """SELECT r.account_id FROM refunds AS r JOIN bought AS b ON b.id = r.purchase
           JOIN uses AS u ON u.lot = b.lot AND r.at BETWEEN u.placed_at AND u.finished_at
           WHERE b.expires_at <= u.finished_at""",
    ),
    Seam(
        "a bank payment meets a hold",
        ("sign_up", "announce_starter", "hold_all", "transfer", "capture"),
        """SELECT b.account_id FROM bank AS b JOIN uses AS u USING (account_id)
           WHERE b.recorded_at BETWEEN u.placed_at AND u.finished_at""",
    ),
    Seam(
        "a bank payment meets a renewal",
        ("app_activates", 32, "announce_starter", "transfer"),
        """SELECT b.account_id FROM bank AS b JOIN renewals AS r USING (account_id)
           JOIN billing.credit_calendars AS c USING (account_id)
           WHERE r.at < b.recorded_at AND c.ended_at >= b.recorded_at""",
    ),
    Seam(
        "a bank payment meets a grant",
        ("goodwill", "announce_starter", "transfer", 1, "spend_all"),
        """SELECT b.account_id FROM bank AS b JOIN billing.lots AS g USING (account_id)
           JOIN moves AS m ON m.lot = g.id AND m.type = 'deduction' AND m.at >= b.recorded_at
           WHERE g.source = 'goodwill' AND g.recorded_at < b.recorded_at""",
    ),
    Seam(
        "dunning meets a debit",
        ("subscribe_monthly", "card_breaks", 33, "debit_some", 14, "debit_some"),
        """SELECT e.account_id FROM entries AS e JOIN billing.dunning_cases AS d USING (account_id)
           WHERE e.type = 'deduction' AND e.key NOT LIKE 'billing:finish:%'
             AND e.at BETWEEN d.opened_at AND COALESCE(d.closed_at, 'infinity')""",
    ),
    Seam(
        "dunning meets a hold",
        (
            "subscribe_monthly",
            "buy_pack",
            "card_breaks",
            "before_renewal",
            "hold_some",
            0.6,
            "capture",
        ),
        """SELECT u.account_id FROM uses AS u JOIN billing.dunning_cases AS d USING (account_id)
           WHERE d.opened_at BETWEEN u.placed_at AND u.finished_at""",
    ),
    Seam(
        "a trial's end meets a debit",
        (
            "sign_up",
            "debit_some",
            "before_trial_is_over",
            "debit_some",
            2,
            "debit_some",
            "reverse_last",
        ),
        """SELECT d.account_id FROM billing.debits_without_access AS d
           JOIN billing.trials AS t USING (account_id)
           WHERE t.outcome = 'expired' AND d.reason = 'trial_over'
           UNION
           SELECT m.account_id FROM moves AS m JOIN billing.lots AS l ON l.id = m.lot
           JOIN billing.trials AS t ON t.account_id = m.account_id
           WHERE l.source = 'trial' AND m.type = 'reversal' AND m.at > t.ended_at""",
    ),
    Seam(
        "a trial's end meets a hold",
        ("sign_up", "before_trial_is_over", "hold_some", 0.5, "capture"),
        """SELECT u.account_id FROM uses AS u JOIN billing.lots AS l ON l.id = u.lot
           JOIN billing.trials AS t ON t.account_id = u.account_id
           WHERE l.source = 'trial' AND t.ended_at BETWEEN u.placed_at AND u.finished_at""",
    ),
    Seam(
        "an expired lot meets a reversal",
        ("grant_that_ends_soon", "debit_half", 2, "reverse_last"),
        """SELECT m.account_id FROM moves AS m JOIN billing.lots AS l ON l.id = m.lot
           WHERE m.type = 'reversal' AND l.expires_at < m.at""",
    ),
    Seam(
        "an expired lot meets a hold",
        ("grant_that_ends_soon", "hold_all", 0.8, "capture_part"),
        """SELECT u.account_id FROM uses AS u JOIN billing.lots AS l ON l.id = u.lot
           WHERE l.expires_at < u.finished_at AND l.expires_at > u.placed_at""",
    ),
    Seam(
        "a hold, an expiry, a renewal and a reversal",
        ("app_activates", "hold_some", "capture", "debit_some", 32, "reverse_last"),
        """SELECT account_id FROM uses
           INTERSECT SELECT account_id FROM entries WHERE type = 'expiry'
           INTERSECT SELECT account_id FROM renewals
           INTERSECT SELECT account_id FROM entries WHERE key LIKE 'billing:reversal:%'""",
    ),
    Seam(
        "matching meets a known payer",
        ("announce_starter", "transfer", "until_billed", "pay_without_reference", 1),
        """SELECT p.account_id FROM billing.transfer_decisions AS d
           JOIN billing.transfers AS t ON t.id = d.transfer_id
           JOIN billing.payers AS p ON p.iban = t.payer_iban WHERE d.rule IN ('S1', 'A6')""",
    ),
    Seam(
        "a suspension by hand meets a payment",
        ("reviewer_suspends", "subscribe_monthly", 2, "reviewer_reactivates"),
        """SELECT s.account_id FROM billing.suspensions AS s JOIN billing.purchases AS p
             USING (account_id)
           WHERE s.reason = 'manual' AND p.recorded_at > s.since
             AND p.recorded_at < COALESCE(s.lifted_at, 'infinity')""",
    ),
    Seam(
        "a suspension by the app meets a hold",
        ("buy_pack", "hold_some", "app_suspends", 0.5, "capture"),
        """SELECT u.account_id FROM uses AS u JOIN billing.status_changes AS s USING (account_id)
           WHERE s.actor = 'main_app' AND s.status_to IN ('suspended', 'cancelled')
             AND s.happened_at BETWEEN u.placed_at AND u.finished_at AND u.state = 'captured'""",
    ),
    Seam(
        "a dispute meets a reversal",
        ("buy_pack", "debit_half", "dispute_last", "reverse_last", 1, "dispute_lost"),
        """SELECT r.account_id FROM moves AS r JOIN bought AS b USING (account_id, lot)
           JOIN billing.holds AS h ON h.operation = 'billing:dispute:' || b.id
           WHERE r.type = 'reversal' AND r.key LIKE 'billing:reversal:%'
             AND r.at BETWEEN h.placed_at AND COALESCE(h.finished_at, 'infinity')""",
    ),
    Seam(
        "a deletion meets a hold",
        ("buy_pack", "hold_some", "delete", 2),
        """SELECT h.account_id FROM billing.holds AS h JOIN igny8_tenants AS a
             ON a.id = h.account_id
           WHERE a.is_deleted AND h.operation NOT LIKE 'billing:%'
             AND (h.finished_at IS NULL OR h.finished_at > a.created_at)
             AND h.state IN ('held', 'expired')""",
    ),
)
BY_NAME = {seam.name: seam for seam in SEAMS}


_REACHED = FACTS + " UNION ALL ".join(
    f"SELECT {place} AS seam, account_id FROM ({seam.shows}) AS s{place}"
    for place, seam in enumerate(SEAMS)
)


def reached(account_ids):
    """Those of these accounts on which a seam was reached, by the seam's name."""
    accounts = {seam.name: set() for seam in SEAMS}
    for place, account_id in run(_REACHED, ids=account_ids):
        accounts[SEAMS[place].name].add(account_id)
    return accounts
