"""Unapplied cash: the money of an account that is on no invoice, and its use for one.

A reviewer uses it, or the schedule of an invoice that it covers (`invoicing.remind`), if the
operator lets it.
"""

from billing.bank import allocate, cash, invoice_effects, transfers
from billing.bank.errors import PartsRefused
from billing.bank.review import reviewers
from billing.bank.review.reviewers import Reviewer
from billing.context import Context
from billing.host import invoices
from models.transfers import TransferInvoice


def use(ctx: Context, reviewer: Reviewer, transfer_invoice_id: int) -> int:
    """Pay an invoice with its account's unapplied cash; return the minor units used.

    Raises UnknownInvoice, NotAllowed, or PartsRefused if there is nothing to use or to pay.
    """
    [invoice] = allocate.lock_invoices(ctx.session, [transfer_invoice_id]).values()
    reviewers.must_not_own(reviewer, {invoice.account_id})
    held = cash.balance(ctx.session, invoice.account_id, invoice.currency)
    amount = min(held, invoice.open_minor) if invoice.state == "open" else 0
    if amount <= 0:
        raise PartsRefused(
            problem="there is no unapplied cash, or the invoice is not open", number=invoice.number
        )

    pay(ctx, invoice, amount, actor=reviewer.actor, rule="person")
    return amount


def covers(ctx: Context, invoice: TransferInvoice) -> bool:
    """Whether the account's cash pays all of a locked invoice, and the operator lets it."""
    if not ctx.policy.uses_unapplied_cash:
        return False
    return cash.balance(ctx.session, invoice.account_id, invoice.currency) >= invoice.open_minor


def pay(ctx: Context, invoice: TransferInvoice, amount: int, *, actor: str, rule: str) -> None:
    """Move unapplied cash onto a locked, open invoice; the decision is recorded."""
    decision_id = transfers.record_decision(
        ctx,
        None,
        actor=actor,
        rule=rule,
        outcome="use credit",
        evidence={"parts": [[invoice.id, amount]], "account_id": invoice.account_id},
    )
    cash.record(ctx, invoice, -amount, "used for", decision_id)
    allocate.move(ctx, None, invoice, amount, decision_id)
    ctx.session.flush()
    invoice_effects.follow(ctx, invoice)
    paid = cash.payment(ctx, invoice, amount, decision_id, status="succeeded")
    invoices.write_payment(ctx.session, paid)
