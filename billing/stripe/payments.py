"""Payments at Stripe: purchases, clawbacks, and the main app's rows made equal to their objects.

All of it follows from the newest states of the payment's objects, so the order in which they
arrived does not matter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from billing.context import Context
from billing.errors import Rejected
from billing.host import invoices
from billing.host.accounts import HostAccount
from billing.host.invoices import MirroredPayment
from billing.purchases import clawbacks, purchases
from billing.purchases.money import PaymentState
from billing.purchases.purchases import Bought
from billing.stripe import (
    balance,
    bills,
    fields,
    invoice_lines,
    object_rows,
    top_ups,
)
from billing.stripe.catalog import Catalog, sells
from billing.stripe.objects.base import Facts
from billing.stripe.objects.charge import Charge
from billing.stripe.objects.checkout_session import CheckoutSession
from billing.stripe.objects.credit_note import CreditNote
from billing.stripe.objects.dispute import Dispute
from billing.stripe.objects.invoice import Invoice
from billing.stripe.objects.payment_intent import PaymentIntent
from billing.stripe.objects.refund import Refund
from billing.stripe.objects.subscription import Subscription
from billing.stripe.pots import Bill
from models.purchases import Purchase


@dataclass(slots=True)
class Payment:
    """All objects of one payment.

    Attributes:
        named: The objects that events of this batch are about.
        news: The ids of those whose state is newer than the known one.
        given: Credits that the payment gave in this batch.
        pays_for_plan: Whether it paid for a plan, and so gives access.
        errors: The reasons why lines of its invoice can't be read; the others count.
    """

    account: HostAccount
    objects: Sequence[Facts]
    named: list[Facts] = field(default_factory=list)
    news: set[str] = field(default_factory=set)
    given: int = 0
    pays_for_plan: bool = False
    errors: list[Rejected] = field(default_factory=list)
    invoice: Invoice | None = field(init=False)

    def __post_init__(self) -> None:
        self.invoice = next((item for item in self.objects if isinstance(item, Invoice)), None)

    @property
    def may_go_back(self) -> bool:
        """Whether money of it went back, or may have come back; most payments stop here."""
        return (
            any(isinstance(item, Refund | Dispute | CreditNote) for item in self.objects)
            or any(isinstance(item, Charge) and item.refunded for item in self.objects)
            # A charge whose refund failed shows none any more.
            or any(isinstance(item, Charge) for item in self.named)
        )

    @property
    def may_move(self) -> bool:
        """Whether it may move money through the customer's balance, or gave credits for some."""
        moves = self.invoice is not None and self.invoice.moves_balance
        return moves or self.given > 0 or self.may_go_back

    @property
    def decides_access(self) -> bool:
        """Whether it has news of an invoice that says how its subscription stands.

        A draft does not, nor an open invoice that nobody has tried to collect.
        """
        invoice = self.invoice
        if invoice is None:
            return False
        is_quiet = invoice.status == "draft" or (invoice.status == "open" and not invoice.attempts)
        return self.given > 0 or (invoice.id in self.news and not is_quiet)

    def purchases(self, catalog: Catalog) -> list[Bought]:
        """The purchases of the payment; empty until it is paid."""
        if self.invoice is None or not sells(self.invoice, catalog):
            return top_ups.purchases_of(self.objects, catalog, self.account.id)
        if self.invoice.status != "paid":
            return []
        sold = invoice_lines.sold(self.invoice, catalog, self.account.id)
        self.errors, self.pays_for_plan = sold.errors, sold.pays_for_plan
        return sold.bought


@dataclass(slots=True)
class Step:
    """One object of a batch, with its locked account.

    Attributes:
        is_news: Whether its state is newer than the one `before`.
        payment: The payment that it belongs to, if any.
        trial: The decision about a new trial of the account, if one was due.
    """

    facts: Facts
    account: HostAccount
    is_news: bool
    before: Facts | None
    payment: Payment | None = None
    trial: str | None = None

    @property
    def decides_access(self) -> bool:
        """Whether the account's status may follow from it.

        An older state must not undo a later manual change.
        """
        if self.payment is not None:
            return self.payment.decides_access
        return isinstance(self.facts, Subscription) and self.is_news


def read(ctx: Context, steps: Sequence[Step]) -> list[Payment]:
    """Read the payments of these steps' objects, and note them in the steps."""
    groups = object_rows.of_payments(ctx.session, [step.facts.id for step in steps])
    payments: dict[tuple[int, int], Payment] = {}
    for step in steps:
        group = groups[step.facts.id]
        key = step.account.id, id(group)
        if key not in payments:
            payments[key] = Payment(step.account, group)
        step.payment = payments[key]
        step.payment.named.append(step.facts)
        if step.is_news:
            step.payment.news.add(step.facts.id)
    return list(payments.values())


def settle(ctx: Context, payments: Sequence[Payment], *, catalog: Catalog) -> None:
    """Make purchases, clawbacks and the main app's rows equal to these payments.

    Raises AbsurdCredits or BalanceTooLarge.
    """
    bought = {
        line.key: (payment, line)
        for payment in payments
        for line in _once(ctx, payment, payment.purchases(catalog))
    }
    states = [state_of(payment.objects) for payment in payments]
    for purchase in purchases.open_all(ctx, [line for _, line in bought.values()]):
        bought[purchase.key][0].given += purchase.granted
    may_move = {item.account.id for item in payments if item.invoice and item.may_move}
    moving = object_rows.with_moving_balance(ctx.session, may_move) if may_move else set()
    _claw_back(ctx, payments, states, moving)
    if moving:
        _follow_balances(ctx, moving, catalog)
    _mirror(ctx, payments, states)


def _once(ctx: Context, payment: Payment, lines: list[Bought]) -> list[Bought]:
    """Leave out top-ups of an invoice whose session or intent gave the credits before it came."""
    if payment.invoice is None or not any(x.source == "top_up" for x in lines):
        return lines
    name = top_ups.name_of(payment.objects)
    if name is None:
        return lines
    is_given = any(x.key == f"stripe:{name}" for x in purchases.of_origins(ctx.session, [name]))
    return [x for x in lines if not is_given or x.source != "top_up" or x.origin == name]


def _claw_back(
    ctx: Context, payments: Sequence[Payment], states: Sequence[PaymentState], moving: set[int]
) -> None:
    """Claw back the credits of payments; invoices of `moving` accounts are settled together.

    What an intent or a session bought is settled here, also where Checkout made an invoice of it.
    """
    places = {
        name: place
        for place, payment in enumerate(payments)
        if payment.may_go_back
        for item in payment.objects
        for name in (item.id, *item.links)
        if not (payment.account.id in moving and payment.invoice and name == payment.invoice.id)
    }
    if not places:
        return
    bought: dict[int, list[Purchase]] = {}
    for purchase in purchases.of_origins(ctx.session, places):
        bought.setdefault(places[purchase.origin], []).append(purchase)
    clawbacks.settle_all(ctx, [(bought[place], states[place]) for place in sorted(bought)])


def _follow_balances(ctx: Context, account_ids: set[int], catalog: Catalog) -> None:
    """Settle all invoices of accounts with money in their balance at Stripe, or money from it."""
    paid = [
        Bill(
            item.invoice,
            item.lines,
            item.bought,
            item.prices,
            state_of(item.objects),
            [note for note in item.objects if isinstance(note, CreditNote) and not note.is_void],
        )
        for item in bills.read(ctx, account_ids, catalog)
    ]
    states = balance.settle(paid)
    clawbacks.settle_all(ctx, [(bill.bought, states[bill.invoice.id]) for bill in paid])


def state_of(payment: Iterable[Facts]) -> PaymentState:
    """The money of a payment that paid for its purchases, went back, and is disputed."""
    charges: dict[str, Charge] = {}
    refunds: list[Refund] = []
    disputes: list[Dispute] = []
    notes: list[CreditNote] = []
    received: list[tuple[str, int]] = []
    total = from_balance = 0
    for item in payment:
        if isinstance(item, Charge) and item.status == "succeeded":
            charges[item.id] = item
        elif isinstance(item, Refund):
            refunds.append(item)
        elif isinstance(item, Dispute):
            disputes.append(item)
        elif isinstance(item, CreditNote) and not item.is_void:
            notes.append(item)
        elif isinstance(item, Invoice):
            received.insert(0, (item.currency, item.paid))
            total, from_balance = item.total, item.from_balance
        elif isinstance(item, PaymentIntent) and item.received:
            received.insert(0, (item.currency, item.received))
        elif isinstance(item, CheckoutSession):
            received.append((item.currency or "", item.total))
    # The page may show the payer another currency than the one that is charged.
    amounts = [*[(charge.currency, charge.amount) for charge in charges.values()], *received]
    currency = amounts[0][0] if amounts else ""
    charged = sum([charge.amount for charge in charges.values()])
    paid = max([charged, *[amount for code, amount in received if code == currency]])
    refunded = sum([_refunded(charge, refunds) for charge in charges.values()])
    refunded += sum([refund.returned for refund in refunds if refund.charge not in charges])
    claims = {
        dispute.id: dispute.share_of(
            charges[dispute.charge].amount if dispute.charge in charges else paid, currency
        )
        for dispute in disputes
    }
    lost = sum([claims[dispute.id] for dispute in disputes if dispute.is_lost])
    still_open = {dispute.id: claims[dispute.id] for dispute in disputes if dispute.is_open}
    unexplained = sum([_unexplained(charge, refunds) for charge in charges.values()])
    credited = sum([note.amount - note.refunded(refunds) for note in notes])
    credited += max(sum([note.announced(refunds) for note in notes]) - unexplained, 0)
    # What the customer's balance paid bought its part, and does not go back with the charge; but a
    # credit note may give it back.
    most = max(paid, total) if notes else paid
    return PaymentState(paid + from_balance, min(refunded + lost + credited, most), still_open)


def _refunded(charge: Charge, refunds: Sequence[Refund]) -> int:
    """The money of a charge that went back.

    The charge counts refunds when they are made, also those that fail later; its refunds say so.
    """
    own = [refund for refund in refunds if refund.charge == charge.id]
    made = max(charge.refunded, sum([refund.amount for refund in own]))
    return made - sum([refund.amount - refund.returned for refund in own])


def _unexplained(charge: Charge, refunds: Sequence[Refund]) -> int:
    """The refunds of a charge that are not known one by one."""
    own = [refund for refund in refunds if refund.charge == charge.id]
    return max(charge.refunded - sum([refund.amount for refund in own]), 0)


def _mirror(ctx: Context, payments: Sequence[Payment], states: Sequence[PaymentState]) -> None:
    """Write the invoices and payments that the main app shows."""
    paid = [
        (payment, source, _status(state, money), money)
        for payment, state in zip(payments, states, strict=True)
        if (money := _money(payment, state)) > 0 and (source := _source(payment)) is not None
    ]
    billed = [item.invoice.mirrored(item.account) for item in payments if item.invoice is not None]
    amounts = [fields.minor(amount, source.currency or "") for _, source, _, amount in paid]
    ids = invoices.write_of_stripe(ctx.session, billed)
    written = []
    for (payment, source, status, _), amount_minor in zip(paid, amounts, strict=True):
        mirrored = MirroredPayment(
            account_id=payment.account.id,
            invoice_id=ids[payment.invoice.id] if payment.invoice else None,
            method="stripe",
            external_id=source.id
            if source is payment.invoice
            else top_ups.name_of([source]) or source.id,
            status=status,
            currency=source.currency or "",
            amount_minor=amount_minor,
            happened_at=ctx.now,
        )
        written.append((mirrored, [item.id for item in payment.objects]))
    invoices.write_payments(ctx.session, written)


def _money(payment: Payment, state: PaymentState) -> int:
    """The money that was paid: not what the customer's balance paid."""
    return state.paid - (payment.invoice.from_balance if payment.invoice else 0)


def _source(payment: Payment) -> Invoice | PaymentIntent | Charge | CheckoutSession | None:
    """The object that names the payment, once it is paid.

    Its invoice, else its intent, its charge, or its Checkout session.
    """
    if payment.invoice is not None:
        return payment.invoice if payment.invoice.status == "paid" else None
    for kind in (PaymentIntent, Charge):
        for item in payment.objects:
            if isinstance(item, kind) and item.status == "succeeded":
                return item
    sessions = [item for item in payment.objects if isinstance(item, CheckoutSession)]
    is_paid = bool(sessions) and sessions[0].mode == "payment" and sessions[0].is_paid
    return sessions[0] if is_paid and sessions[0].currency else None


def _status(state: PaymentState, money: int) -> str:
    if state.disputes:
        return "disputed"
    if not state.returned:
        return "succeeded"
    return "refunded" if state.returned >= money else "partially_refunded"
