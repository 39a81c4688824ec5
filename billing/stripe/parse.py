"""How each kind of Stripe object is read, in its old shape and its new."""

from collections.abc import Callable
from typing import Any

from billing.lifecycle.trials import fingerprints
from billing.stripe import json_fields as read
from billing.stripe.json_fields import JSON
from billing.stripe.metadata import PLAN_METADATA, account_hint, account_number, credits_in
from billing.stripe.types import (
    ENDED,
    CashTransaction,
    CatalogPrice,
    Charge,
    CheckoutSession,
    Customer,
    Dispute,
    Facts,
    Invoice,
    InvoicePayment,
    Item,
    Line,
    PaymentIntent,
    PaymentMethod,
    Price,
    Product,
    Refund,
    Subscription,
)


def _common(source: JSON) -> dict[str, Any]:
    """Id, customer and hint of any object. Raises BadObject."""
    return {
        "id": read.needed(source, "id"),
        "customer": read.reference(source, "customer"),
        "hint": account_hint(source),
    }


def _price(source: JSON) -> Price:
    """A price object, or an old plan object."""
    metadata = read.inside(source, "metadata")
    product = read.inside(source, "product", "metadata")
    kind = read.text(source, "type") if source.get("object") == "price" else "recurring"
    return Price(
        id=read.text(source, "id"),
        product=read.reference(source, "product"),
        lookup_key=read.text(source, "lookup_key"),
        plan=read.text(metadata, PLAN_METADATA) or read.text(product, PLAN_METADATA),
        credits=credits_in(metadata) or credits_in(product),
        is_one_time=None if kind is None else kind == "one_time",
    )


def _priced_by(source: JSON) -> Price:
    """What a line or an item costs by: an object, or since "basil" ids alone."""
    for name in ("price", "plan"):
        if inner := read.inside(source, name):
            return _price(inner)
    details = read.inside(source, "pricing", "price_details")
    if expanded := read.inside(details, "price"):
        return _price(expanded)
    return Price(
        id=read.reference(details, "price") or read.reference(source, "price"),
        product=read.reference(details, "product"),
    )


def _line(source: JSON) -> Line:
    parent = read.inside(source, "parent")
    details = read.inside(parent, "subscription_item_details") or read.inside(
        parent, "invoice_item_details"
    )
    period = read.inside(source, "period")
    unit = read.inside(source, "price").get("unit_amount")
    unit = read.inside(source, "plan").get("amount") if unit is None else unit
    return Line(
        id=read.needed(source, "id"),
        price=_priced_by(source),
        amount=read.amount(source, "amount", signed=True),
        quantity=read.count(source, "quantity", default=1),
        is_proration=read.flag(source, "proration") or read.flag(details, "proration"),
        start=read.second(period, "start"),
        end=read.second(period, "end"),
        is_free_price=None if unit is None else unit == 0,
    )


def _invoice(source: JSON) -> Invoice:
    of_subscription = read.inside(source, "parent", "subscription_details")
    status = read.text(source, "status", longest=read.MAX_STATUS_CHARACTERS)
    if source.get("deleted") is True:
        status = "deleted"
    elif status is None:  # before 2018-11-08
        status = "paid" if read.flag(source, "paid") else "open"
    payments = [read.reference(source, name) for name in ("payment_intent", "charge")]
    for each in read.items(source, "payments"):
        payments += _payments_of(read.inside(each, "payment"))
    return Invoice(
        **{
            **_common(source),
            "hint": account_hint(
                source, of_subscription, read.inside(source, "subscription_details")
            ),
        },
        subscription=read.reference(source, "subscription")
        or read.reference(of_subscription, "subscription"),
        status=status,
        currency=read.currency(source),
        total=read.amount(source, "total", signed=True),
        due=read.amount(source, "amount_due", signed=True),
        paid=read.amount(source, "amount_paid"),
        attempts=read.count(source, "attempt_count", default=0),
        next_attempt=read.second(source, "next_payment_attempt"),
        created=read.second(source, "created"),
        due_date=read.second(source, "due_date"),
        number=read.text(source, "number", longest=read.MAX_NUMBER_CHARACTERS),
        payments=tuple(sorted({each for each in payments if each})),
        lines=tuple([_line(each) for each in read.items(source, "lines")]),
        has_more_lines=read.flag(read.inside(source, "lines"), "has_more"),
    )


def _payments_of(payment: JSON) -> list[str | None]:
    return [read.reference(payment, name) for name in ("payment_intent", "charge")]


def _items(source: JSON, name: str) -> tuple[Item, ...]:
    return tuple(
        [
            Item(_priced_by(each), read.count(each, "quantity", default=1))
            for each in read.items(source, name)
        ]
    )


def _subscription(source: JSON) -> Subscription:
    listed = read.items(source, "items")
    items = _items(source, "items")
    if not items and (plan := read.inside(source, "plan")):
        items = (Item(_price(plan), read.count(source, "quantity", default=1)),)
    starts = [read.second(each, "current_period_start") for each in [source, *listed]]
    ends = [read.second(each, "current_period_end") for each in [source, *listed]]
    status = read.needed(source, "status", longest=read.MAX_STATUS_CHARACTERS)
    is_ended = status in ENDED or read.second(source, "ended_at") is not None
    return Subscription(
        **_common(source),
        status="canceled" if is_ended and status not in ENDED else status,
        is_ended=is_ended,
        start=min([each for each in starts if each], default=None),
        end=max([each for each in ends if each], default=None),
        cancels_at_end=read.flag(source, "cancel_at_period_end")
        or read.second(source, "cancel_at") is not None,
        latest_invoice=read.reference(source, "latest_invoice"),
        created=read.second(source, "created"),
        trial_end=read.second(source, "trial_end"),
        items=items,
    )


def _card(*paid_by: JSON) -> str | None:
    """What is kept of a card's fingerprint: nothing that shows it."""
    found = [read.text(each, "fingerprint") for each in paid_by]
    shown = next((each for each in found if each), None)
    return fingerprints.of_card(shown).digest.hex() if shown else None


def _charge(source: JSON) -> Charge:
    status = read.text(source, "status") or ("succeeded" if read.flag(source, "paid") else "failed")
    is_captured = source.get("captured") is not False
    captured = "amount_captured" if source.get("amount_captured") is not None else "amount"
    return Charge(
        **_common(source),
        invoice=read.reference(source, "invoice"),
        payment_intent=read.reference(source, "payment_intent"),
        currency=read.currency(source),
        amount=read.amount(source, captured) if is_captured else 0,
        refunded=read.amount(source, "amount_refunded"),
        # "paid" in the oldest shapes
        status="succeeded" if status == "paid" else status,
        is_disputed=read.flag(source, "disputed") or source.get("dispute") is not None,
        decline=read.text(read.inside(source, "outcome"), "reason")
        or read.text(source, "failure_code"),
        # before 2018 a charge had a source
        card=_card(
            read.inside(source, "payment_method_details", "card"), read.inside(source, "source")
        ),
    )


def _refund(source: JSON) -> Refund:
    return Refund(
        **_common(source),
        charge=read.reference(source, "charge"),
        payment_intent=read.reference(source, "payment_intent"),
        currency=read.currency(source),
        amount=read.amount(source, "amount"),
        # refunds had no status before 2015
        status=read.text(source, "status") or "succeeded",
    )


def _dispute(source: JSON) -> Dispute:
    return Dispute(
        **_common(source),
        charge=read.reference(source, "charge"),
        payment_intent=read.reference(source, "payment_intent"),
        currency=read.currency(source),
        amount=read.amount(source, "amount"),
        status=read.needed(source, "status"),
    )


def _payment_intent(source: JSON) -> PaymentIntent:
    # An invoice's intent may copy metadata; what the invoice bought is on its lines.
    charges = read.items(source, "charges")
    latest = read.reference(source, "latest_charge")
    return PaymentIntent(
        **_common(source),
        invoice=read.reference(source, "invoice")
        or read.text(read.inside(source, "payment_details"), "order_reference"),
        latest_charge=latest or (read.text(charges[0], "id") if charges else None),
        currency=read.currency(source),
        received=read.amount(source, "amount_received"),
        status=read.needed(source, "status"),
        created=read.second(source, "created"),
        credits=credits_in(read.inside(source, "metadata")),
    )


def _checkout_session(source: JSON) -> CheckoutSession:
    named = account_number(source.get("client_reference_id"))
    return CheckoutSession(
        **{**_common(source), "hint": named or account_hint(source)},
        mode=read.text(source, "mode") or "payment",
        # before 2020 a completed session had no status
        status=read.text(source, "status") or "complete",
        payment_status=read.text(source, "payment_status") or "unpaid",
        invoice=read.reference(source, "invoice"),
        payment_intent=read.reference(source, "payment_intent"),
        subscription=read.reference(source, "subscription"),
        currency=read.currency(source) if source.get("currency") else None,
        total=read.amount(source, "amount_total"),
        created=read.second(source, "created"),
        credits=credits_in(read.inside(source, "metadata")),
        items=_items(source, "line_items"),
    )


def _invoice_payment(source: JSON) -> InvoicePayment:
    paid_by = [each for each in _payments_of(read.inside(source, "payment")) if each]
    return InvoicePayment(
        **_common(source),
        invoice=read.reference(source, "invoice"),
        payment=paid_by[0] if paid_by else None,
        status=read.text(source, "status") or "open",
    )


def _customer(source: JSON) -> Customer:
    shared = _common(source)
    return Customer(**{**shared, "customer": shared["id"]}, is_deleted=read.flag(source, "deleted"))


def _payment_method(source: JSON) -> PaymentMethod:
    return PaymentMethod(**_common(source), card=_card(read.inside(source, "card")))


def _catalog_price(source: JSON) -> CatalogPrice:
    return CatalogPrice(
        **{**_common(source), "customer": None, "hint": None},
        price=_price(source),
        is_deleted=read.flag(source, "deleted"),
    )


def _product(source: JSON) -> Product:
    metadata = read.inside(source, "metadata")
    return Product(
        **{**_common(source), "customer": None, "hint": None},
        price=Price(
            id=None,
            product=read.needed(source, "id"),
            plan=read.text(metadata, PLAN_METADATA),
            credits=credits_in(metadata),
        ),
        is_deleted=read.flag(source, "deleted"),
    )


def _cash_transaction(source: JSON) -> CashTransaction:
    return CashTransaction(
        **_common(source),
        type=read.needed(source, "type"),
        currency=read.currency(source),
        net=read.amount(source, "net_amount", signed=True),
    )


#: kind -> how it is read
READERS: dict[str, Callable[[JSON], Facts]] = {
    "invoice": _invoice,
    "subscription": _subscription,
    "charge": _charge,
    "refund": _refund,
    "dispute": _dispute,
    "payment_intent": _payment_intent,
    "checkout_session": _checkout_session,
    "invoice_payment": _invoice_payment,
    "customer": _customer,
    "payment_method": _payment_method,
    "price": _catalog_price,
    "product": _product,
    "cash_transaction": _cash_transaction,
}


def facts_of(kind: str, source: JSON) -> Facts:
    """The facts of an object of this kind. Raises BadObject and what is below it."""
    return READERS[kind](source)
