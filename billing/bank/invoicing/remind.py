"""Reminders of unpaid invoices, and the end of the schedule: but first a look at the money we hold.

Unapplied cash that covers an invoice pays it. While money that may be for it waits for a reviewer,
or part of it has come, nobody is reminded, suspended or cancelled for it. A reviewer is asked once.
While an account is deleted, its schedule rests.
"""

from dataclasses import replace

from sqlalchemy import select

from billing.bank import invoice_effects, unapplied
from billing.bank.invoicing import dunning_steps, held_money, issue
from billing.bank.invoicing.obsolete import LOOKS_AGAIN, postpone
from billing.bank.invoicing.renew import ACTOR, AT_ONCE, InvoiceAction
from billing.context import Context
from billing.events import outbox
from billing.host import accounts, funding, invoices
from billing.host.funding import NOT_FUNDED, Funding
from billing.lifecycle import status
from models.transfers import TransferInvoice

#: Both end access: after a pause of the worker, the second may be due first.
ENDS_ACCESS = frozenset({"invoice.expired", "invoice.written_off"})


def remind(ctx: Context, *, limit: int = AT_ONCE) -> list[InvoiceAction]:
    """Take the due dunning steps of unpaid invoices; empty when none is left."""
    is_due = (TransferInvoice.state == "open", TransferInvoice.next_step_at <= ctx.now)
    oldest = (
        select(TransferInvoice.account_id)
        .where(*is_due)
        .order_by(TransferInvoice.next_step_at)
        .limit(limit)
    )
    account_ids = accounts.try_lock(ctx.session, set(ctx.session.scalars(oldest)))
    rows = (
        select(TransferInvoice)
        .where(*is_due, TransferInvoice.account_id.in_(account_ids))
        .order_by(TransferInvoice.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    due = ctx.session.scalars(rows).all()
    ways = funding.ways(ctx, account_ids) if due else {}
    locked = accounts.lock(ctx.session, account_ids) if due else {}
    actions = []
    for invoice in due:
        account = locked.get(invoice.account_id)
        if account is None or account.is_deleted:
            actions.append(_rest(ctx, invoice, is_gone=account is None))
        else:
            actions.append(_step(ctx, invoice, ways.get(invoice.account_id, NOT_FUNDED)))
    return actions


def _step(ctx: Context, invoice: TransferInvoice, way: Funding) -> InvoiceAction:
    """Take the last step that is due, so that a late worker does not send three at once."""
    if way.card_until is None and unapplied.covers(ctx, invoice):
        unapplied.pay(ctx, invoice, invoice.open_minor, actor=ACTOR, rule="unapplied cash")
        return InvoiceAction(invoice.account_id, "invoice.paid", invoice.number)
    past, next_step_at = dunning_steps.first(invoice.due_at, now=ctx.now)
    event = dunning_steps.STEPS[past - 1].event
    if held_money.is_in_question(ctx, invoice, ends_access=event in ENDS_ACCESS):
        return postpone(ctx, invoice)
    invoice.steps_done, invoice.next_step_at = past, next_step_at
    ctx.session.flush()
    if event in ENDS_ACCESS:
        _expire(ctx, invoice)
    if event == "invoice.written_off":
        _give_up(ctx, invoice)
    payload = invoice_effects.payload_of(invoice)
    outbox.leave(ctx, event, account_id=invoice.account_id, payload=payload)
    return InvoiceAction(invoice.account_id, event, invoice.number)


def _rest(ctx: Context, invoice: TransferInvoice, *, is_gone: bool) -> InvoiceAction:
    """Move the schedule of a deleted account by a day; end that of an account that is gone.

    If the account is restored, the schedule goes on where it stood.
    """
    assert invoice.next_step_at is not None, "a step is due"
    next_step_at = ctx.now + LOOKS_AGAIN
    if is_gone:
        invoice.next_step_at = None
    else:
        invoice.due_at += next_step_at - invoice.next_step_at
        invoice.next_step_at = next_step_at
        invoice_effects.mirror(ctx.session, invoice)
    ctx.session.flush()
    return InvoiceAction(invoice.account_id, "rests", invoice.number)


def _give_up(ctx: Context, invoice: TransferInvoice) -> None:
    """End the schedule: cancel an account that is still suspended for this invoice.

    A first invoice without any payment is voided. Any other stays open, so that late money still
    fits it.
    """
    account = accounts.lock(ctx.session, [invoice.account_id]).get(invoice.account_id)
    if invoice.period_start is None and not invoice.settled_minor:
        issue.void(ctx, invoice)
    if account is None or account.is_deleted or account.status != "suspended":
        return
    if funding.way(ctx, account.id).until is not None:
        return
    if "payment_failed" in status.suspension_reasons(ctx.session, account.id):
        status.change(ctx.by(ACTOR), account.id, to="cancelled", reason="never_paid")


def _expire(ctx: Context, invoice: TransferInvoice) -> None:
    """End the access of an account that did not pay a first invoice or a renewal.

    An account that is active by other means keeps its access if its first invoice is not paid, and
    one that is funded another way keeps it in any case.
    """
    account = accounts.lock(ctx.session, [invoice.account_id]).get(invoice.account_id)
    is_first = invoice.period_start is None
    if account is None or account.is_deleted or account.is_system:
        return
    waits = account.status == "pending_payment" or (not is_first and account.status == "active")
    if not waits or funding.way(ctx, account.id).until is not None:
        return
    status.suspend(ctx.by(ACTOR), account.id, reason="payment_failed")
    running = None if is_first else invoices.subscription(ctx.session, account.id)
    if running is not None and running.payment_method == invoice_effects.METHOD:
        invoices.write_subscription(ctx.session, replace(running, status="unpaid"))
