"""One payment at Stripe made equal here: what it bought, what went back of it, and its mirror.

All of it follows from the newest states of the payment's objects, so that the order in which they
came does not matter.
"""

import datetime as dt
from collections.abc import Sequence

from sqlalchemy.orm import Session

from billing import invoices, outbox, purchases, take_backs
from billing.accounts import HostAccount
from billing.invoices import MirroredInvoice, MirroredPayment
from billing.stripe import bought, catalog, missing, standing
from billing.stripe import reading as read
from billing.stripe.catalog import Catalog
from billing.stripe.shapes import (
    Charge,
    CheckoutSession,
    Dispute,
    Facts,
    Invoice,
    PaymentIntent,
    Refund,
)
from billing.take_backs import Standing

ACTOR = "stripe"
#: A refund in one of these states gives no money back, or not yet.
NOT_RETURNED = frozenset({"failed", "canceled", "requires_action"})


def settle(
    session: Session,
    account: HostAccount,
    facts: Facts,
    payment: Sequence[Facts],
    *,
    known: Catalog,
    is_newer: bool,
    now: dt.datetime,
) -> int:
    """Make what we have of a payment equal to Stripe's; returns the credits that it gave now.

    `payment`: all its objects; `facts`: the one that was kept, `is_newer` than what was known.
    `known`: of some prices. Raises what `billing.stripe.bought.of_payment` does, or
    BalanceTooLarge.
    """
    named = [price for each in payment for price in catalog.prices_of(each)]
    prices = catalog.load(session, named, known=known)
    given = 0
    for each in bought.of_payment(payment, prices, account.id):
        if opened := purchases.open_one(session, each, now=now):
            given += opened.credits * opened.given
    money = standing_of(payment)
    if _may_go_back(payment, facts):
        origins = {each.id for each in payment}
        take_backs.settle(session, purchases.of_origins(session, origins), money, now=now)
    _mirror(session, account, payment, money, now=now)
    invoice = bought.first(payment, Invoice)
    if isinstance(invoice, Invoice) and (given or (is_newer and _decides(invoice, facts))):
        is_paid = bought.pays_for_a_plan(invoice, prices)
        paid_for = invoice.subscription if is_paid else None
        standing.settle(
            session, account, is_paid=is_paid, paid_for=paid_for, prices=prices, now=now
        )
    return given


def _may_go_back(payment: Sequence[Facts], facts: Facts) -> bool:
    """Whether money of it went back, may, or has come back: the usual payment asks no more."""
    returns = [each for each in payment if isinstance(each, Refund)]
    charges = [each for each in payment if isinstance(each, Charge)]
    # A charge whose refund failed shows none any more.
    return bool(returns) or isinstance(facts, Charge) or any(each.refunded for each in charges)


def _decides(invoice: Invoice, facts: Facts) -> bool:
    """Whether the state just kept is an invoice's that says how its subscription stands.

    A draft does not, nor an open one that nobody has tried to collect.
    """
    is_quiet = invoice.status == "draft" or (invoice.status == "open" and not invoice.attempts)
    return invoice.id == facts.id and not is_quiet


def standing_of(payment: Sequence[Facts]) -> Standing:
    """How much was paid, went back, and is disputed, by all that is known of the payment."""
    charges = [each for each in payment if isinstance(each, Charge) and each.status == "succeeded"]
    disputes = [each for each in payment if isinstance(each, Dispute)]
    refunds = [
        each for each in payment if isinstance(each, Refund) and not isinstance(each, Dispute)
    ]
    paid = max(
        sum([charge.amount for charge in charges]),
        *[each.paid for each in payment if isinstance(each, Invoice)],
        *[each.received for each in payment if isinstance(each, PaymentIntent)],
        *[each.total for each in payment if isinstance(each, CheckoutSession)],
        0,
    )
    known = {charge.id: charge for charge in charges}
    refunded = sum([_refunded(charge, refunds) for charge in charges])
    refunded += sum([_returned(each) for each in refunds if each.charge not in known])
    lost = sum([each.amount for each in disputes if each.is_lost])
    still_open = {each.id: each.amount for each in disputes if each.is_open}
    return Standing(paid, min(refunded + lost, paid) if paid else 0, still_open)


def _returned(refund: Refund) -> int:
    return 0 if refund.status in NOT_RETURNED else refund.amount


def _refunded(charge: Charge, refunds: Sequence[Refund]) -> int:
    """What went back of a charge.

    The charge counts refunds when they are made, also those that fail later; its refunds say so.
    """
    mine = [each for each in refunds if each.charge == charge.id]
    made = max(charge.refunded, sum([each.amount for each in mine]))
    return made - sum([each.amount for each in mine if each.status in NOT_RETURNED])


def _mirror(
    session: Session,
    account: HostAccount,
    payment: Sequence[Facts],
    money: Standing,
    *,
    now: dt.datetime,
) -> None:
    invoice = bought.first(payment, Invoice)
    invoice_id = None
    if isinstance(invoice, Invoice):
        invoice_id = _mirror_invoice(session, account, invoice)
    if money.paid <= 0:
        return
    source = invoice or bought.first(payment, PaymentIntent) or bought.first(payment, Charge)
    if not isinstance(source, Invoice | PaymentIntent | Charge) or not _is_paid(source):
        return
    invoices.write_payment(
        session,
        MirroredPayment(
            account_id=account.id,
            invoice_id=invoice_id,
            method="stripe",
            external_id=source.id,
            status=_payment_status(money),
            currency=source.currency,
            amount_minor=read.minor(money.paid, source.currency),
            happened_at=now,
        ),
        also_known_as=[each.id for each in payment],
    )


def _is_paid(source: Invoice | PaymentIntent | Charge) -> bool:
    return source.status in {"paid", "succeeded"}


def _payment_status(money: Standing) -> str:
    if money.disputes:
        return "disputed"
    if not money.returned:
        return "succeeded"
    return "refunded" if money.returned >= money.paid else "partially_refunded"


def _mirror_invoice(session: Session, account: HostAccount, invoice: Invoice) -> int:
    return invoices.write_invoice(
        session,
        MirroredInvoice(
            account_id=account.id,
            number=invoice.number,
            stripe_id=invoice.id,
            status=invoice.status,
            currency=invoice.currency,
            due_minor=read.minor(invoice.due, invoice.currency),
            paid_minor=read.minor(invoice.paid, invoice.currency),
            issued_at=read.moment(invoice.created) if invoice.created else None,
            due_at=read.moment(invoice.due_date) if invoice.due_date else None,
        ),
    )


def tell(
    session: Session, account: HostAccount, before: Facts | None, facts: Facts, *, now: dt.datetime
) -> None:
    """Leave the events that a new state of an invoice or a dispute brings, once each."""
    if isinstance(facts, Invoice):
        old = before if isinstance(before, Invoice) else None
        missing.follow(session, account, old, facts, now=now)
        payload = _about(facts.id, facts.currency, facts.paid or facts.due)
        if facts.status == "paid" and facts.paid and (old is None or old.status != "paid"):
            outbox.leave(session, "invoice.paid", account_id=account.id, payload=payload, now=now)
        elif facts.status == "open" and facts.attempts > (old.attempts if old else 0):
            next_at = read.moment(facts.next_attempt).isoformat() if facts.next_attempt else None
            payload |= {"attempts": facts.attempts, "next_attempt_at": next_at}
            outbox.leave(session, "payment.failed", account_id=account.id, payload=payload, now=now)
    elif isinstance(facts, Dispute):
        old_dispute = before if isinstance(before, Dispute) else None
        if old_dispute is None or old_dispute.status != facts.status:
            payload = _about(facts.id, facts.currency, facts.amount)
            payload |= {"status": facts.status}
            event = "dispute.opened" if facts.is_open and old_dispute is None else "dispute.changed"
            outbox.leave(session, event, account_id=account.id, payload=payload, now=now)


def _about(name: str, code: str, amount: int) -> dict[str, object]:
    return {
        "payment": name,
        "currency": code,
        "amount_minor": read.minor(amount, code),
    }
