"""The bank accounts of ours that may receive money, and from which format each recognises it."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.bank.intake import checks
from billing.context import Context
from billing.currencies import exponent_of
from billing.errors import Rejected
from models.bank import BankAccount

#: Formats that money may be recognised from. A camt.054 only where an account has nothing else.
FORMATS = ("camt.053", "MT940", "OFX", "BAI2", "CSV", "camt.054")


class BankAccountRefused(Rejected):
    """The account can't be registered so; `problem` says why."""


def add(
    ctx: Context, number: str, *, currency: str, source_format: str, customer_id: int | None = None
) -> bool:
    """Register an account of ours; False where it is registered just so already.

    `customer_id`: the account whose virtual IBAN it is. Raises BankAccountRefused for an unknown
    format or currency, and where the account is registered otherwise: what was recognised from one
    format would be recognised again from the other.
    """
    if source_format not in FORMATS:
        raise BankAccountRefused(problem=f"format must be one of {', '.join(FORMATS)}")
    if exponent_of(currency) is None:
        raise BankAccountRefused(problem=f"{currency!a} is not a currency of ISO 4217")
    plain = "".join(number.split())
    made = ctx.session.execute(
        insert(BankAccount)
        .values(
            number=plain,
            currency=currency,
            format=source_format,
            customer_id=customer_id,
            added_by=ctx.actor,
            added_at=ctx.now,
        )
        .on_conflict_do_nothing()
        .returning(BankAccount.number)
    ).first()
    known = ctx.session.get_one(BankAccount, (plain, currency))
    if (known.format, known.customer_id) != (source_format, customer_id):
        raise BankAccountRefused(
            problem=f"registered with format {known.format} and customer {known.customer_id}"
        )
    checks.refresh(ctx.session, plain)
    return made is not None


def registered(session: Session) -> list[BankAccount]:
    """All of them."""
    return list(
        session.scalars(select(BankAccount).order_by(BankAccount.number, BankAccount.currency))
    )
