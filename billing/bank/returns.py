"""Returns: the transfer that a return takes back is found and undone, whichever came first.

A return that the bank marks is linked to one earlier transfer of the same amount that shares an
identifier with it, or that paid the invoice which it names. One that the bank does not mark must
share an identifier of the bank, for it may be our own refund. In every other case a reviewer
decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.bank import allocate, debits, transfers
from billing.bank.errors import PartsRefused
from billing.bank.matching.rows import UndecidedTransfer
from billing.bank.wordings import (
    Part,
    bank_ids_of,
    bank_mark,
    identifiers_of,
    own_wording,
    parts_of,
    return_words,
)
from billing.context import Context
from models.bank import FormatSwitch
from models.transfers import Transfer

ACTOR = "rule"
RULE = "R"
_PERHAPS = "perhaps taken back by transfer {}"

#: Earlier transfers to the account, in this currency, that have one of these identifiers somewhere.
_EARLIER = """
SELECT t.id, t.place, t.amount_minor, t.reversed_by IS NOT NULL AS is_reversed,
       l.amount_minor AS line_minor, w.payload
FROM billing.transfers AS t
JOIN billing.bank_lines AS l ON l.key = t.line
JOIN billing.line_wordings AS w ON w.line = t.line
WHERE t.account = ANY(:accounts) AND t.currency = :currency AND t.amount_minor > 0
  AND t.booking_date BETWEEN CAST(:day AS date) - 400 AND CAST(:day AS date) + 7
  AND jsonb_path_query_array(w.payload, '$.** ? (@.type() == "string")') ?| :identifiers
"""


#: Earlier transfers that paid one of these invoices, or came from this IBAN with this amount.
_RELATED = """
SELECT t.id, t.place, t.amount_minor, t.reversed_by IS NOT NULL AS is_reversed,
       l.amount_minor AS line_minor, w.payload,
       EXISTS (SELECT FROM billing.allocations AS a WHERE a.transfer_id = t.id
               AND a.transfer_invoice_id = ANY(:invoices)) AS has_paid
FROM billing.transfers AS t
JOIN billing.bank_lines AS l ON l.key = t.line
JOIN billing.line_wordings AS w ON w.line = t.line
WHERE t.account = ANY(:accounts) AND t.currency = :currency AND t.amount_minor > 0
  AND t.booking_date BETWEEN CAST(:day AS date) - 400 AND CAST(:day AS date) + 7
  AND (t.id IN (SELECT a.transfer_id FROM billing.allocations AS a
                WHERE a.transfer_invoice_id = ANY(:invoices))
       OR (t.payer_iban = :iban AND t.amount_minor = :amount))
"""


@dataclass(frozen=True, slots=True)
class Original:
    """An earlier transfer that a return may reverse.

    `has_paid`: it paid an invoice that the return names.
    """

    id: int
    amount_minor: int
    identifiers: frozenset[str]
    is_reversed: bool = False
    has_paid: bool = False


@dataclass(frozen=True, slots=True)
class ReturnLink:
    """The transfer that a return takes back, and the reason.

    `original`: its id, None if a reviewer must decide. `doubtful`: the ids of those it may be.
    `is_marked`: the bank says that it is a return.
    """

    original: int | None
    doubtful: tuple[int, ...]
    why: str
    is_marked: bool = True


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
    incoming = returned.incoming
    debit = _debit_of(returned)
    identifiers = debit.identifiers
    named = debits.named_in(debit, debits.issued_in(session, [debit]))
    formerly = select(FormatSwitch.former_number).where(FormatSwitch.number == incoming.receiving)
    accounts = [incoming.receiving, *session.scalars(formerly)]
    wanted = {
        "accounts": accounts,
        "currency": incoming.currency,
        "day": incoming.booking_date,
        "identifiers": sorted(identifiers),
        "invoices": [invoice.id for invoice in named],
        "iban": debit.detail.get("counterparty_iban"),
        "amount": -incoming.amount_minor,
    }
    rows = session.execute(text(_EARLIER), wanted).all() if identifiers else []
    related = session.execute(text(_RELATED), wanted).all()
    earlier = {row.id: _as_original(row) for row in (*rows, *related)}
    sign = bank_mark(returned.payload, returned.detail, returned.of)
    if sign is not None:
        return link(-incoming.amount_minor, identifiers, earlier.values())
    bank_ids = bank_ids_of(own_wording(returned.payload), returned.detail)
    word = return_words(returned.payload, returned.detail)
    why = (
        f"it names {named[0].reference} of {named[0].number}"
        if named
        else f"its text says {word}"
        if word
        else "a payment of its amount came from there"
    )
    return link_unmarked(-incoming.amount_minor, bank_ids, earlier.values(), why=why)


def _debit_of(returned: UndecidedTransfer) -> Part:
    incoming = returned.incoming
    return Part(
        incoming.order,
        0,
        incoming.receiving,
        incoming.currency,
        incoming.amount_minor,
        incoming.booking_date,
        returned.of,
        returned.payload,
        returned.detail,
        identifiers_of(own_wording(returned.payload), returned.detail),
    )


def _as_original(row: Any) -> Original:
    details = {place: detail for place, _, detail in parts_of(row.payload, row.line_minor)}
    identifiers = identifiers_of(own_wording(row.payload), details.get(row.place, {}))
    has_paid = bool(getattr(row, "has_paid", False))
    return Original(row.id, row.amount_minor, identifiers, row.is_reversed, has_paid)


def link(amount_minor: int, identifiers: frozenset[str], earlier: Iterable[Original]) -> ReturnLink:
    """Link a return that the bank marks, of this (positive) amount, to what it takes back."""
    originals = _not_reversed(earlier)
    sharing = [original for original in originals if identifiers & original.identifiers]
    why = "it shares an identifier and the amount"
    if not sharing:
        sharing = [original for original in originals if original.has_paid]
        why = "it names the invoice that the transfer paid, and has its amount"
    equal = [original for original in sharing if original.amount_minor == amount_minor]
    if len(equal) == 1:
        return ReturnLink(equal[0].id, (), why)
    if len(equal) > 1:
        ids = tuple(original.id for original in equal)
        return ReturnLink(None, ids, f"a return of one of {len(ids)} transfers")
    if sharing:
        ids = tuple(original.id for original in sharing)
        return ReturnLink(None, ids, "a return of another amount than what came")
    return ReturnLink(None, (), "a return of a transfer that has not come yet")


def link_unmarked(
    amount_minor: int, bank_ids: frozenset[str], earlier: Iterable[Original], *, why: str
) -> ReturnLink:
    """Link a debit that the bank does not mark: only an identifier of the bank proves it.

    A reference, a word, an IBAN or the payer's own identifier stands in our refunds too.
    """
    originals = _not_reversed(earlier)
    sharing = [original for original in originals if bank_ids & original.identifiers]
    if [original.amount_minor for original in sharing] == [amount_minor]:
        return ReturnLink(sharing[0].id, (), "it shares an identifier of the bank and the amount")
    equal = [original for original in originals if original.amount_minor == amount_minor]
    ids = tuple(original.id for original in equal)
    why += ": a return that the bank does not mark, or our own refund"
    return ReturnLink(None, ids, why, is_marked=False)


def _not_reversed(earlier: Iterable[Original]) -> list[Original]:
    originals = [original for original in earlier if not original.is_reversed]
    return sorted(originals, key=lambda original: original.id)


def _reverse(
    ctx: Context, original: Transfer, transfer: Transfer, why: str, *, actor: str = ACTOR
) -> None:
    """Undo the original, and record a decision about it and about its return."""
    evidence = {"reasons": [why], "other": transfer.id}
    decision_id = _record(ctx, original, "reversed", evidence, actor=actor)
    account_ids = allocate.take_out(ctx, original, decision_id=decision_id)
    evidence = {"reasons": [why], "other": original.id}
    _record(ctx, transfer, "reverses", evidence, actor=actor)
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
        is_undecided = other.state in {"open", "waiting"}
        if is_undecided:
            other.state = "frozen"
        if is_undecided or linked.is_marked:
            other.review = _PERHAPS.format(transfer.id)
            other.version += 1
    return True


def take_back(ctx: Context, transfer: Transfer, original_id: int, *, actor: str, why: str) -> None:
    """Undo the transfer that a locked return takes back, as a reviewer decided.

    Raises PartsRefused if it is not one of the same currency and amount, or was taken back before.
    """
    original = transfers.lock(ctx.session, original_id)
    if original.currency != transfer.currency or original.amount_minor != -transfer.amount_minor:
        raise PartsRefused(problem=f"transfer {original_id} is not of the same amount")
    if original.reversed_by is not None:
        raise PartsRefused(problem=f"transfer {original_id} was taken back before")
    _reverse(ctx, original, transfer, why, actor=actor)
    free_others(ctx, transfer)


def free_others(ctx: Context, transfer: Transfer) -> None:
    """Let the transfers that this return might have reversed be matched again."""
    of_others = select(Transfer).where(
        Transfer.account == transfer.account, Transfer.review == _PERHAPS.format(transfer.id)
    )
    for other in ctx.session.scalars(of_others.order_by(Transfer.id).with_for_update()):
        other.state = "open" if other.state == "frozen" else other.state
        other.review = None
        other.version += 1


def _record(
    ctx: Context,
    transfer: Transfer,
    outcome: str,
    evidence: dict[str, Any],
    *,
    actor: str = ACTOR,
) -> int:
    return transfers.record_decision(
        ctx, transfer, actor=actor, rule=RULE, outcome=outcome, evidence=evidence
    )
