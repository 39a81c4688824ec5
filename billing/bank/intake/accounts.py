"""Our bank accounts that may receive money, and the format in which each recognises it."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.bank.intake import continuity
from billing.context import Context
from billing.currencies import exponent_of
from billing.errors import Rejected
from models.bank import BankAccount

#: Formats that money may be recognised in. A camt.054 only for an account that has nothing else.
FORMATS = ("camt.053", "MT940", "OFX", "BAI2", "CSV", "camt.054")


class BankAccountRefused(Rejected):
    """The bank account can't be registered: {problem}."""


def add(
    ctx: Context, number: str, *, currency: str, source_format: str, customer_id: int | None = None
) -> bool:
    """Register an account of ours; False if the same is registered already.

    `customer_id`: the account whose virtual IBAN it is. Raises BankAccountRefused for an unknown
    format or currency, and if the account is registered otherwise: the money recognised in one
    format would be recognised again in the other.
    """
    if source_format not in FORMATS:
        raise BankAccountRefused(problem=f"format must be one of {', '.join(FORMATS)}")
    if exponent_of(currency) is None:
        raise BankAccountRefused(problem=f"{currency!a} is not a currency of ISO 4217")
    plain_number = "".join(number.split())
    inserted = ctx.session.execute(
        insert(BankAccount)
        .values(
            number=plain_number,
            currency=currency,
            format=source_format,
            customer_id=customer_id,
            added_by=ctx.actor,
            added_at=ctx.now,
        )
        .on_conflict_do_nothing()
        .returning(BankAccount.number)
    ).first()
    account = ctx.session.get_one(BankAccount, (plain_number, currency))
    if (account.format, account.customer_id) != (source_format, customer_id):
        raise BankAccountRefused(
            problem=f"it is registered with the format {account.format}"
            f" and the customer {account.customer_id}"
        )
    continuity.refresh(ctx.session, plain_number)
    return inserted is not None


def registered(session: Session) -> list[BankAccount]:
    """List all registered accounts."""
    rows = select(BankAccount).order_by(BankAccount.number, BankAccount.currency)
    return list(session.scalars(rows))
