"""The effects of an invoice's payment: the one place that gives them, and takes them back.

Paid in full: the account's plan, subscription, credits and status follow. Less than full after
that: the invoice is open again, and unspent credits go back. Calling it again changes nothing.
"""

import datetime as dt

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.bank.invoicing import dunning_steps
from billing.context import Context
from billing.events import outbox
from billing.host import accounts, invoices
from billing.host.invoices import MirroredInvoice, MirroredSubscription
from billing.ledger import idempotency
from billing.lifecycle import status
from billing.purchases import clawbacks, purchases
from billing.purchases.money import PaymentState
from billing.purchases.purchases import Bought
from billing.renewal import periods
from models.transfers import TransferInvoice

ACTOR = "bank"
METHOD = "bank_transfer"
#: A renewal that is paid later than this after its period's start begins with the payment.
LATE_AFTER = dt.timedelta(days=15)


def follow(ctx: Context, invoice: TransferInvoice) -> None:
    """Make the account agree with its invoice; both are locked.

    Raises UnknownAccount, AccountDeleted or BalanceTooLarge.
    """
    missing = invoice.due_minor - invoice.settled_minor - invoice.waived_minor
    if invoice.state == "paid" and missing > 0:
        invoice.waived_minor = 0
    elif invoice.state == "open" and 0 < missing < invoice.due_minor:
        missing -= _accept_fee(ctx, invoice, missing)
    is_full = missing <= 0
    if is_full and invoice.state == "open":
        _pay(ctx, invoice)
    elif not is_full and invoice.state == "paid":
        _reopen(ctx, invoice)
    else:
        mirror(ctx.session, invoice)
        if invoice.state == "open" and invoice.period_end is not None:
            _adjust_credits(ctx, invoice)  # more of its money went back


_TOLERANCE = "SELECT shortfall_minor FROM billing.plan_policies WHERE plan_id = :plan_id"


def _accept_fee(ctx: Context, invoice: TransferInvoice, missing: int) -> int:
    """Accept what is missing as the bank's fee, up to the plan's tolerance; return it, or 0."""
    of_plan = ctx.session.execute(text(_TOLERANCE), {"plan_id": invoice.plan_id}).scalar()
    if missing > (ctx.policy.shortfall_minor if of_plan is None else of_plan):
        return 0
    invoice.waived_minor += missing
    return missing


def _pay(ctx: Context, invoice: TransferInvoice) -> None:
    """Start the period that the invoice pays for: subscription, plan, credits, status, event."""
    invoice.state, invoice.finished_at, invoice.next_step_at = "paid", ctx.now, None
    mirror(ctx.session, invoice)
    origin = idempotency.own("invoice", invoice.number)
    starts_at = invoice.period_start
    if starts_at is None or ctx.now > starts_at + LATE_AFTER:
        starts_at = ctx.now
    invoice.period_start = starts_at
    invoice.period_end = periods.boundary(starts_at, invoice.months)

    accounts.set_plan(ctx.session, invoice.account_id, invoice.plan_id)
    plan = accounts.plan(ctx.session, invoice.plan_id)
    bought = _bought(invoice, origin, credits=plan.included_credits if plan else 0)
    _run_subscription(ctx, bought)
    if bought.credits > 0 and purchases.open_one(ctx, bought) is None:
        _adjust_credits(ctx, invoice)  # it was paid before, returned, and paid again
    status.payment_received(ctx.by(ACTOR), [invoice.account_id])
    payload: dict[str, object] = {
        "payment": invoice.number,
        "currency": invoice.currency,
        "amount_minor": invoice.settled_minor,
    }
    outbox.leave(ctx, "invoice.paid", account_id=invoice.account_id, payload=payload)


def _run_subscription(ctx: Context, bought: Bought) -> None:
    """Let the account's subscription run to the end of the period that was bought."""
    assert bought.ends_at is not None, "an invoice pays for a period"
    running = invoices.subscription(ctx.session, bought.account_id)
    # Paid ahead, the running subscription goes on.
    is_ahead = running is not None and bought.starts_at > ctx.now
    subscription = MirroredSubscription(
        account_id=bought.account_id,
        status="active",
        stripe_id=None,
        starts_at=running.starts_at if running and is_ahead else bought.starts_at,
        ends_at=bought.ends_at,
        cancels_at_end=False,
        payment_method=METHOD,
        external_payment_id=bought.origin,
    )
    invoices.write_subscriptions(ctx.session, [subscription])


def _bought(invoice: TransferInvoice, origin: str, *, credits: int) -> Bought:
    assert invoice.period_start is not None, "a paid invoice has a period"
    return Bought(
        key=origin,
        account_id=invoice.account_id,
        origin=origin,
        source="plan",
        credits=credits,
        starts_at=invoice.period_start,
        ends_at=invoice.period_end,
        plan_id=invoice.plan_id,
        price_minor=invoice.due_minor,
        currency=invoice.currency,
    )


def _reopen(ctx: Context, invoice: TransferInvoice) -> None:
    """Claw back the unspent credits, and start the dunning schedule anew.

    The account keeps its access during that schedule.
    """
    invoice.state, invoice.finished_at = "open", None
    invoice.due_at = ctx.now + dunning_steps.DUE_AFTER_RETURN
    invoice.steps_done, invoice.next_step_at = dunning_steps.first(invoice.due_at, now=ctx.now)
    mirror(ctx.session, invoice)
    _adjust_credits(ctx, invoice)
    payload = payload_of(invoice)
    outbox.leave(ctx, "invoice.reopened", account_id=invoice.account_id, payload=payload)


def _adjust_credits(ctx: Context, invoice: TransferInvoice) -> None:
    """Claw back the credits of what is open; money that comes again gives them once all is paid."""
    origin = idempotency.own("invoice", invoice.number)
    bought = purchases.of_origins(ctx.session, [origin])
    returned = invoice.open_minor
    if returned > 0:
        returned = max(returned, *[purchase.returned_minor for purchase in bought], 0)
    clawbacks.settle(ctx, bought, PaymentState(invoice.due_minor, returned, {}))


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


def payload_of(invoice: TransferInvoice) -> dict[str, object]:
    """The payload of an event about an invoice."""
    return {
        "invoice_id": invoice.invoice_id,
        "number": invoice.number,
        "reference": invoice.reference,
        "currency": invoice.currency,
        "due_minor": invoice.due_minor,
        "settled_minor": invoice.settled_minor,
        "due_at": invoice.due_at.isoformat(),
    }
