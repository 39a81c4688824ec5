"""The effects of an invoice's payment: the one place that gives them, and takes them back.

Paid in full: the account's plan, subscription, credits and status follow. Less than full after
that: the invoice is open again, and unspent credits go back. Calling it again changes nothing.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from operator import attrgetter

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.bank.invoicing import dunning_steps
from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
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
    """Make the account agree with its invoice, as `follow_all` does."""
    follow_all(ctx, [invoice])


def follow_all(ctx: Context, changed: Sequence[TransferInvoice]) -> None:
    """Make accounts agree with their invoices; all are locked.

    Several invoices of one account count one after another. Raises UnknownAccount, AccountDeleted
    or BalanceTooLarge.
    """
    rest = list(changed)
    while rest:
        first = list({invoice.account_id: invoice for invoice in reversed(rest)}.values())
        rest = [invoice for invoice in rest if invoice not in first]
        _follow(ctx, sorted(first, key=attrgetter("account_id")))


def _follow(ctx: Context, changed: Sequence[TransferInvoice]) -> None:
    """Make accounts agree with their invoices, one of each account."""
    tolerances = _tolerances(ctx, changed)
    paying: list[TransferInvoice] = []
    reopening: list[TransferInvoice] = []
    for invoice in changed:
        missing = _missing(invoice)
        if invoice.state == "paid" and missing > 0:
            invoice.waived_minor = 0
        elif _may_be_fee(invoice, missing) and missing <= tolerances[invoice.plan_id]:
            invoice.waived_minor += missing
            missing = 0
        if missing <= 0 and invoice.state == "open":
            paying.append(invoice)
        elif missing > 0 and invoice.state == "paid":
            reopening.append(invoice)
    same = [invoice for invoice in changed if invoice not in paying and invoice not in reopening]
    if same:
        mirror_all(ctx.session, same)
    for invoice in same:
        if invoice.state == "open" and invoice.period_end is not None:
            _adjust_credits(ctx, invoice)  # more of its money went back
    if paying:
        _pay(ctx, paying)
    for invoice in reopening:
        _reopen(ctx, invoice)


def _missing(invoice: TransferInvoice) -> int:
    """Return the amount still to be paid; negative if more was settled and accepted than due."""
    return invoice.due_minor - invoice.settled_minor - invoice.waived_minor


def _may_be_fee(invoice: TransferInvoice, missing: int) -> bool:
    return invoice.state == "open" and 0 < missing < invoice.due_minor


_TOLERANCES = "SELECT plan_id, shortfall_minor FROM billing.plan_policies WHERE plan_id = ANY(:ids)"


def _tolerances(ctx: Context, changed: Iterable[TransferInvoice]) -> dict[int, int]:
    """Return the accepted shortfall of these invoices, as a bank's fee, by their plans' ids."""
    ids = {invoice.plan_id for invoice in changed if _may_be_fee(invoice, _missing(invoice))}
    if not ids:
        return {}
    rows = ctx.session.execute(text(_TOLERANCES), {"ids": list(ids)})
    stated = {plan_id: minor for plan_id, minor in rows if minor is not None}
    return dict.fromkeys(ids, ctx.policy.shortfall_minor) | stated


def _pay(ctx: Context, paid: Sequence[TransferInvoice]) -> None:
    """Start the periods that these invoices pay for: subscription, plan, credits, status, event."""
    for invoice in paid:
        invoice.state, invoice.finished_at, invoice.next_step_at = "paid", ctx.now, None
        starts_at = invoice.period_start
        if starts_at is None or ctx.now > starts_at + LATE_AFTER:
            starts_at = ctx.now
        invoice.period_start = starts_at
        invoice.period_end = periods.boundary(starts_at, invoice.months)
    mirror_all(ctx.session, paid)

    plan_of = {invoice.account_id: invoice.plan_id for invoice in paid}
    accounts.set_plans(ctx.session, plan_of)
    plans = {id: accounts.plan(ctx.session, id) for id in sorted(set(plan_of.values()))}
    credits = {id: plan.included_credits if plan else 0 for id, plan in plans.items()}
    origins = [idempotency.own("invoice", invoice.number) for invoice in paid]
    bought = {
        invoice: _bought(invoice, origin, credits=credits[invoice.plan_id])
        for invoice, origin in zip(paid, origins, strict=True)
    }
    _run_subscriptions(ctx, list(bought.values()))
    giving = [line for line in bought.values() if line.credits > 0]
    opened = {purchase.key for purchase in purchases.open_all(ctx, giving)}
    for invoice, line in bought.items():
        if line.credits > 0 and line.key not in opened:
            _adjust_credits(ctx, invoice)  # it was paid before, returned, and paid again
    status.payment_received(ctx.by(ACTOR), sorted(plan_of))
    payloads: dict[int, dict[str, object]] = {
        invoice.account_id: {
            "payment": invoice.number,
            "currency": invoice.currency,
            "amount_minor": invoice.settled_minor,
        }
        for invoice in paid
    }
    events = [NewEvent("invoice.paid", account_id, payloads[account_id]) for account_id in payloads]
    outbox.leave_all(ctx, events)


def _run_subscriptions(ctx: Context, bought: Sequence[Bought]) -> None:
    """Let each account's subscription run to the end of the period that was bought."""
    running = invoices.subscriptions(ctx.session, [line.account_id for line in bought])
    subscriptions = []
    for line in bought:
        assert line.ends_at is not None, "an invoice pays for a period"
        current = running.get(line.account_id)
        # Paid ahead, the running subscription goes on.
        is_ahead = current is not None and line.starts_at > ctx.now
        subscriptions.append(
            MirroredSubscription(
                account_id=line.account_id,
                status="active",
                stripe_id=None,
                starts_at=current.starts_at if current and is_ahead else line.starts_at,
                ends_at=line.ends_at,
                cancels_at_end=False,
                payment_method=METHOD,
                external_payment_id=line.origin,
            )
        )
    invoices.write_subscriptions(ctx.session, subscriptions)


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
    mirror_all(session, [invoice])


def mirror_all(session: Session, changed: Sequence[TransferInvoice]) -> None:
    """Make the main app's rows of these invoices equal to ours."""
    ids = invoices.write_invoices(session, [_mirrored(invoice) for invoice in changed])
    for invoice in changed:
        invoice.invoice_id = ids[invoice.number]
    session.flush()


def _mirrored(invoice: TransferInvoice) -> MirroredInvoice:
    return MirroredInvoice(
        account_id=invoice.account_id,
        number=invoice.number,
        stripe_id=None,
        status={"refunded": "paid"}.get(invoice.state, invoice.state),
        currency=invoice.currency,
        due_minor=invoice.due_minor,
        paid_minor=invoice.settled_minor,
        issued_at=invoice.issued_at,
        due_at=invoice.due_at,
    )


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
