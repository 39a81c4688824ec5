"""Invoices and amounts as people type them: by number, in decimals."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.bank.errors import PartsRefused, UnknownInvoice
from billing.bank.review.decisions import Review
from billing.statements.money import currency_exponent, to_minor
from models.transfers import Transfer, TransferInvoice


def by_number(session: Session, number: str) -> TransferInvoice:
    """The invoice of this number. Raises UnknownInvoice."""
    row = select(TransferInvoice).where(TransferInvoice.number == number.strip().upper())
    found = session.scalars(row).first()
    if found is None:
        raise UnknownInvoice(number=number)
    return found


def part(review: Review, number: str) -> tuple[int, int]:
    """[invoice, minor units]: as much of the transfer as the invoice may take.

    Raises UnknownInvoice or UnknownTransfer.
    """
    invoice = by_number(review.ctx.session, number)
    transfer = review.take()
    return invoice.id, min(transfer.amount_minor, invoice.due_minor - invoice.settled_minor)


def stated_part(review: Review, said: str) -> tuple[int, int]:
    """[invoice, minor units] of `NUMBER=AMOUNT`. Raises also PartsRefused and MoneyRefused."""
    number, mark, amount = said.partition("=")
    if not mark:
        raise PartsRefused(problem=f"{said!a} is not NUMBER=AMOUNT")
    invoice = by_number(review.ctx.session, number)
    return invoice.id, _minor(amount, invoice.currency)


def amount_of(review: Review, amount: str) -> int:
    """Minor units of a decimal amount in the transfer's currency. Raises MoneyRefused."""
    transfer: Transfer = review.take()
    return _minor(amount, transfer.currency)


def _minor(amount: str, currency: str) -> int:
    exponent = currency_exponent(currency, "the currency")
    return to_minor(amount.strip(), exponent=exponent, position="the amount")
