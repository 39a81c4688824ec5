"""How fields are read out of Stripe's JSON: checked, or named in the error."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from billing.currencies import exponent_of
from billing.stripe.errors import BadAmount, BadObject, UnknownCurrency

#: Stripe's largest amounts have 12 digits; a sum of many still fits a bigint.
MAX_AMOUNT = 10**12
#: Ids, names of types and statuses are short; what is longer is none.
MAX_TEXT_CHARACTERS = 255
#: What the main app's columns of mirrored statuses and of invoices' numbers hold.
MAX_STATUS_CHARACTERS, MAX_NUMBER_CHARACTERS = 20, 100
#: No time of Stripe's lies outside these years.
FIRST_SECOND = int(dt.datetime(2010, 1, 1, tzinfo=dt.UTC).timestamp())
LAST_SECOND = int(dt.datetime(2100, 1, 1, tzinfo=dt.UTC).timestamp())

#: Stripe counts these in another unit than ISO 4217 has decimals for: docs.stripe.com/currencies,
#: "Special cases" and "Zero-decimal currencies". value: decimals of Stripe's unit.
STRIPE_DECIMALS = {"ISK": 2, "UGX": 2, "MGA": 0}

JSON = Mapping[str, Any]


def text(source: JSON, name: str, *, longest: int = MAX_TEXT_CHARACTERS) -> str | None:
    """A text of at most `longest` characters, or None. Raises BadObject."""
    value = source.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise BadObject(field=name)
    return value


def needed(source: JSON, name: str, *, longest: int = MAX_TEXT_CHARACTERS) -> str:
    """A text of at most `longest` characters that must be there. Raises BadObject."""
    value = text(source, name, longest=longest)
    if value is None:
        raise BadObject(field=name)
    return value


def reference(source: JSON, name: str) -> str | None:
    """The id of another object, which may be expanded. Raises BadObject."""
    value = source.get(name)
    return text(value, "id") if isinstance(value, Mapping) else text(source, name)


def flag(source: JSON, name: str) -> bool:
    """True or False; missing or null is False. Raises BadObject."""
    value = source.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BadObject(field=name)
    return value


def amount(source: JSON, name: str, *, signed: bool = False) -> int:
    """An amount in Stripe's unit of the currency; missing or null is 0. Raises BadAmount."""
    value = source.get(name)
    if value is None:
        return 0
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or abs(value) > MAX_AMOUNT or (value < 0 and not signed):
        raise BadAmount(field=name)
    return int(value)


def count(source: JSON, name: str, *, default: int) -> int:
    """A number of things, at least 0. Raises BadAmount."""
    return default if source.get(name) is None else amount(source, name)


def second(source: JSON, name: str) -> int | None:
    """A time in seconds since 1970, or None. Raises BadObject."""
    value = source.get(name)
    if value is None:
        return None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not FIRST_SECOND <= value < LAST_SECOND:
        raise BadObject(field=name)
    return int(value)


def currency(source: JSON, name: str = "currency") -> str:
    """An ISO 4217 code in capitals. Raises UnknownCurrency."""
    code = (text(source, name) or "").upper()
    if exponent_of(code) is None:
        raise UnknownCurrency(field=name)
    return code


def inside(source: JSON, *names: str) -> JSON:
    """The object inside objects; empty where one is missing, null or only an id."""
    for name in names:
        value = source.get(name)
        if not isinstance(value, Mapping):
            return {}
        source = value
    return source


def items(source: JSON, name: str) -> list[JSON]:
    """The objects of a list, in Stripe's form or plain. Raises BadObject."""
    value = source.get(name)
    if isinstance(value, Mapping):
        value = value.get("data")
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise BadObject(field=name)
    return value


def moment(second_: int) -> dt.datetime:
    """Stripe's seconds as a time in UTC."""
    return dt.datetime.fromtimestamp(second_, dt.UTC)


def minor(stripe_amount: int, code: str) -> int:
    """An amount of Stripe's in the minor units of ISO 4217: 500 of ISK are 5.

    What Stripe's unit has more decimals than the currency is rounded down: there is no such coin.
    """
    exponent = exponent_of(code)
    assert exponent is not None, "currency() has checked it"
    shift = exponent - STRIPE_DECIMALS.get(code, exponent)
    return stripe_amount * int(10**shift) if shift >= 0 else stripe_amount // int(10**-shift)
