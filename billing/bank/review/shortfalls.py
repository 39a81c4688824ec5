"""Shortfalls: what is missing of an invoice, such as a bank's fee, accepted by a reviewer."""

from billing.bank import allocate, invoice_effects, transfers
from billing.bank.errors import PartsRefused
from billing.bank.review import reviewers
from billing.bank.review.reviewers import Reviewer
from billing.context import Context


def accept(ctx: Context, reviewer: Reviewer, transfer_invoice_id: int, *, reason: str) -> int:
    """Accept what is missing on an invoice that is paid in part; return it, in minor units.

    The invoice counts as paid, with all that follows. If its money is returned, all of it is open
    again. Raises UnknownInvoice, NotAllowed, or PartsRefused if nothing came or nothing is missing.
    """
    [invoice] = allocate.lock_invoices(ctx.session, [transfer_invoice_id]).values()
    reviewers.must_not_own(reviewer, {invoice.account_id})
    missing = invoice.open_minor
    if invoice.state != "open" or not invoice.settled_minor or not missing:
        raise PartsRefused(
            problem="no part of it was paid, or nothing is missing", number=invoice.number
        )
    transfers.record_decision(
        ctx,
        None,
        actor=reviewer.actor,
        rule="person",
        outcome="accept shortfall",
        evidence={
            "invoice_id": invoice.id,
            "account_id": invoice.account_id,
            "missing_minor": missing,
            "reasons": [reason],
        },
    )
    invoice.waived_minor += missing
    ctx.session.flush()
    invoice_effects.follow(ctx, invoice)
    return missing
