"""Transfers: split from booked lines, read for matching, locked, and left to a reviewer.

The line is the money. Its transactions only split it, and only where they add up to it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from billing.bank import debits, line_ends, rewordings, wordings
from billing.bank.debits import Part
from billing.bank.errors import TransferChanged, UnknownTransfer
from billing.bank.matching.types import ENGINE_VERSION, IncomingTransfer
from billing.bank.return_signs import bank_mark
from billing.bank.wordings import parts_of
from billing.context import Context
from billing.events import outbox
from models.transfers import Decision, Transfer

#: Lines that one transaction splits.
SPLIT_AT_ONCE = 500
#: Transfers that one matching batch takes: a few seconds of work, and an ordinary day's transfers.
MATCH_AT_ONCE = 5_000
#: Lines without an end of accounts that are ours, in the format in which the account recognises
#: money on their day.
_UNSPLIT_LINES = f"""
SELECT l.key::text, l.account, l.currency, l.amount_minor, l.booking_date, l.format, b.customer_id,
       (SELECT w.payload FROM billing.line_wordings AS w WHERE w.line = l.key
        ORDER BY w.digest LIMIT 1) AS payload
FROM billing.bank_lines AS l
JOIN billing.bank_accounts AS b ON b.number = l.account AND b.currency = l.currency
WHERE NOT l.is_split AND l.pays_nothing IS NULL AND l.status = 'BOOK'
  AND l.booking_date IS NOT NULL AND l.format = {line_ends.FORMAT_IN_FORCE}
ORDER BY l.key LIMIT :limit FOR UPDATE OF l SKIP LOCKED
"""  # noqa: S608


def split_lines(ctx: Context, *, limit: int = SPLIT_AT_ONCE) -> int:
    """Give lines their end: transfers, or the reason why they pay nothing.

    Return the number of lines that were split into transfers, or could have been.
    """
    line_ends.explain(ctx.session)
    lines = ctx.session.execute(text(_UNSPLIT_LINES), {"limit": limit}).all()
    same = rewordings.find(ctx.session, [line.key for line in lines])
    parts = [part for line in lines if line.key not in same for part in _parts(line)]
    payments = [part for part in parts if part.amount_minor > 0]
    customer_ids = {(line.account, line.currency): line.customer_id for line in lines}
    _insert(ctx, payments, customer_ids)
    debits_by_sign = [part for part in parts if part.amount_minor < 0]
    returns = debits.returns_among(ctx.session, debits_by_sign)
    _insert(ctx, returns, customer_ids)
    line_ends.finish(ctx.session, [line.key for line in lines], reworded=set(same))
    early = debits.early_returns(ctx.session, payments)
    if not early:
        return len(lines)
    line_ends.split_again(ctx.session, early)
    return len(lines) + split_lines(ctx, limit=limit)


def _parts(line: Any) -> list[Part]:
    return [
        Part(
            line.key,
            place,
            line.account,
            line.currency,
            amount,
            line.booking_date,
            line.format,
            line.payload,
            detail,
        )
        for place, amount, detail in parts_of(line.payload, line.amount_minor)
    ]


def _insert(
    ctx: Context, parts: Sequence[Part], customer_ids: Mapping[tuple[str, str], int | None]
) -> None:
    """Make the transfers of these transactions."""
    rows = [
        {
            "line": part.line,
            "place": part.place,
            "account": part.account,
            "currency": part.currency,
            "amount_minor": part.amount_minor,
            "booking_date": part.booking_date,
            "payer_iban": part.detail.get("counterparty_iban"),
            "customer_id": customer_ids[part.account, part.currency],
            "recorded_at": ctx.now,
        }
        for part in parts
    ]
    if rows:
        ctx.session.execute(upsert(Transfer).on_conflict_do_nothing(), rows)


#: Transfers without a reviewer's decision whose line stands in a statement that is not held.
#: `payload`: the line's first wording. `notice`: the same payment as another format words it.
#: `twin`: a transfer of the account's other format, near the day on which the format changes.
_UNDECIDED = """
SELECT t.id, t.version, t.line::text, t.place, t.account, t.currency, t.amount_minor,
       t.booking_date, t.payer_iban, t.customer_id, t.state, l.amount_minor AS line_minor,
       l.format, w.payload, w.wordings, e.payload AS notice,
       (SELECT min(o.id) FROM billing.bank_format_switches AS c
        JOIN billing.transfers AS o ON o.currency = c.currency AND o.account = CASE
            WHEN t.booking_date >= c.from_day THEN c.former_number ELSE c.number END
        WHERE c.currency = t.currency AND t.account = CASE
            WHEN t.booking_date >= c.from_day THEN c.number ELSE c.former_number END
          AND t.booking_date BETWEEN c.from_day - 7 AND c.from_day + 7
          AND (o.booking_date >= c.from_day) <> (t.booking_date >= c.from_day)
          AND o.amount_minor = t.amount_minor
          AND o.booking_date BETWEEN t.booking_date - 7 AND t.booking_date + 7
          AND (o.payer_iban = t.payer_iban OR o.payer_iban IS NULL OR t.payer_iban IS NULL)
       ) AS twin
FROM billing.transfers AS t
JOIN billing.bank_lines AS l ON l.key = t.line
JOIN LATERAL (SELECT (array_agg(v.payload ORDER BY v.digest))[1] AS payload, count(*) AS wordings
              FROM billing.line_wordings AS v WHERE v.line = t.line) AS w ON true
LEFT JOIN LATERAL (
    SELECT min(v.payload::text)::jsonb AS payload
    FROM billing.bank_lines AS o JOIN billing.line_wordings AS v ON v.line = o.key
    WHERE o.account = l.account AND o.bank_reference = l.bank_reference AND o.key <> l.key
      AND o.format <> l.format AND o.amount_minor = l.amount_minor AND o.currency = l.currency
      AND o.booking_date = l.booking_date
    HAVING count(*) = 1) AS e ON true
WHERE t.state IN ('open', 'waiting')
  AND NOT EXISTS (SELECT FROM billing.transfer_decisions AS d
                  WHERE d.id = t.decision_id AND d.actor <> 'rule')
  AND EXISTS (SELECT FROM billing.statement_lines AS s
              JOIN billing.statements AS st ON st.digest = s.statement
              WHERE s.line = t.line AND NOT st.is_held)
ORDER BY t.state <> 'open', t.booking_date, t.id LIMIT :limit
"""


class UndecidedTransfer(NamedTuple):
    """A transfer as matching sees it, with its version and the bank's words about it.

    `is_return`: money that went, perhaps a return. `of`: the format of its line.
    """

    incoming: IncomingTransfer
    version: int
    payload: dict[str, Any]
    detail: dict[str, Any]
    is_return: bool
    of: str = ""


def undecided(session: Session, *, limit: int = MATCH_AT_ONCE) -> list[UndecidedTransfer]:
    """Read the transfers that rules may decide: not held, and not decided by a reviewer.

    New ones come first, so that a long review queue never delays them. After a reviewer's decision,
    even if it was undone since, no rule touches a transfer again.
    """
    return [_undecided(row) for row in session.execute(text(_UNDECIDED), {"limit": limit})]


def _undecided(row: Any) -> UndecidedTransfer:
    details = {place: detail for place, _, detail in parts_of(row.payload, row.line_minor)}
    detail = details.get(row.place, {})
    notice = row.notice if row.notice and not row.notice["details"] else {}
    is_marked = bank_mark(row.payload, detail, row.format) is not None
    incoming = IncomingTransfer(
        id=row.id,
        order=f"{row.line}/{row.place:06d}",
        amount_minor=row.amount_minor,
        currency=row.currency,
        booking_date=row.booking_date,
        receiving=row.account,
        structured=tuple(wordings.references(detail, notice)),
        texts=tuple(wordings.texts(detail, notice)),
        payer_name=detail.get("counterparty") or notice.get("counterparty"),
        payer_iban=detail.get("counterparty_iban") or notice.get("counterparty_iban"),
        virtual_owner=row.customer_id,
        doubts=tuple(_doubts(row, is_marked=is_marked)),
    )
    return UndecidedTransfer(
        incoming, row.version, row.payload, detail, row.amount_minor < 0, row.format
    )


def _doubts(row: Any, *, is_marked: bool) -> list[str]:
    doubts = []
    if row.wordings > 1:
        doubts.append("two statements say different things about this line")
    if row.payload["details"] and not row.payload["split_agrees"]:
        doubts.append("a batch whose transactions do not add up to it")
    elif not row.payload["split_agrees"]:
        doubts.append("its amount is stated in another way inside the line")
    if row.amount_minor > 0 and is_marked:
        doubts.append("the bank marks it as a reversal or a return")
    if row.twin:
        doubts.append(f"transfer {row.twin} is perhaps the same payment, in the other format")
    return doubts


def lock(session: Session, transfer_id: int, *, version: int | None = None) -> Transfer:
    """Lock and return the transfer, after any decision that is being written now.

    Raises UnknownTransfer, or TransferChanged if it is not at this version.
    """
    row = (
        select(Transfer)
        .where(Transfer.id == transfer_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    transfer = session.scalars(row).first()
    if transfer is None:
        raise UnknownTransfer(transfer_id=transfer_id)
    if version is not None and transfer.version != version:
        raise TransferChanged(transfer_id=transfer_id, version=transfer.version)
    return transfer


def record_decision(
    ctx: Context,
    transfer: Transfer | None,
    *,
    actor: str,
    rule: str,
    outcome: str,
    evidence: Mapping[str, Any],
) -> int:
    """Record a decision and return its id; a locked transfer gets its next version."""
    decision_id = ctx.session.execute(
        insert(Decision)
        .values(
            transfer_id=transfer.id if transfer else None,
            rule=rule,
            outcome=outcome,
            evidence=dict(evidence),
            engine_version=ENGINE_VERSION,
            actor=actor,
            decided_at=ctx.now,
        )
        .returning(Decision.id)
    ).scalar_one()
    if transfer is not None:
        transfer.decision_id = decision_id
        transfer.version += 1
    return decision_id


def request_review(ctx: Context, transfer: Transfer, reason: str | None, *, rule: str) -> None:
    """Let a locked transfer wait for a reviewer; leave `transfer.needs_review` the first time.

    The event belongs to no account, because the owner of the money is not known yet.
    """
    is_first_time = transfer.state == "open"
    transfer.state, transfer.review = "waiting", reason
    if is_first_time:
        leave_event(
            ctx,
            "transfer.needs_review",
            transfer,
            account_id=None,
            version=transfer.version,
            rule=rule,
            why=reason or "",
        )


def leave_event(
    ctx: Context,
    event_type: str,
    transfer: Transfer,
    *,
    account_id: int | None,
    amount_minor: int | None = None,
    **more: object,
) -> None:
    """Leave an event about a transfer, or about this amount of it, in the outbox."""
    payload: dict[str, object] = {
        "transfer_id": transfer.id,
        "currency": transfer.currency,
        "amount_minor": transfer.amount_minor if amount_minor is None else amount_minor,
        **more,
    }
    outbox.leave(ctx, event_type, account_id=account_id, payload=payload)
