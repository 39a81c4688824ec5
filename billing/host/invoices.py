"""The domain's door to the main app's invoices, payments and subscriptions."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from billing.postgres import sql
from models.base import Base
from models.host import Invoice, Payment, Subscription


@dataclass(frozen=True, slots=True)
class MirroredInvoice:
    """What an account owes. Amounts in minor units of `currency` (ISO 4217).

    `status`: draft, open, paid, uncollectible, void or deleted. `stripe_id` None: it is ours.
    """

    account_id: int
    number: str | None
    stripe_id: str | None
    status: str
    currency: str
    due_minor: int
    paid_minor: int
    issued_at: dt.datetime | None
    due_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class MirroredPayment:
    """Money that arrived. `external_id` names it once: an invoice or payment of Stripe's, a line.

    `status`: succeeded, partially_refunded, refunded or disputed.
    """

    account_id: int
    invoice_id: int | None
    method: str
    external_id: str
    status: str
    currency: str
    amount_minor: int
    happened_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class MirroredSubscription:
    """The account's one subscription. `status` is Stripe's word, or active, for a bank customer."""

    account_id: int
    status: str
    stripe_id: str | None
    starts_at: dt.datetime
    ends_at: dt.datetime
    cancels_at_end: bool
    payment_method: str
    external_payment_id: str | None = None


def _written(table: type[Base], columns: Mapping[str, tuple[str, str]], by: str) -> str:
    """Rows written, or made equal to what they should be, in one statement.

    `columns`: the app's name of each, and ours with its type.
    """
    names = ", ".join(columns)
    given = ", ".join([f"%({ours})s::{type}[]" for ours, type in columns.values()])
    changed = ", ".join([f"{name} = excluded.{name}" for name in columns])
    return (
        f"INSERT INTO {table.__tablename__} ({names})"  # noqa: S608 - our names
        f" SELECT * FROM unnest({given}) AS new ({names}) ORDER BY {by}"
        f" ON CONFLICT ({by}) DO UPDATE SET {changed} RETURNING {by}, id"
    )


def _columns(rows: Sequence[Any], columns: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """What these rows hold, each column as an array."""
    return {
        ours: _ARRAYS[type]([getattr(row, ours) for row in rows]) for ours, type in columns.values()
    }


_ARRAYS: dict[str, Callable[[list[Any]], str]] = {
    "bigint": sql.numbers,
    "text": sql.texts,
    "timestamptz": sql.times,
    "boolean": sql.flags,
}
_INVOICE = {
    "tenant_id": ("account_id", "bigint"),
    "number": ("number", "text"),
    "stripe_invoice_id": ("stripe_id", "text"),
    "status": ("status", "text"),
    "currency": ("currency", "text"),
    "due_minor": ("due_minor", "bigint"),
    "paid_minor": ("paid_minor", "bigint"),
    "issued_at": ("issued_at", "timestamptz"),
    "due_at": ("due_at", "timestamptz"),
}
_OF_STRIPE = _written(Invoice, _INVOICE, "stripe_invoice_id")
_OF_OURS = _written(Invoice, _INVOICE, "number")


def write_invoice(session: Session, invoice: MirroredInvoice) -> int:
    """Make the row of an invoice of ours equal to this; returns its id."""
    assert invoice.stripe_id is None, "Stripe's are written in sets"
    values = _columns([invoice], _INVOICE)
    _, written = session.connection().exec_driver_sql(_OF_OURS, values).one()
    return int(written)


def write_of_stripe(session: Session, mirrored: Iterable[MirroredInvoice]) -> dict[str, int]:
    """Make the rows of Stripe's invoices equal to these; returns their ids, by Stripe's."""
    rows = list({each.stripe_id: each for each in mirrored}.values())
    if not rows:
        return {}
    rows = _with_free_numbers(session, rows)
    values = _columns(rows, _INVOICE)
    return {row[0]: row[1] for row in session.connection().exec_driver_sql(_OF_STRIPE, values)}


def id_of(session: Session, stripe_id: str) -> int | None:
    """The id of the row of this invoice of Stripe's, if there is one."""
    return session.scalars(select(Invoice.id).where(Invoice.stripe_invoice_id == stripe_id)).first()


_TAKEN = """
SELECT number, stripe_invoice_id FROM igny8_invoices WHERE number = ANY(%(numbers)s::text[])
"""


def _with_free_numbers(
    session: Session, mirrored: Sequence[MirroredInvoice]
) -> list[MirroredInvoice]:
    """Stripe numbers each customer's invoices by itself; one that is taken is left out."""
    numbers = {each.number for each in mirrored} - {None}
    if not numbers:
        return [*mirrored]
    rows = session.connection().exec_driver_sql(_TAKEN, {"numbers": sql.texts(numbers)})
    holders: dict[str, str | None] = {number: holder for number, holder in rows}  # noqa: C416 - Row
    return [
        each
        if each.number is None or holders.setdefault(each.number, each.stripe_id) == each.stripe_id
        else replace(each, number=None)
        for each in mirrored
    ]


_PAYMENT = {
    "tenant_id": ("account_id", "bigint"),
    "invoice_id": ("invoice_id", "bigint"),
    "method": ("method", "text"),
    "external_payment_id": ("external_id", "text"),
    "status": ("status", "text"),
    "currency": ("currency", "text"),
    "amount_minor": ("amount_minor", "bigint"),
    "happened_at": ("happened_at", "timestamptz"),
}
_PAYMENTS = """
SELECT id, external_payment_id FROM igny8_payments
WHERE external_payment_id = ANY(%(names)s::text[]) ORDER BY id
"""
# A payment keeps the time at which it was first seen.
_WRITE_PAYMENT = _written(Payment, _PAYMENT, "external_payment_id").replace(
    ", happened_at = excluded.happened_at", ""
)


def write_payment(
    session: Session, payment: MirroredPayment, *, also_known_as: Iterable[str] = ()
) -> None:
    """Make the payment's row equal to this, as `write_payments` does."""
    write_payments(session, [(payment, also_known_as)])


def write_payments(
    session: Session, mirrored: Iterable[tuple[MirroredPayment, Iterable[str]]]
) -> None:
    """Make the rows of payments equal to these.

    Each with other names of the same payment, under which it may have been written before all of
    it was known; it keeps one row, the oldest.
    """
    named = {each.external_id: (each, {each.external_id, *names}) for each, names in mirrored}
    if not named:
        return
    connection = session.connection()
    asked = {"names": sql.texts({name for _, names in named.values() for name in names})}
    found = connection.exec_driver_sql(_PAYMENTS, asked).all()
    for payment, names in named.values():
        known = [(row_id, name) for row_id, name in found if name in names]
        if len(known) > 1:
            others = [row_id for row_id, _ in known[1:]]
            session.execute(delete(Payment).where(Payment.id.in_(others)))
        if known and known[0][1] != payment.external_id:
            renamed = update(Payment).where(Payment.id == known[0][0])
            session.execute(renamed.values(external_payment_id=payment.external_id))
    values = _columns([payment for payment, _ in named.values()], _PAYMENT)
    connection.exec_driver_sql(_WRITE_PAYMENT, values)


_SUBSCRIPTION = {
    "tenant_id": ("account_id", "bigint"),
    "status": ("status", "text"),
    "stripe_subscription_id": ("stripe_id", "text"),
    "current_period_start": ("starts_at", "timestamptz"),
    "current_period_end": ("ends_at", "timestamptz"),
    "cancel_at_period_end": ("cancels_at_end", "boolean"),
    "payment_method": ("payment_method", "text"),
    "external_payment_id": ("external_payment_id", "text"),
}
_WRITE_SUBSCRIPTION = _written(Subscription, _SUBSCRIPTION, "tenant_id")


def of_stripe(session: Session, stripe_id: str) -> dict[str, object]:
    """What the app's row of an invoice of Stripe's says; empty if there is none."""
    row = session.execute(
        select(Invoice.status, Invoice.currency, Invoice.due_minor, Invoice.paid_minor).where(
            Invoice.stripe_invoice_id == stripe_id
        )
    ).first()
    return dict(row._mapping) if row else {}  # noqa: SLF001 - SQLAlchemy's public name for it


def subscription_of(session: Session, account_id: int) -> dict[str, object]:
    """What the app's row of the account's subscription says; empty if there is none."""
    row = session.execute(
        select(
            Subscription.status,
            Subscription.stripe_subscription_id.label("stripe_id"),
            Subscription.cancel_at_period_end.label("cancels_at_end"),
        ).where(Subscription.account_id == account_id)
    ).first()
    return dict(row._mapping) if row else {}  # noqa: SLF001 - SQLAlchemy's public name for it


def write_subscription(session: Session, subscription: MirroredSubscription) -> None:
    """Make the account's subscription equal to this."""
    write_subscriptions(session, [subscription])


def write_subscriptions(session: Session, mirrored: Iterable[MirroredSubscription]) -> None:
    """Make the subscriptions of accounts equal to these, one an account."""
    if rows := list(mirrored):
        values = _columns(rows, _SUBSCRIPTION)
        session.connection().exec_driver_sql(_WRITE_SUBSCRIPTION, values)


def subscription(session: Session, account_id: int) -> MirroredSubscription | None:
    """The account's subscription, if it has one."""
    row = session.scalars(select(Subscription).where(Subscription.account_id == account_id)).first()
    if row is None:
        return None
    return MirroredSubscription(
        account_id=row.account_id,
        status=row.status,
        stripe_id=row.stripe_subscription_id,
        starts_at=row.current_period_start,
        ends_at=row.current_period_end,
        cancels_at_end=row.cancel_at_period_end,
        payment_method=row.payment_method or "",
        external_payment_id=row.external_payment_id,
    )
