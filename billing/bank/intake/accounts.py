"""Our bank accounts that may receive money, and the format in which each recognises it."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.bank import line_ends
from billing.bank.intake import continuity
from billing.context import Context
from billing.currencies import exponent_of
from billing.errors import Rejected
from models.bank import NO_FORMAT, BankAccount, FormatSwitch
from models.transfers import Transfer

#: Formats that money may be recognised in. A camt.054 only for an account that has nothing else.
FORMATS = ("camt.053", "MT940", "OFX", "BAI2", "CSV", "camt.054")
#: Days around a switch whose lines are compared: no bank books a payment further apart.
NEAR_DAYS = 7


class BankAccountRefused(Rejected):
    """The bank account can't be registered, changed or removed: {problem}."""


def add(
    ctx: Context, number: str, *, currency: str, source_format: str, customer_id: int | None = None
) -> bool:
    """Register an account of ours; False if the same is registered already.

    `customer_id`: the account whose virtual IBAN it is. Raises BankAccountRefused for an unknown
    format or currency, and if the account is registered otherwise: the money recognised in one
    format would be recognised again in the other.
    """
    _check_format(source_format)
    if exponent_of(currency) is None:
        raise BankAccountRefused(problem=f"{currency!a} is not a currency of ISO 4217")
    plain_number = plain(number)
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
            f" and the customer {account.customer_id};"
            " `billing statements switch` changes the format from a day on"
        )
    _look_again(ctx.session, plain_number)
    return inserted is not None


def plain(number: str) -> str:
    """The number without blanks."""
    return "".join(number.split())


def _check_format(source_format: str) -> None:
    if source_format not in FORMATS:
        raise BankAccountRefused(problem=f"format must be one of {', '.join(FORMATS)}")


def _look_again(session: Session, number: str) -> None:
    """Check the account's statements, and let matching find a new end for its lines."""
    line_ends.forget(session, number)
    continuity.refresh(session, number)


def registered(session: Session) -> list[BankAccount]:
    """List all registered accounts."""
    rows = select(BankAccount).order_by(BankAccount.number, BankAccount.currency)
    return list(session.scalars(rows))


def switches(session: Session) -> list[FormatSwitch]:
    """List all changes of format, in the order of their days."""
    rows = select(FormatSwitch).order_by(
        FormatSwitch.number, FormatSwitch.currency, FormatSwitch.from_day
    )
    return list(session.scalars(rows))


@dataclass(frozen=True, slots=True)
class LoneLine:
    """A line near the day of a switch that the other format does not have."""

    format: str
    booking_date: dt.date
    amount_minor: int
    currency: str
    counts: bool


#: Booked lines near the day, paired off by amount between the two formats; those without a pair.
_LONE_LINES = """
WITH near AS (
    SELECT l.format, l.booking_date, l.amount_minor, l.currency,
           row_number() OVER (PARTITION BY l.format, l.amount_minor ORDER BY l.booking_date, l.key)
             AS place
    FROM billing.bank_lines AS l
    WHERE l.account = ANY(:numbers) AND l.currency = :currency AND l.status = 'BOOK'
      AND l.format IN (:before, :after)
      AND l.booking_date BETWEEN CAST(:day AS date) - :near AND CAST(:day AS date) + :near)
SELECT n.format, n.booking_date, n.amount_minor, n.currency,
       (n.format = :after) = (n.booking_date >= CAST(:day AS date)) AS counts
FROM near AS n
WHERE NOT EXISTS (SELECT FROM near AS o WHERE o.format <> n.format
                  AND o.amount_minor = n.amount_minor AND o.place = n.place)
ORDER BY n.booking_date, n.format, n.amount_minor
"""


def switch(
    ctx: Context,
    number: str,
    *,
    currency: str,
    to_format: str,
    from_day: dt.date,
    new_number: str | None = None,
) -> list[LoneLine]:
    """Let an account recognise money in another format from this booking day on.

    `new_number`: the account's number in the new format, if it is written in another way there.
    Return the lines near the day that only one of both formats has; to repeat it changes nothing.
    Raises BankAccountRefused if money of the former format is booked on that day or later: it would
    count twice.
    """
    _check_format(to_format)
    account = _account(ctx.session, plain(number), currency)
    becomes = plain(new_number) if new_number else account.number
    new = {"number": becomes, "currency": currency, "from_day": from_day, "format": to_format}
    same = select(FormatSwitch).filter_by(**new)
    former = _format_before(ctx.session, account, from_day)
    if ctx.session.scalars(same).first() is None:
        _check_switch(ctx.session, account, former, new)
        if becomes != account.number:
            _end(ctx, account, becomes, from_day)
        ctx.session.add(
            FormatSwitch(**new, former_number=account.number, added_by=ctx.actor, added_at=ctx.now)
        )
        ctx.session.flush()
        for changed in sorted({account.number, becomes}):
            _look_again(ctx.session, changed)
    values = {
        "numbers": [account.number, becomes],
        "currency": currency,
        "before": former,
        "after": to_format,
        "day": from_day,
        "near": NEAR_DAYS,
    }
    return [LoneLine(*row) for row in ctx.session.execute(text(_LONE_LINES), values)]


def _format_before(session: Session, account: BankAccount, day: dt.date) -> str:
    """The format in force until this day."""
    rows = (
        select(FormatSwitch.format)
        .where(
            FormatSwitch.number == account.number,
            FormatSwitch.currency == account.currency,
            FormatSwitch.from_day < day,
        )
        .order_by(FormatSwitch.from_day.desc())
    )
    return session.scalars(rows.limit(1)).first() or account.format


def _check_switch(session: Session, account: BankAccount, former: str, new: dict[str, Any]) -> None:
    if former == new["format"] and account.number == new["number"]:
        raise BankAccountRefused(problem=f"its format is {former} already")
    rows = select(func.max(FormatSwitch.from_day)).where(
        FormatSwitch.number.in_([account.number, new["number"]]),
        FormatSwitch.currency == account.currency,
    )
    latest = session.scalar(rows)
    if latest is not None and new["from_day"] <= latest:
        raise BankAccountRefused(problem=f"its format changes on {latest} already")
    if account.number != new["number"] and session.get(
        BankAccount, (new["number"], account.currency)
    ):
        raise BankAccountRefused(problem=f"{new['number']} is registered by itself")
    values = {"number": account.number, "currency": account.currency}
    last_day = session.scalar(text(_LAST_DAY), values)
    if last_day is not None and new["from_day"] <= last_day:
        raise BankAccountRefused(
            problem=f"money of {former} is booked until {last_day} and would count twice;"
            f" the first day can be {last_day + dt.timedelta(days=1)}"
        )


def _end(ctx: Context, account: BankAccount, becomes: str, from_day: dt.date) -> None:
    """Register the account's new number; both numbers recognise no money of the other's days."""
    common = {"added_by": ctx.actor, "added_at": ctx.now}
    ctx.session.add(
        BankAccount(
            number=becomes,
            currency=account.currency,
            format=NO_FORMAT,
            customer_id=account.customer_id,
            **common,
        )
    )
    ctx.session.add(
        FormatSwitch(
            number=account.number,
            currency=account.currency,
            from_day=from_day,
            format=NO_FORMAT,
            former_number=account.number,
            **common,
        )
    )
    ctx.session.flush()


def _account(session: Session, number: str, currency: str) -> BankAccount:
    account = session.get(BankAccount, (number, currency), with_for_update=True)
    if account is None:
        raise BankAccountRefused(problem=f"{number} in {currency} is not registered")
    return account


_LAST_DAY = """
SELECT max(booking_date) FROM billing.transfers WHERE account = :number AND currency = :currency
"""


def remove(ctx: Context, number: str, *, currency: str) -> int:
    """Remove an account that was registered by mistake; return its lines, which stay stored.

    Raises BankAccountRefused if it is not registered, or if it received transfers.
    """
    key = {"number": plain(number), "currency": currency}
    account = _account(ctx.session, **key)
    of_account = (Transfer.account == account.number, Transfer.currency == currency)
    count = ctx.session.scalar(select(func.count()).select_from(Transfer).where(*of_account))
    if count:
        raise BankAccountRefused(problem=f"{count} transfers came to it")
    ctx.session.execute(delete(FormatSwitch).filter_by(**key))
    ctx.session.delete(account)
    ctx.session.flush()
    _look_again(ctx.session, account.number)
    lines = text("SELECT count(*) FROM billing.bank_lines WHERE account = :n AND currency = :c")
    values: dict[str, Any] = {"n": account.number, "c": currency}
    return int(ctx.session.execute(lines, values).scalar_one())
