"""Amounts of bank files: converted to integer minor units, never through a float, or refused."""

import re
from functools import lru_cache

from billing.currencies import SHOWN_AS_MINOR, exponent_of
from billing.statements.errors import AmountTooLarge, AmountTooPrecise, BadAmount, BadCurrency
from billing.statements.limits import MAX_CACHED_CHARS

# The largest amount in minor units: a sum of many still fits a Postgres bigint (9.2e18).
MAX_MINOR = 10**17
# Digits before the decimal mark: ISO 20022 has 18 in all, SWIFT 15.
_WHOLE = r"[0-9]{1,18}"
# An xs:decimal that is not negative: +5.00, .5, 5., 007.50 and -0.00 are.
_XS_DECIMAL = re.compile(r"(?=.*[0-9])(?:\+|-(?=[0.]*$))?0*([0-9]*)(?:\.([0-9]*?)0*)?", re.ASCII)
_CODE = re.compile(r"[A-Z]{3}")


@lru_cache(maxsize=64)
def _grammar(decimal: str, group: str) -> re.Pattern[str]:
    grouped = rf"|[0-9]{{1,3}}(?:[{re.escape(group)}][0-9]{{3}}){{1,5}}" if group else ""
    # a grouped number first: otherwise "1" of "1.000" would already be a match
    decimals = rf"(?:[{re.escape(decimal)}]([0-9]{{0,5}}))?"
    return re.compile(rf"(?=.*[0-9])({_WHOLE}{grouped}|){decimals}", re.ASCII)


def to_minor(
    text: str, *, exponent: int, position: str, decimal: str = ".", group: str = ""
) -> int:
    """Convert an unsigned amount to minor units of a currency with `exponent` decimals (0, 2 or 3).

    The text has ASCII digits only and at most one decimal mark, which may begin it (.5). `decimal`
    and `group` list the marks allowed before decimals and between groups of three. Zeros beyond the
    currency's decimals are dropped (ISO 20022 allows five decimals, and banks send 8.85000). Any
    other digit there is refused, because no ledger could hold it. Raises BadAmount,
    AmountTooPrecise, AmountTooLarge.
    """
    minor = _minor(text, exponent, decimal, group) if len(text) <= MAX_CACHED_CHARS else None
    if minor is None:
        raise BadAmount(position, text=text)
    if minor == _TOO_PRECISE:
        raise AmountTooPrecise(position, text=text, exponent=exponent)
    if minor > MAX_MINOR:
        raise AmountTooLarge(position, text=text)
    return minor


def minor_of(text: str, currency: str, position: str, decimal: str = ".", group: str = "") -> int:
    """Convert an unsigned amount to minor units of its currency.

    Raises the errors of MoneyRefused.
    """
    exponent = currency_exponent(currency, position)
    return to_minor(text, exponent=exponent, position=position, decimal=decimal, group=group)


def plain_decimal(text: str) -> str:
    """An xs:decimal without its plus sign and the zeros that fill it (XML Schema 2, 3.2.3).

    Any other text comes back as it is, and is then refused as an amount.
    """
    return _plain_decimal(text) if len(text) <= MAX_CACHED_CHARS else text


@lru_cache(maxsize=4096)
def _plain_decimal(text: str) -> str:
    match = _XS_DECIMAL.fullmatch(text)
    return f"{match[1] or '0'}.{match[2] or ''}" if match else text


# The result of `_minor` for digits that the currency does not have; no amount is negative.
_TOO_PRECISE = -1


@lru_cache(maxsize=4096)  # an amount occurs in an entry, and again in its transaction
def _minor(text: str, exponent: int, decimal: str, group: str) -> int | None:
    match = _grammar(decimal, group).fullmatch(text)
    if match is None:
        return None
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > exponent:
        if fraction[exponent:].strip("0"):
            return _TOO_PRECISE
        fraction = fraction[:exponent]
    for mark in group:
        whole = whole.replace(mark, "")
    return int((whole + fraction.ljust(exponent, "0")) or "0")


def signed_minor(
    text: str, *, exponent: int, position: str, decimal: str = ".", group: str = ""
) -> int:
    """Convert an amount like `to_minor`, with at most one sign before or after the digits."""
    sign = 1
    digits = text
    if digits[:1] in {"+", "-"}:
        sign, digits = (-1 if digits[0] == "-" else 1), digits[1:]
    elif digits[-1:] in {"+", "-"}:
        sign, digits = (-1 if digits[-1] == "-" else 1), digits[:-1]
    return sign * to_minor(
        digits, exponent=exponent, position=position, decimal=decimal, group=group
    )


def currency_exponent(code: str, position: str) -> int:
    """The decimals of an upper-case ISO 4217 code.

    An unknown code has 2, and its statement is held. Raises BadCurrency if the text does not have
    the form of a code, and for the units with four decimals.
    """
    exponent = exponent_of(code)
    if exponent is None:
        if not _CODE.fullmatch(code):
            raise BadCurrency(position, text=code)
        return SHOWN_AS_MINOR
    if exponent not in {0, 2, 3}:
        raise BadCurrency(position, text=code)
    return exponent
