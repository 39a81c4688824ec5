"""The review queue, the history of a transfer, and the figures of a report."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

#: Transfers that a list shows by default.
SHOWN = 100


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A transfer for a reviewer, in minor units. A decision must name its `version`."""

    id: int
    version: int
    state: str
    booking_date: dt.date
    account: str
    currency: str
    amount_minor: int
    allocated_minor: int
    credited_minor: int
    payer: str | None
    payer_iban: str | None
    text: str
    review: str | None
    rule: str | None
    reasons: tuple[str, ...]
    vetoes: tuple[str, ...]
    candidates: tuple[dict[str, Any], ...]


_WAITING = """
SELECT t.id, t.version, t.state, t.booking_date, t.account, t.currency, t.amount_minor,
       t.allocated_minor, t.credited_minor, t.payer_iban, t.review, d.rule,
       COALESCE(d.evidence, '{}') AS evidence,
       COALESCE(w.payload->'details'->t.place, w.payload) AS wording
FROM billing.transfers AS t
LEFT JOIN billing.transfer_decisions AS d ON d.id = t.decision_id
JOIN LATERAL (SELECT v.payload FROM billing.line_wordings AS v WHERE v.line = t.line
              ORDER BY v.digest LIMIT 1) AS w ON true
WHERE t.review IS NOT NULL
ORDER BY t.amount_minor DESC, t.id LIMIT :limit
"""


def waiting(session: Session, *, limit: int = SHOWN) -> list[ReviewItem]:
    """List transfers that a reviewer should look at, the largest first."""
    return [_item(row) for row in session.execute(text(_WAITING), {"limit": limit})]


def _item(row: Any) -> ReviewItem:
    references = [reference["value"] for reference in row.wording["references"]]
    return ReviewItem(
        id=row.id,
        version=row.version,
        state=row.state,
        booking_date=row.booking_date,
        account=row.account,
        currency=row.currency,
        amount_minor=row.amount_minor,
        allocated_minor=row.allocated_minor,
        credited_minor=row.credited_minor,
        payer=row.wording.get("counterparty"),
        payer_iban=row.payer_iban,
        text=" ".join([*references, *row.wording["remittance"]]),
        review=row.review,
        rule=row.rule,
        reasons=tuple(row.evidence.get("reasons", ())),
        vetoes=tuple(row.evidence.get("vetoes", ())),
        candidates=tuple(row.evidence.get("candidates", ())),
    )


@dataclass(frozen=True, slots=True)
class Figure:
    """The number and sum of the transfers, statements or credits of one kind and currency."""

    kind: str
    currency: str
    count: int
    amount_minor: int


_FIGURES = """
SELECT t.state AS kind, t.currency, count(*), sum(t.amount_minor)::bigint
FROM billing.transfers AS t GROUP BY 1, 2
UNION ALL
SELECT 'held', COALESCE(s.currency, '-'), count(*), sum(s.booked_minor)::bigint
FROM billing.statements AS s WHERE s.is_held GROUP BY 1, 2
UNION ALL
SELECT 'unapplied', u.currency, count(DISTINCT u.account_id), sum(u.amount_minor)::bigint
FROM billing.unapplied_cash AS u GROUP BY 1, 2
UNION ALL
SELECT 'refused', '-', count(*), 0
FROM billing.statement_files AS f WHERE f.state = 'refused' AND f.seen_by IS NULL
HAVING count(*) > 0
ORDER BY 1, 2
"""


def figures(session: Session) -> list[Figure]:
    """Sum up transfers by state, held statements, refused files and accounts' unapplied cash."""
    return [Figure(*row) for row in session.execute(text(_FIGURES))]


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """One decision about a transfer, with its grounds."""

    decided_at: dt.datetime
    actor: str
    rule: str
    outcome: str
    engine_version: str
    evidence: dict[str, Any]


_HISTORY = """
SELECT decided_at, actor, rule, outcome, engine_version, evidence
FROM billing.transfer_decisions WHERE transfer_id = :id ORDER BY id
"""


def history(session: Session, id: int) -> list[RecordedDecision]:
    """List every decision about a transfer, oldest first; none was ever changed."""
    return [RecordedDecision(*row) for row in session.execute(text(_HISTORY), {"id": id})]
