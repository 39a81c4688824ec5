"""The currency of a statement that states none: that in which its account is registered."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from billing.currencies import NO_CURRENCY, SHOWN_AS_MINOR
from billing.statements.canonical import (
    Balance,
    Detail,
    Entry,
    HoldReason,
    Statement,
)
from billing.statements.errors import AmountTooPrecise
from billing.statements.money import currency_exponent
from billing.statements.packed import INLINE_DETAILS, packing_details, packing_entries

_READ_FACTOR: int = 10**SHOWN_AS_MINOR


def with_currency(statement: Statement, currency: str) -> Statement:
    """The statement with every amount in this currency; it states none itself.

    Raises AmountTooPrecise for an amount with decimals that the currency does not have.
    """
    scale = _Scale(currency)
    entries = packing_entries()
    entries.extend(scale.entry(entry) for entry in statement.entries)
    holds = [hold for hold in statement.holds if hold.reason is not HoldReason.CURRENCY_UNKNOWN]
    totals = [
        total._replace(
            currency=currency,
            credits_minor=scale.minor(total.credits_minor),
            debits_minor=scale.minor(total.debits_minor),
        )
        for total in statement.totals
    ]
    return replace(
        statement,
        currency=currency,
        opening=scale.balance(statement.opening),
        closing=scale.balance(statement.closing),
        booked_minor=scale.minor(statement.booked_minor),
        totals=tuple(totals),
        holds=tuple(holds),
        entries=entries.finish(),
        notes=(*statement.notes, f"no currency is stated: {currency}, as its account has"),
    )


class _Scale:
    """Turns amounts without a currency, which were read with two decimals, into a currency's."""

    def __init__(self, currency: str) -> None:
        self._currency = currency
        self._exponent = currency_exponent(currency, "")
        self._factor: int = 10**self._exponent

    def minor(self, minor: int) -> int:
        """The amount in minor units of the currency."""
        scaled, rest = divmod(minor * self._factor, _READ_FACTOR)
        if rest:
            raise AmountTooPrecise(text=str(minor), exponent=self._exponent)
        return scaled

    def balance(self, balance: Balance | None) -> Balance | None:
        """The balance in the currency."""
        if balance is None:
            return None
        return balance._replace(
            currency=self._currency, amount_minor=self.minor(balance.amount_minor)
        )

    def entry(self, entry: Entry) -> Entry:
        """The entry in the currency, with its details."""
        return entry._replace(
            currency=self._currency,
            amount_minor=self.minor(entry.amount_minor),
            details=_packed(map(self._detail, entry.details), len(entry.details)),
        )

    def _detail(self, detail: Detail) -> Detail:
        if detail.amount_minor is None or detail.currency != NO_CURRENCY:
            return detail
        return detail._replace(
            currency=self._currency, amount_minor=self.minor(detail.amount_minor)
        )


def _packed(details: Iterable[Detail], count: int) -> Sequence[Detail]:
    """The details as a tuple, or packed if they are many."""
    if count <= INLINE_DETAILS:
        return tuple(details)
    packing = packing_details()
    packing.extend(details)
    return packing.finish()
