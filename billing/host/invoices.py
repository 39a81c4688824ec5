"""The main app's invoices, payments and subscriptions: the rows that we read and write."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from billing.postgres import sql
from models.base import Base
from models.host import Invoice, Payment, Subscription


@dataclass(frozen=True, slots=True)
class MirroredInvoice:
    """An invoice, with amounts in minor units of `currency` (ISO 4217).

    `status`: draft, open, paid, uncollectible, void or deleted. `stripe_id` is None for our own.
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
    """A payment. `external_id` is unique: an invoice or payment of Stripe, or a bank line.

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
    """The account's only subscription. `status` is Stripe's, or `active` for a bank customer."""

    account_id: int
    status: str
    stripe_id: str | None
    starts_at: dt.datetime
    ends_at: dt.datetime
    cancels_at_end: bool
    payment_method: str
    external_payment_id: str | None = None


#: Our name of each column, and its Postgres type, by the main app's name.
Columns: TypeAlias = Mapping[str, tuple[str, str]]


def _upsert(
    session: Session,
    table: type[Base],
    columns: Columns,
    rows: Iterable[object],
    *,
    key: str,
    kept: Collection[str] = (),
) -> dict[Any, int]:
    """Insert rows, or make those with the same key equal to them; returns their ids by key.

    Rows are written in the order of the key, so that two writers never wait for each other.
    `kept`: columns of an existing row that stay as they are.
    """
    values = [[getattr(row, name) for name, _ in columns.values()] for row in rows]
    place = list(columns).index(key)
    values.sort(key=lambda row: row[place])
    changed = ", ".join([f"{name} = excluded.{name}" for name in columns if name not in kept])
    written = sql.insert(
        session,
        table.__tablename__,
        {name: type for name, (_, type) in columns.items()},
        values,
        tail=f"ON CONFLICT ({key}) DO UPDATE SET {changed} RETURNING {key}, id",
    )
    return dict(written)


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


def write_invoices(session: Session, mirrored: Sequence[MirroredInvoice]) -> dict[str, int]:
    """Write invoices of ours, or update their rows; returns the rows' ids by number."""
    assert all(invoice.stripe_id is None for invoice in mirrored), "Stripe's: write_of_stripe"
    return _upsert(session, Invoice, _INVOICE, mirrored, key="number")


def write_of_stripe(session: Session, mirrored: Iterable[MirroredInvoice]) -> dict[str, int]:
    """Write invoices of Stripe, or update their rows; returns the rows' ids by Stripe's id."""
    invoices = list({invoice.stripe_id: invoice for invoice in mirrored}.values())
    invoices = _with_free_numbers(session, invoices)
    return _upsert(session, Invoice, _INVOICE, invoices, key="stripe_invoice_id")


def id_of(session: Session, stripe_id: str) -> int | None:
    """Return the row's id of an invoice of Stripe, if there is one."""
    return session.scalars(select(Invoice.id).where(Invoice.stripe_invoice_id == stripe_id)).first()


_TAKEN = """
SELECT number, stripe_invoice_id FROM igny8_invoices WHERE number = ANY(%(numbers)s::text[])
"""


def _with_free_numbers(
    session: Session, mirrored: Sequence[MirroredInvoice]
) -> list[MirroredInvoice]:
    """Leave out numbers that are taken: Stripe's are unique only for each of its customers."""
    numbers = [invoice.number for invoice in mirrored if invoice.number is not None]
    rows = sql.rows(session, _TAKEN, {"numbers": numbers}) if numbers else []
    owner_of: dict[str, str | None] = dict(rows)
    return [
        invoice
        if invoice.number is None
        or owner_of.setdefault(invoice.number, invoice.stripe_id) == invoice.stripe_id
        else replace(invoice, number=None)
        for invoice in mirrored
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


def write_payment(session: Session, payment: MirroredPayment) -> None:
    """Write one payment, as `write_payments` does."""
    write_payments(session, [(payment, ())])


def write_payments(
    session: Session, mirrored: Iterable[tuple[MirroredPayment, Iterable[str]]]
) -> None:
    """Write payments, or update their rows.

    Each comes with its other ids, under which it may have been written before all of it was known;
    it keeps one row, the oldest, with the time at which it was first seen.
    """
    by_id = {
        payment.external_id: (payment, {payment.external_id, *ids}) for payment, ids in mirrored
    }
    if not by_id:
        return
    values = {"names": sorted({id for _, ids in by_id.values() for id in ids})}
    rows = session.connection().exec_driver_sql(_PAYMENTS, values).all()
    for payment, ids in by_id.values():
        _merge(session, payment.external_id, [row for row in rows if row[1] in ids])
    payments = [payment for payment, _ in by_id.values()]
    _upsert(
        session,
        Payment,
        _PAYMENT,
        payments,
        key="external_payment_id",
        kept=("happened_at",),
    )


def _merge(session: Session, external_id: str, rows: Sequence[tuple[int, str]]) -> None:
    """Keep the oldest of a payment's rows (id, external id), under this external id."""
    if len(rows) > 1:
        session.execute(delete(Payment).where(Payment.id.in_([id for id, _ in rows[1:]])))
    if rows and rows[0][1] != external_id:
        renamed = update(Payment).where(Payment.id == rows[0][0])
        session.execute(renamed.values(external_payment_id=external_id))


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


def of_stripe(session: Session, stripe_id: str) -> dict[str, object]:
    """Read the row of an invoice of Stripe; empty if there is none."""
    row = session.execute(
        select(Invoice.status, Invoice.currency, Invoice.due_minor, Invoice.paid_minor).where(
            Invoice.stripe_invoice_id == stripe_id
        )
    ).first()
    return dict(row._mapping) if row else {}  # noqa: SLF001 - SQLAlchemy's public name for it


def subscription_of(session: Session, account_id: int) -> dict[str, object]:
    """Read the row of the account's subscription; empty if there is none."""
    row = session.execute(
        select(
            Subscription.status,
            Subscription.stripe_subscription_id.label("stripe_id"),
            Subscription.cancel_at_period_end.label("cancels_at_end"),
        ).where(Subscription.account_id == account_id)
    ).first()
    return dict(row._mapping) if row else {}  # noqa: SLF001 - SQLAlchemy's public name for it


def write_subscription(session: Session, subscription: MirroredSubscription) -> None:
    """Write the account's subscription, or update its row."""
    write_subscriptions(session, [subscription])


def write_subscriptions(session: Session, mirrored: Iterable[MirroredSubscription]) -> None:
    """Write subscriptions, or update their rows; an account has one."""
    _upsert(session, Subscription, _SUBSCRIPTION, mirrored, key="tenant_id")


def subscription(session: Session, account_id: int) -> MirroredSubscription | None:
    """Read the account's subscription, if it has one."""
    return subscriptions(session, [account_id]).get(account_id)


def subscriptions(session: Session, account_ids: Iterable[int]) -> dict[int, MirroredSubscription]:
    """Read the subscriptions of these accounts, by account; some have none."""
    rows = select(Subscription).where(Subscription.account_id.in_(list(account_ids)))
    return {row.account_id: _mirrored(row) for row in session.scalars(rows)}


def _mirrored(row: Subscription) -> MirroredSubscription:
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
