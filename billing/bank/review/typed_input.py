"""Invoices and amounts as reviewers type them: by number, in decimals."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.bank.errors import PartsRefused, UnknownInvoice
from billing.bank.review.decisions import Review
from billing.statements.money import currency_exponent, to_minor
from models.transfers import TransferInvoice


def by_number(session: Session, number: str) -> TransferInvoice:
    """Read the invoice of this number. Raises UnknownInvoice."""
    row = select(TransferInvoice).where(TransferInvoice.number == number.strip().upper())
    invoice = session.scalars(row).first()
    if invoice is None:
        raise UnknownInvoice(number=number)
    return invoice


def part(review: Review, number: str) -> tuple[int, int]:
    """The invoice of this number, and as much of the transfer as it may take, in minor units.

    Raises UnknownInvoice, UnknownTransfer or TransferChanged.
    """
    return review.part_of(by_number(review.ctx.session, number))


def stated_part(review: Review, stated: str) -> tuple[int, int]:
    """Parse `NUMBER=AMOUNT` into an invoice id and minor units.

    Raises PartsRefused, UnknownInvoice or MoneyRefused.
    """
    number, separator, amount = stated.partition("=")
    if not separator:
        raise PartsRefused(problem=f"{stated!a} is not NUMBER=AMOUNT")
    invoice = by_number(review.ctx.session, number)
    return invoice.id, _minor(amount, invoice.currency)


def amount_of(review: Review, amount: str) -> int:
    """Parse a decimal amount in the transfer's currency into minor units. Raises MoneyRefused."""
    return _minor(amount, review.lock().currency)


def _minor(amount: str, currency: str) -> int:
    exponent = currency_exponent(currency, "the currency")
    return to_minor(amount.strip(), exponent=exponent, position="the amount")
