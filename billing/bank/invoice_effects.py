"""What follows from how far an invoice is settled: the one place that gives, and takes back.

Settled whole: paid, the account let in, the subscription's period, credits. Less than whole after
that: open again, and what was unspent goes back. Told where things stand, it makes them so: called
twice, or late, it changes nothing more.
"""

import datetime as dt

from sqlalchemy.orm import Session

from billing.bank.invoicing import dunning_steps
from billing.context import Context
from billing.events import outbox
from billing.host import accounts, invoices
from billing.host.invoices import MirroredInvoice, MirroredSubscription
from billing.ledger import idempotency
from billing.lifecycle import reactivation
from billing.purchases import clawbacks, purchases
from billing.purchases.clawbacks import PaymentState
from billing.purchases.purchases import Bought
from billing.renewal import periods
from models.transfers import TransferInvoice

ACTOR = "bank"
METHOD = "bank_transfer"
#: A renewal that is paid later than this after its period's start begins with the payment.
LATE_AFTER = dt.timedelta(days=15)


def follow(ctx: Context, invoice: TransferInvoice) -> None:
    """Make the account agree with its invoice, whose row and account are locked here.

    Raises UnknownAccount, AccountDeleted or BalanceTooLarge.
    """
    is_whole = invoice.settled_minor == invoice.due_minor
    if is_whole and invoice.state == "open":
        _pay(ctx, invoice)
    elif not is_whole and invoice.state == "paid":
        _reopen(ctx, invoice)
    mirror(ctx.session, invoice)


def origin(invoice: TransferInvoice) -> str:
    """What the purchase names as its payment."""
    return idempotency.own("invoice", invoice.number)


def _pay(ctx: Context, invoice: TransferInvoice) -> None:
    invoice.state, invoice.finished_at, invoice.next_step_at = "paid", ctx.now, None
    if invoice.period_start is None or ctx.now > invoice.period_start + LATE_AFTER:
        invoice.period_start = ctx.now
    invoice.period_end = periods.boundary(invoice.period_start, invoice.months)
    accounts.set_plan(ctx.session, invoice.account_id, invoice.plan_id)
    _subscribe(ctx, invoice)
    _give_credits(ctx, invoice)
    reactivation.payment_received(ctx.by(ACTOR), [invoice.account_id])
    paid = {
        "payment": invoice.number,
        "currency": invoice.currency,
        "amount_minor": invoice.settled_minor,
    }
    account_id = invoice.account_id
    outbox.leave(ctx, "invoice.paid", account_id=account_id, payload=paid)


def _give_credits(ctx: Context, invoice: TransferInvoice) -> None:
    assert invoice.period_start is not None, "what is paid for has a period"
    plan = accounts.plan(ctx.session, invoice.plan_id)
    if plan is None or plan.included_credits <= 0:
        return
    opened = purchases.open_one(
        ctx,
        Bought(
            key=origin(invoice),
            account_id=invoice.account_id,
            origin=origin(invoice),
            source="plan",
            credits=plan.included_credits,
            starts_at=invoice.period_start,
            ends_at=invoice.period_end,
            plan_id=invoice.plan_id,
        ),
    )
    if opened is None:  # paid before, taken back, and paid again
        _settle_credits(ctx, invoice)


def _settle_credits(ctx: Context, invoice: TransferInvoice) -> None:
    returned = invoice.due_minor - invoice.settled_minor
    bought = purchases.of_origins(ctx.session, [origin(invoice)])
    clawbacks.settle(ctx, bought, PaymentState(invoice.due_minor, returned, {}))


def _reopen(ctx: Context, invoice: TransferInvoice) -> None:
    """The money went back: what it bought goes as far as it is unspent, and reminding begins anew.

    The account keeps its access while it is reminded.
    """
    invoice.state, invoice.finished_at = "open", None
    invoice.due_at = ctx.now + dunning_steps.DUE_AFTER_RETURN
    invoice.steps_done, invoice.next_step_at = dunning_steps.first(invoice.due_at, now=ctx.now)
    _settle_credits(ctx, invoice)
    _tell(ctx, invoice, "invoice.reopened")


def _subscribe(ctx: Context, invoice: TransferInvoice) -> None:
    """The account's subscription is what this invoice pays for; paid ahead, it goes on longer."""
    assert invoice.period_start is not None, "what is paid for has a period"
    assert invoice.period_end is not None, "what is paid for has a period"
    running = invoices.subscription(ctx.session, invoice.account_id)
    is_ahead = running is not None and invoice.period_start > ctx.now
    starts_at = running.starts_at if running and is_ahead else invoice.period_start
    invoices.write_subscription(
        ctx.session,
        MirroredSubscription(
            account_id=invoice.account_id,
            status="active",
            stripe_id=None,
            starts_at=starts_at,
            ends_at=invoice.period_end,
            cancels_at_end=False,
            payment_method=METHOD,
            external_payment_id=origin(invoice),
        ),
    )


def mirror(session: Session, invoice: TransferInvoice) -> None:
    """Make the main app's row of the invoice equal to ours."""
    status = {"refunded": "paid"}.get(invoice.state, invoice.state)
    invoice.invoice_id = invoices.write_invoice(
        session,
        MirroredInvoice(
            account_id=invoice.account_id,
            number=invoice.number,
            stripe_id=None,
            status=status,
            currency=invoice.currency,
            due_minor=invoice.due_minor,
            paid_minor=invoice.settled_minor,
            issued_at=invoice.issued_at,
            due_at=invoice.due_at,
        ),
    )
    session.flush()


def _tell(ctx: Context, invoice: TransferInvoice, event: str) -> None:
    payload = facts_of(invoice)
    outbox.leave(ctx, event, account_id=invoice.account_id, payload=payload)


def facts_of(invoice: TransferInvoice) -> dict[str, object]:
    """What an event says of an invoice."""
    return {
        "invoice_id": invoice.invoice_id,
        "number": invoice.number,
        "reference": invoice.reference,
        "currency": invoice.currency,
        "due_minor": invoice.due_minor,
        "settled_minor": invoice.settled_minor,
        "due_at": invoice.due_at.isoformat(),
    }
