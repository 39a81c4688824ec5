"""Money that we hold and that may be for an unpaid invoice: a question before it is dunned."""

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from billing.context import Context
from models.transfers import Allocation, Transfer, TransferInvoice

#: The least score of a candidate that speaks for an account; an equal amount alone has less.
SPEAKS_FOR = 60

# Held statements' lines have transfers, too, without a decision; their words are searched for the
# reference. A transfer that a reviewer rejected, or undid, speaks for nobody. The currency does not
# matter: who sent dollars for an invoice in euro has paid, and a reviewer must answer.
_UNDECIDED = """
SELECT t.id FROM billing.transfers AS t
LEFT JOIN billing.transfer_decisions AS d ON d.id = t.decision_id
WHERE t.state IN ('open', 'waiting', 'frozen') AND t.amount_minor > 0
  AND COALESCE(d.outcome, '') NOT IN ('reject', 'undo') AND (
    t.customer_id = :account_id
    OR d.evidence->'account_id' = to_jsonb(:account_id)
    OR EXISTS (SELECT FROM jsonb_array_elements(d.evidence->'candidates') AS candidate
               WHERE candidate->'account_id' = to_jsonb(:account_id)
                 AND (candidate->>'score')::int >= :speaks_for)
    OR EXISTS (SELECT FROM billing.payers AS p
               WHERE p.iban = t.payer_iban AND p.account_id = :account_id
                 AND p.confirmed + p.matched > p.declined)
    OR EXISTS (SELECT FROM billing.line_wordings AS w
               WHERE w.line = t.line
                 AND strpos(upper(replace(w.payload::text, ' ', '')), :reference) > 0))
ORDER BY t.id
"""
_PART_IN_REVIEW = """
SELECT EXISTS (SELECT FROM billing.allocations AS a
               JOIN billing.transfers AS t ON t.id = a.transfer_id
               WHERE a.transfer_invoice_id = :id AND t.review IS NOT NULL)
"""


def is_in_question(ctx: Context, invoice: TransferInvoice, *, ends_access: bool) -> bool:
    """Whether money that may be for this invoice waits for a reviewer; asks where nobody did.

    `ends_access`: the step would suspend or cancel the account. Then a part that was paid is a
    question, too, until a reviewer has seen it.
    """
    if _undecided(ctx.session, invoice):
        return True
    if not (ends_access and invoice.settled_minor):
        return False
    if invoice.questioned_at is None:
        ask_about_parts(ctx.session, invoice, "and no more")
        return True
    return bool(ctx.session.execute(text(_PART_IN_REVIEW), {"id": invoice.id}).scalar())


def _undecided(session: Session, invoice: TransferInvoice) -> list[int]:
    """The undecided transfers that name the invoice or speak for its account."""
    values = {
        "account_id": invoice.account_id,
        "reference": invoice.reference.replace(" ", "").upper(),
        "speaks_for": SPEAKS_FOR,
    }
    return list(session.execute(text(_UNDECIDED), values).scalars())


def ask_about_parts(session: Session, invoice: TransferInvoice, more: str) -> None:
    """Send the transfers of an invoice that is paid in part to review."""
    why = f"{invoice.settled_minor} of {invoice.due_minor} came for {invoice.number}, {more}"
    paid_by = select(Allocation.transfer_id).where(Allocation.transfer_invoice_id == invoice.id)
    session.execute(
        update(Transfer)
        .where(Transfer.id.in_(paid_by), Transfer.state == "settled")
        .values(review=why, version=Transfer.version + 1)
    )
