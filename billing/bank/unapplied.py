"""Unapplied cash: the money of an account that is on no invoice, and its use by a reviewer.

No rule ever uses it.
"""

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from billing.bank import allocate, invoice_effects, transfers
from billing.bank.errors import PartsRefused
from billing.bank.review import reviewers
from billing.bank.review.reviewers import Reviewer
from billing.context import Context
from billing.host import invoices
from billing.host.invoices import MirroredPayment
from models.transfers import TransferInvoice, UnappliedCash


def balance(session: Session, account_id: int, currency: str) -> int:
    """Read the account's unapplied minor units; below zero after a payment was returned."""
    total = select(func.coalesce(func.sum(UnappliedCash.amount_minor), 0)).where(
        UnappliedCash.account_id == account_id, UnappliedCash.currency == currency
    )
    return int(session.execute(total).scalar_one())


def use(ctx: Context, reviewer: Reviewer, transfer_invoice_id: int) -> int:
    """Pay an invoice with its account's unapplied cash; return the minor units used.

    Raises UnknownInvoice, NotAllowed, or PartsRefused if there is nothing to use or to pay.
    """
    [invoice] = allocate.lock_invoices(ctx.session, [transfer_invoice_id]).values()
    reviewers.must_not_own(reviewer, {invoice.account_id})
    open_minor = invoice.due_minor - invoice.settled_minor if invoice.state == "open" else 0
    amount = min(balance(ctx.session, invoice.account_id, invoice.currency), open_minor)
    if amount <= 0:
        raise PartsRefused(
            problem="there is no unapplied cash, or the invoice is not open", number=invoice.number
        )

    decision_id = transfers.record_decision(
        ctx,
        None,
        actor=reviewer.actor,
        rule="person",
        outcome="use credit",
        evidence={"parts": [[invoice.id, amount]], "account_id": invoice.account_id},
    )
    cash = {
        "account_id": invoice.account_id,
        "currency": invoice.currency,
        "amount_minor": -amount,
        "why": f"used for {invoice.number}",
        "decision_id": decision_id,
        "recorded_at": ctx.now,
    }
    ctx.session.execute(insert(UnappliedCash).values(cash))
    allocate.move(ctx, None, invoice, amount, decision_id)
    ctx.session.flush()
    invoice_effects.follow(ctx, invoice)
    invoices.write_payment(ctx.session, _payment(ctx, invoice, amount, decision_id))
    return amount


def _payment(
    ctx: Context, invoice: TransferInvoice, amount: int, decision_id: int
) -> MirroredPayment:
    return MirroredPayment(
        account_id=invoice.account_id,
        invoice_id=invoice.invoice_id,
        method=invoice_effects.METHOD,
        external_id=f"billing:credit:{decision_id}",
        status="succeeded",
        currency=invoice.currency,
        amount_minor=amount,
        happened_at=ctx.now,
    )
