"""Returns: the transfer that a return takes back is found and undone, whichever came first.

A return is linked to one earlier transfer of the same amount that shares an identifier with it. If
several fit, or the amount differs, a reviewer decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.bank import allocate, transfers
from billing.bank.transfers import UndecidedTransfer, parts_of
from billing.context import Context
from billing.statements.references import drop_placeholder, is_usable_bank_id
from models.transfers import Transfer

ACTOR = "rule"
RULE = "R"

#: The identifiers of a line or a transaction. `corrects` names the one that it undoes.
_IDENTIFIERS = (
    "uetr",
    "transaction_id",
    "bank_reference",
    "detail_bank_reference",
    "customer_reference",
    "end_to_end_id",
)
#: Earlier transfers to the account, in this currency, that have one of these identifiers somewhere.
_EARLIER = """
SELECT t.id, t.place, t.amount_minor, t.reversed_by IS NOT NULL AS is_reversed,
       l.amount_minor AS line_minor, w.payload
FROM billing.transfers AS t
JOIN billing.bank_lines AS l ON l.key = t.line
JOIN billing.line_wordings AS w ON w.line = t.line
WHERE t.account = :account AND t.currency = :currency AND t.amount_minor > 0
  AND t.booking_date BETWEEN CAST(:day AS date) - 400 AND CAST(:day AS date) + 7
  AND jsonb_path_query_array(w.payload, '$.** ? (@.type() == "string")') ?| :identifiers
"""


@dataclass(frozen=True, slots=True)
class Original:
    """An earlier transfer that a return may reverse."""

    id: int
    amount_minor: int
    identifiers: frozenset[str]
    is_reversed: bool = False


@dataclass(frozen=True, slots=True)
class ReturnLink:
    """The transfer that a return takes back, and the reason.

    `original`: its id, None if a reviewer must decide. `doubtful`: the ids of those it may be.
    """

    original: int | None
    doubtful: tuple[int, ...]
    why: str


def settle(ctx: Context, returned: UndecidedTransfer) -> bool:
    """Undo the transfer that a return takes back, or leave it to a reviewer; False if no change.

    Both transfers are locked, the lower id first.
    """
    linked = _find(ctx.session, returned)
    ids = {returned.incoming.id} | ({linked.original} if linked.original else set())
    locked = {id: transfers.lock(ctx.session, id) for id in sorted(ids)}
    transfer = locked[returned.incoming.id]
    if transfer.version != returned.version or transfer.state not in {"open", "waiting"}:
        return False
    if linked.original is None:
        return _leave_to_reviewer(ctx, transfer, linked)
    original = locked[linked.original]
    if original.reversed_by is not None:
        return False
    _reverse(ctx, original, transfer, linked.why)
    return True


def leave_to_reviewer(ctx: Context, returned: UndecidedTransfer, error: Exception) -> bool:
    """Leave a return to a reviewer because undoing its original failed; False if no change."""
    transfer = transfers.lock(ctx.session, returned.incoming.id)
    why = f"a return, but {type(error).__name__}: the transfer that it takes back is not undone"
    return _leave_to_reviewer(ctx, transfer, ReturnLink(None, (), why))


def _find(session: Session, returned: UndecidedTransfer) -> ReturnLink:
    identifiers = identifiers_of(returned.payload, returned.detail)
    wanted = {
        "account": returned.incoming.receiving,
        "currency": returned.incoming.currency,
        "day": returned.incoming.booking_date,
        "identifiers": sorted(identifiers),
    }
    rows = session.execute(text(_EARLIER), wanted).all() if identifiers else []
    earlier = [_as_original(row) for row in rows]
    return link(-returned.incoming.amount_minor, identifiers, earlier)


def _as_original(row: Any) -> Original:
    details = {place: detail for place, _, detail in parts_of(row.payload, row.line_minor)}
    payload = row.payload if not row.payload["details"] else {}
    identifiers = identifiers_of(payload, details.get(row.place, {}))
    return Original(row.id, row.amount_minor, identifiers, row.is_reversed)


def identifiers_of(payload: Mapping[str, Any], detail: Mapping[str, Any]) -> frozenset[str]:
    """The identifiers that can tell a payment from others, without placeholders."""
    texts = [wording.get(name) for wording in (payload, detail) for name in _IDENTIFIERS]
    texts.append(payload.get("corrects"))
    return frozenset(
        text.strip()
        for text in texts
        if text and drop_placeholder(text) and is_usable_bank_id(text)
    )


def link(amount_minor: int, identifiers: frozenset[str], earlier: Iterable[Original]) -> ReturnLink:
    """Link a return of this (positive) amount to the transfer that it takes back."""
    sharing = sorted(
        (
            original
            for original in earlier
            if identifiers & original.identifiers and not original.is_reversed
        ),
        key=lambda original: original.id,
    )
    equal = [original for original in sharing if original.amount_minor == amount_minor]
    if len(equal) == 1:
        return ReturnLink(equal[0].id, (), "it shares an identifier and the amount")
    if len(equal) > 1:
        ids = tuple(original.id for original in equal)
        return ReturnLink(None, ids, f"a return of one of {len(ids)} transfers")
    if sharing:
        ids = tuple(original.id for original in sharing)
        return ReturnLink(None, ids, "a return of another amount than what came")
    return ReturnLink(None, (), "a return of a transfer that has not come yet")


def _reverse(ctx: Context, original: Transfer, transfer: Transfer, why: str) -> None:
    """Undo the original, and record a decision about it and about its return."""
    decision_id = _record(ctx, original, "reversed", {"reasons": [why], "other": transfer.id})
    account_ids = allocate.take_out(ctx, original, decision_id=decision_id)
    _record(ctx, transfer, "reverses", {"reasons": [why], "other": original.id})
    original.state, original.review, original.reversed_by = "reversed", None, transfer.id
    transfer.state, transfer.review = "reverses", None
    ctx.session.flush()
    for account_id in account_ids:
        transfers.leave_event(ctx, "transfer.returned", original, account_id=account_id)


def _leave_to_reviewer(ctx: Context, transfer: Transfer, linked: ReturnLink) -> bool:
    """Request a review; freeze the transfers that it may reverse, so that they pay nothing."""
    if transfer.state == "waiting" and transfer.review == linked.why:
        return False
    _record(ctx, transfer, "suggest", {"reasons": [linked.why], "others": list(linked.doubtful)})
    transfers.request_review(ctx, transfer, linked.why, rule=RULE)
    ctx.session.flush()
    for id in linked.doubtful:
        other = transfers.lock(ctx.session, id)
        if other.state in {"open", "waiting"}:
            other.state = "frozen"
        other.review = f"perhaps taken back by transfer {transfer.id}"
        other.version += 1
    return True


def _record(ctx: Context, transfer: Transfer, outcome: str, evidence: dict[str, Any]) -> int:
    return transfers.record_decision(
        ctx, transfer, actor=ACTOR, rule=RULE, outcome=outcome, evidence=evidence
    )
