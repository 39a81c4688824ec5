"""The queue of transfers that a person should look at, and the figures of a run report."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

#: Transfers that a list shows, unless told otherwise.
SHOWN = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transfer for a person, in minor units. `version` goes with whatever they decide."""

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
       t.allocated_minor, t.credited_minor, t.payer_iban, t.place, t.review, d.rule, d.evidence,
       w.payload
FROM billing.transfers AS t
LEFT JOIN billing.transfer_decisions AS d ON d.id = t.decision_id
JOIN LATERAL (SELECT v.payload FROM billing.line_wordings AS v WHERE v.line = t.line
              ORDER BY v.digest LIMIT 1) AS w ON true
WHERE t.review IS NOT NULL AND (CAST(:id AS bigint) IS NULL OR t.id = :id)
ORDER BY t.amount_minor DESC, t.id LIMIT :limit
"""


def waiting(session: Session, *, limit: int = SHOWN, id: int | None = None) -> list[Waiting]:
    """Transfers that a person should look at, the largest first."""
    rows = session.execute(text(_WAITING), {"limit": limit, "id": id}).all()
    return [_waiting(row) for row in rows]


def _waiting(row: Any) -> Waiting:
    details = row.payload["details"]
    detail = details[row.place] if row.place < len(details) else row.payload
    evidence = row.evidence or {}
    return Waiting(
        id=row.id,
        version=row.version,
        state=row.state,
        booking_date=row.booking_date,
        account=row.account,
        currency=row.currency,
        amount_minor=row.amount_minor,
        allocated_minor=row.allocated_minor,
        credited_minor=row.credited_minor,
        payer=detail.get("counterparty"),
        payer_iban=row.payer_iban,
        text=" ".join([*[one["value"] for one in detail["references"]], *detail["remittance"]]),
        review=row.review,
        rule=row.rule,
        reasons=tuple(evidence.get("reasons", ())),
        vetoes=tuple(evidence.get("vetoes", ())),
        candidates=tuple(evidence.get("candidates", ())),
    )


@dataclass(frozen=True, slots=True)
class Sum:
    """How many transfers, or statements, and how much money, of one kind and currency."""

    kind: str
    currency: str
    count: int
    amount_minor: int


_SUMS = """
SELECT t.state AS kind, t.currency, count(*), sum(t.amount_minor)::bigint
FROM billing.transfers AS t GROUP BY 1, 2
UNION ALL
SELECT 'held', COALESCE(s.currency, '-'), count(*), sum(s.booked_minor)::bigint
FROM billing.statements AS s WHERE s.is_held GROUP BY 1, 2
UNION ALL
SELECT 'unapplied', u.currency, count(DISTINCT u.account_id), sum(u.amount_minor)::bigint
FROM billing.unapplied_cash AS u GROUP BY 1, 2
ORDER BY 1, 2
"""


def sums(session: Session) -> list[Sum]:
    """By state: transfers; statements that are held; what accounts have unapplied."""
    return [Sum(*row) for row in session.execute(text(_SUMS)).all()]


@dataclass(frozen=True, slots=True)
class Told:
    """One decision about a transfer, with what it rests on."""

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


def history(session: Session, id: int) -> list[Told]:
    """Every decision about a transfer, oldest first; none of them was ever changed."""
    return [Told(*row) for row in session.execute(text(_HISTORY), {"id": id}).all()]
