"""Money that is taken back: its transfer is undone, once, whichever of the two came first."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.bank import allocate, undo
from billing.bank.matching import rows as match_rows
from billing.bank.matching.rows import Undecided
from billing.bank.return_links import Original, Returned, link, names_of
from billing.bank.review import request
from billing.bank.transfers import parts_of
from billing.context import Context
from billing.events import outbox
from models.transfers import Transfer

ACTOR = "rule"
RULE = "R"

#: What came on the account in this currency; a return shares an identifier with what it undoes.
_EARLIER = """
SELECT t.id, t.place, t.amount_minor, t.reversed_by IS NOT NULL AS is_reversed,
       l.amount_minor AS line_minor, w.payload
FROM billing.transfers AS t
JOIN billing.bank_lines AS l ON l.key = t.line
JOIN billing.line_wordings AS w ON w.line = t.line
WHERE t.account = :account AND t.currency = :currency AND t.amount_minor > 0
  AND t.booking_date BETWEEN CAST(:day AS date) - 400 AND CAST(:day AS date) + 7
  AND jsonb_path_query_array(w.payload, '$.** ? (@.type() == "string")') ?| :names
"""


def waiting(session: Session) -> list[Undecided]:
    """Returns that have not found what they undo, those whose original came late among them."""
    return [one for one in match_rows.undecided(session) if one.is_return]


def settle(ctx: Context, found: Undecided) -> bool:
    """Undo what a return takes back, or say why a person must; False if nothing has changed.

    Both transfers are locked, the lower id first.
    """
    incoming = found.incoming
    returned = _original(ctx.session, found)
    ids = sorted({incoming.id, *([returned.original] if returned.original else [])})
    locked = {id: allocate.lock(ctx.session, id) for id in ids}
    mine = locked[incoming.id]
    if mine.version != found.version or mine.state not in {"open", "waiting"}:
        return False
    if returned.original is None:
        return _leave_to_person(ctx, mine, returned)
    original = locked[returned.original]
    if original.reversed_by is not None:
        return False
    _reverse(ctx, original, mine, returned.why)
    return True


def leave_to_person(ctx: Context, found: Undecided, error: Exception) -> bool:
    """A return that could not be carried out: the account is deleted, its balance full."""
    mine = allocate.lock(ctx.session, found.incoming.id)
    why = f"a return, but {type(error).__name__}: what it took back is not undone"
    return _leave_to_person(ctx, mine, Returned(None, (), why))


def _original(session: Session, found: Undecided) -> Returned:
    names = names_of(found.payload, found.detail)
    asked = {
        "account": found.incoming.receiving,
        "currency": found.incoming.currency,
        "day": found.incoming.booking_date,
        "names": sorted(names),
    }
    rows = session.execute(text(_EARLIER), asked).all() if names else []
    return link(-found.incoming.amount_minor, names, [_as_original(row) for row in rows])


def _as_original(row: Any) -> Original:
    details = {place: detail for place, _, detail in parts_of(row.payload, row.line_minor)}
    payload = row.payload if not row.payload["details"] else {}
    names = names_of(payload, details.get(row.place, {}))
    return Original(row.id, row.amount_minor, names, row.is_reversed)


def _reverse(ctx: Context, original: Transfer, mine: Transfer, why: str) -> None:
    for transfer, outcome, other in ((original, "reversed", mine), (mine, "reverses", original)):
        evidence = {"reasons": [why], "other": other.id}
        decision_id = allocate.remember(
            ctx.by(ACTOR), transfer, rule=RULE, outcome=outcome, evidence=evidence
        )
        if outcome == "reversed":
            touched = undo.take_out(ctx, transfer, decision_id=decision_id)
        transfer.state, transfer.review = outcome, None
    original.reversed_by = mine.id
    ctx.session.flush()
    for account_id in touched:
        payload: dict[str, object] = {
            "transfer_id": original.id,
            "currency": original.currency,
            "amount_minor": original.amount_minor,
        }
        outbox.leave(ctx, "transfer.returned", account_id=account_id, payload=payload)


def _leave_to_person(ctx: Context, mine: Transfer, returned: Returned) -> bool:
    """Say why; what it may be of is frozen, so that nothing more is paid with it meanwhile."""
    if mine.state == "waiting" and mine.review == returned.why:
        return False
    allocate.remember(
        ctx.by(ACTOR),
        mine,
        rule=RULE,
        outcome="suggest",
        evidence={"reasons": [returned.why], "others": list(returned.doubtful)},
    )
    request.ask_a_person(ctx, mine, returned.why, rule=RULE)
    ctx.session.flush()
    for id in returned.doubtful:
        other = allocate.lock(ctx.session, id)
        if other.state in {"open", "waiting"}:
            other.state = "frozen"
        other.review = f"perhaps taken back by transfer {mine.id}"
        other.version += 1
    return True
