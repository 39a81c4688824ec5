"""The domain's door to the main app's invoices, payments and subscriptions."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

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


def write_invoice(session: Session, invoice: MirroredInvoice) -> int:
    """Make the invoice's row equal to this; returns its id."""
    values = {
        "account_id": invoice.account_id,
        "number": _free_number(session, invoice),
        "stripe_invoice_id": invoice.stripe_id,
        "status": invoice.status,
        "currency": invoice.currency,
        "due_minor": invoice.due_minor,
        "paid_minor": invoice.paid_minor,
        "issued_at": invoice.issued_at,
        "due_at": invoice.due_at,
    }
    by = Invoice.stripe_invoice_id if invoice.stripe_id else Invoice.number
    written = (
        insert(Invoice)
        .values(**values)
        .on_conflict_do_update(index_elements=[by], set_=_columns(Invoice, values))
    )
    return session.execute(written.returning(Invoice.id)).scalar_one()


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


def write_payment(
    session: Session, payment: MirroredPayment, *, also_known_as: Iterable[str] = ()
) -> None:
    """Make the payment's row equal to this.

    `also_known_as`: other names of the same payment, under which it may have been written before
    all of it was known; it keeps one row.
    """
    values = {
        "account_id": payment.account_id,
        "invoice_id": payment.invoice_id,
        "method": payment.method,
        "external_payment_id": payment.external_id,
        "status": payment.status,
        "currency": payment.currency,
        "amount_minor": payment.amount_minor,
        "happened_at": payment.happened_at,
    }
    names = {payment.external_id, *also_known_as}
    known = list(session.scalars(select(Payment.id).where(Payment.external_payment_id.in_(names))))
    if not known:
        session.execute(insert(Payment).values(**values))
        return
    kept, *others = sorted(known)
    if others:
        session.execute(delete(Payment).where(Payment.id.in_(others)))
    session.execute(
        update(Payment)
        .where(Payment.id == kept)
        .values(**values | {"happened_at": Payment.happened_at})
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
    values = {
        "account_id": subscription.account_id,
        "status": subscription.status,
        "stripe_subscription_id": subscription.stripe_id,
        "current_period_start": subscription.starts_at,
        "current_period_end": subscription.ends_at,
        "cancel_at_period_end": subscription.cancels_at_end,
        "payment_method": subscription.payment_method,
        "external_payment_id": subscription.external_payment_id,
    }
    session.execute(
        insert(Subscription)
        .values(**values)
        .on_conflict_do_update(
            index_elements=[Subscription.account_id], set_=_columns(Subscription, values)
        )
    )


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


def _columns(table: type[Base], values: Mapping[str, object]) -> dict[Any, object]:
    """The values by column: the app's columns have other names than our attributes."""
    return {getattr(table, name): value for name, value in values.items()}
