"""The domain's door to the main app's invoices, payments and subscriptions."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from billing import arrays
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


def _written(table: type[Base], columns: Mapping[str, str], by: str) -> str:
    """A row written, or made equal to what it should be; `columns`: the app's names, and ours."""
    names = ", ".join(columns)
    values = ", ".join([f"%({ours})s" for ours in columns.values()])
    changed = ", ".join([f"{name} = excluded.{name}" for name in columns])
    return (
        f"INSERT INTO {table.__tablename__} ({names}) VALUES ({values})"  # noqa: S608 - our names
        f" ON CONFLICT ({by}) DO UPDATE SET {changed} RETURNING id"
    )


_INVOICE = {
    "tenant_id": "account_id",
    "number": "number",
    "stripe_invoice_id": "stripe_id",
    "status": "status",
    "currency": "currency",
    "due_minor": "due_minor",
    "paid_minor": "paid_minor",
    "issued_at": "issued_at",
    "due_at": "due_at",
}
_OF_STRIPE = _written(Invoice, _INVOICE, "stripe_invoice_id")
_OF_OURS = _written(Invoice, _INVOICE, "number")


def write_invoice(session: Session, invoice: MirroredInvoice) -> int:
    """Make the invoice's row equal to this; returns its id."""
    values = {name: getattr(invoice, name) for name in _INVOICE.values()}
    values["number"] = _free_number(session, invoice)
    statement = _OF_STRIPE if invoice.stripe_id else _OF_OURS
    written: int = session.connection().exec_driver_sql(statement, values).scalar_one()
    return written


def id_of(session: Session, stripe_id: str) -> int | None:
    """The id of the row of this invoice of Stripe's, if there is one."""
    return session.scalars(select(Invoice.id).where(Invoice.stripe_invoice_id == stripe_id)).first()


def _free_number(session: Session, invoice: MirroredInvoice) -> str | None:
    """Stripe numbers each customer's invoices by itself; one that is taken is left out."""
    if invoice.number is None or invoice.stripe_id is None:
        return invoice.number
    taken = select(Invoice.stripe_invoice_id).where(Invoice.number == invoice.number)
    found = session.execute(taken).first()
    return invoice.number if found is None or found[0] == invoice.stripe_id else None


_PAYMENTS = """
SELECT id FROM igny8_payments WHERE external_payment_id = ANY(%(names)s::text[]) ORDER BY id
"""
_CHANGE_PAYMENT = """
UPDATE igny8_payments
SET tenant_id = %(account_id)s, invoice_id = %(invoice_id)s, method = %(method)s,
    external_payment_id = %(external_id)s, status = %(status)s, currency = %(currency)s,
    amount_minor = %(amount_minor)s
WHERE id = %(id)s
"""
_WRITE_PAYMENT = """
INSERT INTO igny8_payments (tenant_id, invoice_id, method, external_payment_id, status, currency,
                            amount_minor, happened_at)
VALUES (%(account_id)s, %(invoice_id)s, %(method)s, %(external_id)s, %(status)s, %(currency)s,
        %(amount_minor)s, %(happened_at)s)
"""


def write_payment(
    session: Session, payment: MirroredPayment, *, also_known_as: Iterable[str] = ()
) -> None:
    """Make the payment's row equal to this.

    `also_known_as`: other names of the same payment, under which it may have been written before
    all of it was known; it keeps one row.
    """
    connection = session.connection()
    names = arrays.texts({payment.external_id, *also_known_as})
    known = connection.exec_driver_sql(_PAYMENTS, {"names": names}).scalars().all()
    if len(known) > 1:
        session.execute(delete(Payment).where(Payment.id.in_(known[1:])))
    values = {each.name: getattr(payment, each.name) for each in fields(payment)}
    if known:
        connection.exec_driver_sql(_CHANGE_PAYMENT, values | {"id": known[0]})
    else:
        connection.exec_driver_sql(_WRITE_PAYMENT, values)


_SUBSCRIPTION = _written(
    Subscription,
    {
        "tenant_id": "account_id",
        "status": "status",
        "stripe_subscription_id": "stripe_id",
        "current_period_start": "starts_at",
        "current_period_end": "ends_at",
        "cancel_at_period_end": "cancels_at_end",
        "payment_method": "payment_method",
        "external_payment_id": "external_payment_id",
    },
    "tenant_id",
)


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
    values = {each.name: getattr(subscription, each.name) for each in fields(subscription)}
    session.connection().exec_driver_sql(_SUBSCRIPTION, values)


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
