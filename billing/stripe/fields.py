"""Readers for the fields of Stripe's JSON, and of our metadata in it. Each checks what it reads."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from billing import currencies
from billing.lifecycle.trials import fingerprints
from billing.stripe.errors import BadAmount, BadObject, UnknownCurrency

#: Stripe's largest amounts have 12 digits; a sum of many still fits a bigint.
MAX_AMOUNT = 10**12
#: Ids, names of types and statuses are short.
MAX_TEXT_CHARACTERS = 255
#: The widths of the main app's columns for mirrored statuses and invoice numbers.
MAX_STATUS_CHARACTERS, MAX_NUMBER_CHARACTERS = 20, 100
#: Stripe sends no times outside these years.
FIRST_SECOND = int(dt.datetime(2010, 1, 1, tzinfo=dt.UTC).timestamp())
LAST_SECOND = int(dt.datetime(2100, 1, 1, tzinfo=dt.UTC).timestamp())

#: Currencies whose unit at Stripe has other decimals than in ISO 4217, with Stripe's decimals:
#: docs.stripe.com/currencies, "Special cases" and "Zero-decimal currencies".
STRIPE_DECIMALS = {"ISK": 2, "UGX": 2, "MGA": 0}

#: Our metadata on a price or a product: which plan it is, or how many credits a unit brings.
PLAN_METADATA, CREDITS_METADATA = "plan", "credits"
#: Our metadata on any object: the account that it belongs to.
ACCOUNT_METADATA = "account_id"
MAX_ACCOUNT_ID = 2**63 - 1

#: The beginnings of Stripe's ids; a charge of the oldest kinds of payment is `py_…`.
INVOICE, INTENT, CHARGE, PAYMENT = "in_", "pi_", "ch_", "py_"

JSON = Mapping[str, Any]

_DECIMAL = re.compile(r"-?\d{1,20}(\.\d{1,20})?")

_exponent = lru_cache(maxsize=256)(currencies.exponent_of)


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a line or an item. None: the object at hand does not say.

    `is_free`: its amount is 0. `is_metered`: its quantity is usage, not a number of subscriptions.
    `plan` and `credits` by its own metadata, `product_…` by its product's. `is_of_item`: it is on
    a line that no subscription made, so it is a one-time price.
    """

    id: str | None
    product: str | None
    lookup_key: str | None = None
    plan: str | None = None
    credits: int | None = None
    is_one_time: bool | None = None
    is_free: bool | None = None
    is_metered: bool | None = None
    product_plan: str | None = None
    product_credits: int | None = None
    is_of_item: bool = False


def text(source: JSON, name: str, *, longest: int = MAX_TEXT_CHARACTERS) -> str | None:
    """Read a text of at most `longest` characters, or None. Raises BadObject."""
    value = source.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise BadObject(field=name)
    return value


def needed(source: JSON, name: str, *, longest: int = MAX_TEXT_CHARACTERS) -> str:
    """Read a text that must be present. Raises BadObject."""
    value = text(source, name, longest=longest)
    if value is None:
        raise BadObject(field=name)
    return value


def reference(source: JSON, name: str) -> str | None:
    """Read the id of another object, which may be expanded. Raises BadObject."""
    value = source.get(name)
    return text(value, "id") if isinstance(value, Mapping) else text(source, name)


def linked(source: JSON, name: str, *forms: str) -> str | None:
    """Read the id of another object of a payment; None unless it begins with one of `forms`.

    A link joins two payments, so a text of the merchant's own must never pass for an id.
    """
    return link_id(reference(source, name), *forms)


def link_id(value: str | None, *forms: str) -> str | None:
    """Return the id if it has one of these forms, such as `INVOICE`."""
    return value if value is not None and value.startswith(forms) else None


def flag(source: JSON, name: str) -> bool:
    """Read a boolean; missing or null is False. Raises BadObject."""
    value = source.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BadObject(field=name)
    return value


def amount(source: JSON, name: str, *, signed: bool = False) -> int:
    """Read an amount in Stripe's unit; missing or null is 0. Raises BadAmount."""
    value = source.get(name)
    if value is None:
        return 0
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or abs(value) > MAX_AMOUNT or (value < 0 and not signed):
        raise BadAmount(field=name)
    return int(value)


def is_zero(*values: object) -> bool | None:
    """Whether the first of these amounts that is present is 0; a price's may be a decimal text."""
    value = next((str(value) for value in values if value is not None), "")
    return Decimal(value) == 0 if _DECIMAL.fullmatch(value) else None


def amounts(source: JSON, name: str) -> int:
    """Sum the amounts in a list. Raises BadAmount or BadObject."""
    return sum([amount(item, "amount", signed=True) for item in items(source, name)])


def balances(invoice: JSON) -> tuple[int | None, int | None]:
    """Read the customer's balance before and after an invoice; None: not said. Raises BadAmount."""
    before, after = [
        None if invoice.get(name) is None else amount(invoice, name, signed=True)
        for name in ("starting_balance", "ending_balance")
    ]
    return before, after


def is_credit(*places: JSON) -> bool | None:
    """Whether a proration line credits earlier ones; None: an old shape, which does not say.

    Source: docs.stripe.com/api/invoice-line-item/object, proration_details
    """
    for place in places:
        if isinstance(place.get("proration_details"), Mapping):
            return bool(inside(place, "proration_details").get("credited_items"))
    return None


def count(source: JSON, name: str, *, default: int) -> int:
    """Read a number of things, at least 0. Raises BadAmount."""
    return default if source.get(name) is None else amount(source, name)


def second(source: JSON, name: str) -> int | None:
    """Read a time in seconds since 1970, or None. Raises BadObject."""
    value = source.get(name)
    if value is None:
        return None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not FIRST_SECOND <= value < LAST_SECOND:
        raise BadObject(field=name)
    return int(value)


def currency(source: JSON, name: str = "currency") -> str:
    """Read an ISO 4217 code, in capitals. Raises UnknownCurrency."""
    code = (text(source, name) or "").upper()
    if _exponent(code) is None:
        raise UnknownCurrency(field=name)
    return code


def inside(source: JSON, *names: str) -> JSON:
    """Read a nested object; empty where a level is missing, null or only an id."""
    for name in names:
        value = source.get(name)
        if not isinstance(value, Mapping):
            return {}
        source = value
    return source


def items(source: JSON, name: str) -> list[JSON]:
    """Read the objects of a list, plain or in Stripe's form. Raises BadObject."""
    value = source.get(name)
    if isinstance(value, Mapping):
        value = value.get("data")
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise BadObject(field=name)
    return value


def moment(second_: int) -> dt.datetime:
    """Turn Stripe's seconds into a time in UTC."""
    return dt.datetime.fromtimestamp(second_, dt.UTC)


def minor(stripe_amount: int, code: str) -> int:
    """Turn an amount of Stripe's into minor units of ISO 4217: 500 of ISK are 5.

    Decimals that the currency does not have are rounded down.
    """
    exponent = _exponent(code)
    assert exponent is not None, "currency() has checked it"
    shift = exponent - STRIPE_DECIMALS.get(code, exponent)
    return stripe_amount * int(10**shift) if shift >= 0 else stripe_amount // int(10**-shift)


def money(payment: str, code: str, amount: int) -> dict[str, object]:
    """The payload of an outbox event about money."""
    return {"payment": payment, "currency": code, "amount_minor": minor(amount, code)}


def common(source: JSON, *hints: JSON) -> dict[str, Any]:
    """Read the id, customer and hint of any object. Raises BadObject.

    `hints`: more places of metadata that may name the account.
    """
    return {
        "id": needed(source, "id"),
        "customer": reference(source, "customer"),
        "hint": account_hint(source, *hints),
    }


def payment_ids(payment: JSON) -> list[str | None]:
    """Read the intent and the charge that an invoice or an invoice payment names."""
    return [
        linked(payment, "payment_intent", INTENT),
        linked(payment, "charge", CHARGE, PAYMENT),
    ]


def card_digest(*sources: JSON) -> str | None:
    """Digest the card's fingerprint: equal cards compare equal, and the card can't be recovered."""
    shown = next(filter(None, [text(source, "fingerprint") for source in sources]), None)
    return fingerprints.of_card(shown).digest.hex() if shown else None


def price_of(source: JSON) -> Price:
    """Parse a price object, or an old plan object."""
    metadata = inside(source, "metadata")
    product = inside(source, "product", "metadata")
    type_ = text(source, "type") if source.get("object") == "price" else "recurring"
    usage = inside(source, "recurring").get("usage_type") or source.get("usage_type")
    names = ("unit_amount_decimal", "unit_amount", "amount_decimal", "amount")
    return Price(
        id=text(source, "id"),
        product=reference(source, "product"),
        lookup_key=text(source, "lookup_key"),
        plan=text(metadata, PLAN_METADATA),
        credits=credits_in(metadata),
        is_one_time=None if type_ is None else type_ == "one_time",
        is_free=is_zero(*[source.get(name) for name in names]),
        is_metered=None if usage is None else usage == "metered",
        product_plan=text(product, PLAN_METADATA),
        product_credits=credits_in(product),
    )


def price_named(source: JSON) -> Price:
    """Parse the price of a line or an item: an object, or since "basil" ids alone."""
    for name in ("price", "plan"):
        if inner := inside(source, name):
            return price_of(inner)
    details = inside(source, "pricing", "price_details")
    if expanded := inside(details, "price"):
        return price_of(expanded)
    return Price(
        id=reference(details, "price") or reference(source, "price"),
        product=reference(details, "product"),
    )


def account_hint(*sources: JSON) -> int | None:
    """Read the account that the metadata of one of these objects names."""
    for source in sources:
        named = inside(source, "metadata").get(ACCOUNT_METADATA)
        if (account_id := account_number(named)) is not None:
            return account_id
    return None


def account_number(named: object) -> int | None:
    """Read an account's id from metadata; None for anything else."""
    digits = str(named) if isinstance(named, str | int) and not isinstance(named, bool) else ""
    is_number = digits.isascii() and digits.isdigit()
    return int(digits) if is_number and 0 < int(digits[:20]) <= MAX_ACCOUNT_ID else None


def credits_in(metadata: JSON) -> int | None:
    """Read the credits that metadata promises. Raises BadObject unless a whole number above 0."""
    named = metadata.get(CREDITS_METADATA)
    if named is None or named == "":
        return None
    digits = str(named)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9 or int(digits) == 0:
        raise BadObject(field=f"metadata.{CREDITS_METADATA}")
    return int(digits)
