"""Canonical statements as plain values for JSON: amounts in minor units, days in ISO 8601."""

from datetime import date
from typing import Any

from billing.currencies import SHOWN_AS_MINOR, exponent_of
from billing.statements.canonical import Balance, Detail, Entry, Statement

Plain = dict[str, Any]


def plain_statement(statement: Statement) -> Plain:
    """A statement without its entries."""
    account = statement.account
    return {
        "format": statement.format,
        "version": statement.version,
        "family": statement.family.value,
        "source": statement.source,
        "account": {
            "iban": account.iban,
            "other": account.other,
            "bank": account.bank,
            "owner": account.owner,
        },
        "currency": statement.currency,
        "currency_exponent": _exponent(statement.currency),
        "statement_id": statement.statement_id,
        "sequence": statement.sequence,
        "page": statement.page,
        "created": statement.created,
        "from_date": _day(statement.from_date),
        "to_date": _day(statement.to_date),
        "opening": _balance(statement.opening),
        "closing": _balance(statement.closing),
        "booked_minor": statement.booked_minor,
        "totals": [total._asdict() for total in statement.totals],
        "checks": [{**check._asdict(), "agrees": check.agrees} for check in statement.checks],
        "outcome": "held" if statement.is_held else "read",
        "holds": [{**hold._asdict(), "reason": hold.reason.value} for hold in statement.holds],
        "notes": list(statement.notes),
        "entry_count": len(statement.entries),
    }


def plain_entry(entry: Entry) -> Plain:
    """An entry with the fields of its only transaction; a batch lists its details instead."""
    only = entry.only_detail
    values: Plain = {
        "position": entry.position,
        "booking_date": _day(entry.booking_date),
        "value_date": _day(entry.value_date),
        "amount_minor": entry.amount_minor,
        "currency": entry.currency,
        "status": entry.status.value if entry.status else None,
        "is_reversal": entry.is_reversal,
        "bank_reference": entry.bank_reference,
        "customer_reference": entry.customer_reference,
        "type_code": entry.type_code,
        "corrects": entry.corrects,
        "note": entry.note,
    }
    detail_values = plain_detail(only or Detail())
    for name in ("bank_reference", "amount_minor", "currency", "type_code", "note"):
        detail_values[f"detail_{name}"] = detail_values.pop(name)
    values |= detail_values
    values["split_agrees"] = entry.split_agrees
    values["details"] = [] if only else [plain_detail(detail) for detail in entry.details]
    return values


def plain_detail(detail: Detail) -> Plain:
    """One transaction."""
    values = detail._asdict()
    values["references"] = [reference._asdict() for reference in detail.references]
    values["remittance"] = list(detail.remittance)
    return values


def _balance(balance: Balance | None) -> Plain | None:
    return balance and {**balance._asdict(), "day": _day(balance.day)}


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def shown_amount(minor: int, currency: str) -> str:
    """Format minor units for display, such as -12.50 EUR."""
    decimals = _exponent(currency) or 0
    digits = str(abs(minor)).rjust(decimals + 1, "0")
    shown = f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits
    return f"{'-' if minor < 0 else ''}{shown} {currency}"


def _exponent(currency: str | None) -> int | None:
    if currency is None:
        return None
    exponent = exponent_of(currency)
    return SHOWN_AS_MINOR if exponent is None else exponent
