"""One payment at Stripe made equal here: what it bought, what went back of it, and its mirror.

All of it follows from the newest states of the payment's objects, so that the order in which they
came does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from billing.context import Context
from billing.events import outbox
from billing.host import invoices
from billing.host.accounts import HostAccount
from billing.host.invoices import MirroredInvoice, MirroredPayment
from billing.purchases import clawbacks, purchases
from billing.purchases.clawbacks import Standing
from billing.stripe import invoice_lines, payment_failures
from billing.stripe import json_fields as read
from billing.stripe.catalog import Catalog
from billing.stripe.types import (
    Charge,
    CheckoutSession,
    Dispute,
    Facts,
    Invoice,
    PaymentIntent,
    Refund,
)
from models.purchases import Purchase

#: A refund in one of these states gives no money back, or not yet.
NOT_RETURNED = frozenset({"failed", "canceled", "requires_action"})


@dataclass(slots=True)
class Payment:
    """A payment at Stripe: all its objects, and those of them that events spoke of just now.

    `news`: the ids of those whose state is newer than what was known. `given`: credits that it gave
    now.
    """

    account: HostAccount
    objects: Sequence[Facts]
    named: list[Facts] = field(default_factory=list)
    news: set[str] = field(default_factory=set)
    given: int = 0

    @property
    def invoice(self) -> Invoice | None:
        """Its invoice, if it has one."""
        found = invoice_lines.first(self.objects, Invoice)
        return found if isinstance(found, Invoice) else None

    @property
    def may_go_back(self) -> bool:
        """Whether money of it went back, may, or has come back: the usual payment asks no more."""
        returns = [each for each in self.objects if isinstance(each, Refund)]
        charges = [each for each in self.objects if isinstance(each, Charge)]
        # A charge whose refund failed shows none any more.
        return (
            bool(returns)
            or any(each.refunded for each in charges)
            or any(isinstance(each, Charge) for each in self.named)
        )

    @property
    def decides(self) -> bool:
        """Whether it has news of an invoice that says how its subscription stands.

        A draft does not, nor an open one that nobody has tried to collect.
        """
        invoice = self.invoice
        if invoice is None:
            return False
        is_quiet = invoice.status == "draft" or (invoice.status == "open" and not invoice.attempts)
        return self.given > 0 or (invoice.id in self.news and not is_quiet)


def settle(ctx: Context, payments: Sequence[Payment], *, prices: Catalog) -> None:
    """Make what we have of these payments equal to Stripe's: purchases, what went back, mirrors.

    Raises what `billing.stripe.invoice_lines.of_payment` does, or BalanceTooLarge.
    """
    lines = {
        line.key: (payment, line)
        for payment in payments
        for line in invoice_lines.of_payment(payment.objects, prices, payment.account.id)
    }
    opened = purchases.open_all(ctx, [line for _, line in lines.values()])
    for purchase in opened:
        lines[purchase.key][0].given += purchase.credits * purchase.given
    standings = [standing_of(payment.objects) for payment in payments]
    _take_back(ctx, payments, standings)
    _mirror(ctx, payments, standings)


def _take_back(ctx: Context, payments: Sequence[Payment], standings: Sequence[Standing]) -> None:
    origins = {
        each.id: place
        for place, payment in enumerate(payments)
        if payment.may_go_back
        for each in payment.objects
    }
    if not origins:
        return
    found: dict[int, list[Purchase]] = {}
    for purchase in purchases.of_origins(ctx.session, origins):
        found.setdefault(origins[purchase.origin], []).append(purchase)
    settled = [(each, standings[place]) for place, each in sorted(found.items())]
    clawbacks.settle_all(ctx, settled)


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


def _mirror(ctx: Context, payments: Sequence[Payment], standings: Sequence[Standing]) -> None:
    billed = [
        _mirrored_invoice(payment.account, payment.invoice)
        for payment in payments
        if payment.invoice is not None
    ]
    ids = invoices.write_of_stripe(ctx.session, billed)
    written = []
    for payment, money in zip(payments, standings, strict=True):
        source = _source(payment)
        if money.paid <= 0 or source is None:
            continue
        mirrored = MirroredPayment(
            account_id=payment.account.id,
            invoice_id=ids[payment.invoice.id] if payment.invoice else None,
            method="stripe",
            external_id=source.id,
            status=_payment_status(money),
            currency=source.currency,
            amount_minor=read.minor(money.paid, source.currency),
            happened_at=ctx.now,
        )
        written.append((mirrored, [each.id for each in payment.objects]))
    invoices.write_payments(ctx.session, written)


def _source(payment: Payment) -> Invoice | PaymentIntent | Charge | None:
    """The object that a payment is called by, once it is paid."""
    found = payment.objects
    source = (
        payment.invoice
        or invoice_lines.first(found, PaymentIntent)
        or invoice_lines.first(found, Charge)
    )
    if isinstance(source, Invoice | PaymentIntent | Charge) and _is_paid(source):
        return source
    return None


def _is_paid(source: Invoice | PaymentIntent | Charge) -> bool:
    return source.status in {"paid", "succeeded"}


def _payment_status(money: Standing) -> str:
    if money.disputes:
        return "disputed"
    if not money.returned:
        return "succeeded"
    return "refunded" if money.returned >= money.paid else "partially_refunded"


def _mirrored_invoice(account: HostAccount, invoice: Invoice) -> MirroredInvoice:
    return MirroredInvoice(
        account_id=account.id,
        number=invoice.number,
        stripe_id=invoice.id,
        status=invoice.status,
        currency=invoice.currency,
        due_minor=read.minor(invoice.due, invoice.currency),
        paid_minor=read.minor(invoice.paid, invoice.currency),
        issued_at=read.moment(invoice.created) if invoice.created else None,
        due_at=read.moment(invoice.due_date) if invoice.due_date else None,
    )


def tell(ctx: Context, account: HostAccount, before: Facts | None, facts: Facts) -> bool:
    """Leave the events that a new state of an invoice or a dispute brings, once each.

    Returns whether the account was asked for money.
    """
    if isinstance(facts, Invoice):
        old = before if isinstance(before, Invoice) else None
        is_asked = payment_failures.follow(ctx, account, old, facts)
        payload = _about(facts.id, facts.currency, facts.paid or facts.due)
        if facts.status == "paid" and facts.paid and (old is None or old.status != "paid"):
            outbox.leave(ctx, "invoice.paid", account_id=account.id, payload=payload)
        elif facts.status == "open" and facts.attempts > (old.attempts if old else 0):
            next_at = read.moment(facts.next_attempt).isoformat() if facts.next_attempt else None
            payload |= {"attempts": facts.attempts, "next_attempt_at": next_at}
            outbox.leave(ctx, "payment.failed", account_id=account.id, payload=payload)
        return is_asked
    if isinstance(facts, Dispute):
        old_dispute = before if isinstance(before, Dispute) else None
        if old_dispute is None or old_dispute.status != facts.status:
            payload = _about(facts.id, facts.currency, facts.amount)
            payload |= {"status": facts.status}
            event = "dispute.opened" if facts.is_open and old_dispute is None else "dispute.changed"
            outbox.leave(ctx, event, account_id=account.id, payload=payload)
    return False


def _about(name: str, code: str, amount: int) -> dict[str, object]:
    return {
        "payment": name,
        "currency": code,
        "amount_minor": read.minor(amount, code),
    }
