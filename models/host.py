"""The main app's tables: the one place that names them and their columns.

`info["origin"]` tells where each column comes from:

- KNOWN    taken from the main app's production database (docs/how-to/existing-database.md)
- CHOSEN   our guess of an unknown name; correct it here if the app's differs
- PLANNED  part of the main app's migration 0007; our migration adds it where it is missing
- OURS     added by us to a host table; the app may ignore it

The foreign key to the account is `tenant_id` on `igny8_sites`; we assume the same name everywhere.
"""

import datetime as dt
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Moment

KNOWN = {"origin": "known"}
CHOSEN = {"origin": "chosen"}
PLANNED = {"origin": "planned"}
OURS = {"origin": "ours"}

#: Origins whose columns our migration adds to a table that the main app already has.
ADDED_BY_MIGRATION = frozenset({"planned", "ours"})

_NOW = text("now()")


class Plan(Base):
    """A plan; `included_credits` are those of one month."""

    __tablename__ = "igny8_plans"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info=KNOWN)
    slug: Mapped[str] = mapped_column(String(50), unique=True, info=KNOWN)
    name: Mapped[str] = mapped_column(String(255), info=KNOWN)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2), info=CHOSEN)
    included_credits: Mapped[int] = mapped_column(Integer, info=KNOWN)
    max_sites: Mapped[int] = mapped_column(Integer, info=CHOSEN)
    max_users: Mapped[int] = mapped_column(Integer, info=CHOSEN)
    features: Mapped[list[object]] = mapped_column(
        JSONB, server_default=text("'[]'::jsonb"), info=KNOWN
    )
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"), info=CHOSEN)


class User(Base):
    """A person or an automation; docs/how-to/existing-database.md lists the roles."""

    __tablename__ = "igny8_users"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info=KNOWN)
    email: Mapped[str] = mapped_column(String(254), unique=True, info=KNOWN)
    role: Mapped[str] = mapped_column(String(20), info=KNOWN)
    account_id: Mapped[int | None] = mapped_column(
        "tenant_id",
        BigInteger,
        ForeignKey("igny8_tenants.id", use_alter=True, deferrable=True, initially="DEFERRED"),
        index=True,
        info=CHOSEN,
    )
    is_superuser: Mapped[bool] = mapped_column(Boolean, server_default=text("false"), info=CHOSEN)


class Account(Base):
    """An account (tenant). `credits` is the balance that the app shows; we change it by deltas."""

    __tablename__ = "igny8_tenants"
    __table_args__ = (
        Index(
            "igny8_tenants_stripe_customer_id_billing_idx",
            "stripe_customer_id",
            postgresql_where=text("stripe_customer_id <> ''"),
            info=OURS,
        ),
        Index(
            "igny8_tenants_trial_billing_idx",
            "id",
            postgresql_where=text("status = 'trial' AND NOT is_deleted"),
            info=OURS,
        ),
        Index(
            "igny8_tenants_restore_until_billing_idx",
            "restore_until",
            postgresql_where=text("is_deleted"),
            info=OURS,
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info=KNOWN)
    name: Mapped[str] = mapped_column(String(255), info=KNOWN)
    slug: Mapped[str] = mapped_column(String(255), unique=True, info=KNOWN)
    owner_id: Mapped[int | None] = mapped_column(
        BigInteger,
        ForeignKey(User.id, deferrable=True, initially="DEFERRED"),
        index=True,
        info=KNOWN,
    )
    plan_id: Mapped[int | None] = mapped_column(
        BigInteger,
        ForeignKey(Plan.id, deferrable=True, initially="DEFERRED"),
        index=True,
        info=KNOWN,
    )
    credits: Mapped[int] = mapped_column(Integer, server_default=text("0"), info=KNOWN)
    status: Mapped[str] = mapped_column(String(20), server_default=text("'trial'"), info=KNOWN)
    stripe_customer_id: Mapped[str | None] = mapped_column(String(255), info=KNOWN)
    billing_email: Mapped[str | None] = mapped_column(String(254), info=KNOWN)
    billing_address_line1: Mapped[str] = mapped_column(
        String(255), server_default=text("''"), info=CHOSEN
    )
    billing_address_line2: Mapped[str] = mapped_column(
        String(255), server_default=text("''"), info=CHOSEN
    )
    billing_address_city: Mapped[str] = mapped_column(
        String(100), server_default=text("''"), info=CHOSEN
    )
    billing_address_postal_code: Mapped[str] = mapped_column(
        String(20), server_default=text("''"), info=CHOSEN
    )
    billing_address_country: Mapped[str] = mapped_column(
        String(2), server_default=text("''"), info=CHOSEN
    )
    is_deleted: Mapped[bool] = mapped_column(Boolean, server_default=text("false"), info=KNOWN)
    deleted_at: Mapped[dt.datetime | None] = mapped_column(Moment, info=KNOWN)
    deleted_by_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey(User.id, deferrable=True, initially="DEFERRED"), info=KNOWN
    )
    restore_until: Mapped[dt.datetime | None] = mapped_column(Moment, info=KNOWN)
    deletion_retention_days: Mapped[int] = mapped_column(
        Integer, server_default=text("14"), info=KNOWN
    )
    created_at: Mapped[dt.datetime] = mapped_column(Moment, server_default=_NOW, info=CHOSEN)
    payment_method: Mapped[str | None] = mapped_column(String(30), info=PLANNED)


class Site(Base):
    """A customer's WordPress site; its bridge authenticates with the API key."""

    __tablename__ = "igny8_sites"
    __table_args__ = (
        Index("igny8_sites_tenant_id_slug_uniq", "tenant_id", "slug", unique=True, info=KNOWN),
        Index(
            "igny8_sites_wp_api_key_billing_idx",
            "wp_api_key",
            postgresql_where=text("wp_api_key <> ''"),
            info=OURS,
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info=KNOWN)
    account_id: Mapped[int] = mapped_column(
        "tenant_id", BigInteger, ForeignKey(Account.id, ondelete="CASCADE"), info=KNOWN
    )
    industry_id: Mapped[int | None] = mapped_column(BigInteger, info=KNOWN)
    name: Mapped[str] = mapped_column(String(255), info=KNOWN)
    slug: Mapped[str] = mapped_column(String(255), info=KNOWN)
    domain: Mapped[str | None] = mapped_column(String(200), info=KNOWN)
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"), info=KNOWN)
    status: Mapped[str] = mapped_column(String(20), server_default=text("'active'"), info=KNOWN)
    wp_url: Mapped[str | None] = mapped_column(String(200), info=KNOWN)
    wp_username: Mapped[str | None] = mapped_column(String(255), info=KNOWN)
    wp_app_password: Mapped[str | None] = mapped_column(String(255), info=KNOWN)
    wp_api_key: Mapped[str | None] = mapped_column(String(255), info=KNOWN)


class Sector(Base):
    """A part of a site; it belongs to the site's account."""

    __tablename__ = "igny8_sectors"
    __table_args__ = (Index("igny8_sectors_tenant_id_billing_idx", "tenant_id", info=OURS),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info=KNOWN)
    account_id: Mapped[int] = mapped_column(
        "tenant_id", BigInteger, ForeignKey(Account.id, ondelete="CASCADE"), info=CHOSEN
    )
    site_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey(Site.id, ondelete="CASCADE"), info=KNOWN
    )
    industry_sector_id: Mapped[int | None] = mapped_column(BigInteger, info=KNOWN)


class Subscription(Base):
    """At most one for each account; an active, paid account may have none."""

    __tablename__ = "igny8_subscriptions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info=KNOWN)
    account_id: Mapped[int] = mapped_column(
        "tenant_id",
        BigInteger,
        ForeignKey(Account.id, ondelete="CASCADE"),
        unique=True,
        info=KNOWN,
    )
    status: Mapped[str] = mapped_column(String(20), info=KNOWN)
    stripe_subscription_id: Mapped[str | None] = mapped_column(String(255), unique=True, info=KNOWN)
    current_period_start: Mapped[dt.datetime] = mapped_column(Moment, info=KNOWN)
    current_period_end: Mapped[dt.datetime] = mapped_column(Moment, info=KNOWN)
    cancel_at_period_end: Mapped[bool] = mapped_column(
        Boolean, server_default=text("false"), info=KNOWN
    )
    payment_method: Mapped[str | None] = mapped_column(String(30), info=PLANNED)
    external_payment_id: Mapped[str | None] = mapped_column(String(255), info=PLANNED)


class Invoice(Base):
    """An invoice; the app never used its table, so we define the columns."""

    __tablename__ = "igny8_invoices"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info=CHOSEN)
    account_id: Mapped[int] = mapped_column(
        "tenant_id", BigInteger, ForeignKey(Account.id, ondelete="CASCADE"), info=CHOSEN
    )
    number: Mapped[str | None] = mapped_column(String(100), unique=True, info=OURS)
    stripe_invoice_id: Mapped[str | None] = mapped_column(String(255), unique=True, info=OURS)
    status: Mapped[str | None] = mapped_column(String(20), info=OURS)
    currency: Mapped[str | None] = mapped_column(String(3), info=OURS)
    due_minor: Mapped[int | None] = mapped_column(BigInteger, info=OURS)
    paid_minor: Mapped[int | None] = mapped_column(BigInteger, info=OURS)
    issued_at: Mapped[dt.datetime | None] = mapped_column(Moment, info=OURS)
    due_at: Mapped[dt.datetime | None] = mapped_column(Moment, info=OURS)


class Payment(Base):
    """A payment received for an account; as for Invoice, we define the columns."""

    __tablename__ = "igny8_payments"
    __table_args__ = (
        Index("igny8_payments_tenant_id_billing_idx", "tenant_id", "happened_at", info=OURS),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info=CHOSEN)
    account_id: Mapped[int] = mapped_column(
        "tenant_id", BigInteger, ForeignKey(Account.id, ondelete="CASCADE"), info=CHOSEN
    )
    invoice_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey(Invoice.id, ondelete="CASCADE"), info=OURS
    )
    method: Mapped[str | None] = mapped_column(String(30), info=OURS)
    external_payment_id: Mapped[str | None] = mapped_column(String(255), unique=True, info=OURS)
    status: Mapped[str | None] = mapped_column(String(20), info=OURS)
    currency: Mapped[str | None] = mapped_column(String(3), info=OURS)
    amount_minor: Mapped[int | None] = mapped_column(BigInteger, info=OURS)
    happened_at: Mapped[dt.datetime | None] = mapped_column(Moment, info=OURS)


class CreditTransaction(Base):
    """A ledger entry, append-only by a trigger; `key` is null on rows that the app wrote."""

    __tablename__ = "igny8_credit_transactions"
    __table_args__ = (Index("igny8_credit_transactions_billing_idx", "tenant_id", "id", info=OURS),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info=KNOWN)
    account_id: Mapped[int] = mapped_column(
        "tenant_id",
        BigInteger,
        ForeignKey(Account.id, deferrable=True, initially="DEFERRED"),
        info=CHOSEN,
    )
    type: Mapped[str] = mapped_column(String(20), info=KNOWN)
    amount: Mapped[int] = mapped_column(Integer, info=KNOWN)
    balance_after: Mapped[int] = mapped_column(Integer, info=KNOWN)
    description: Mapped[str] = mapped_column(String(255), info=KNOWN)
    created_at: Mapped[dt.datetime] = mapped_column(Moment, server_default=_NOW, info=CHOSEN)
    key: Mapped[str | None] = mapped_column("idempotency_key", Text, info=OURS)
    reference: Mapped[str | None] = mapped_column(Text, info=OURS)
    actor: Mapped[str | None] = mapped_column(Text, info=OURS)
    units: Mapped[int | None] = mapped_column(Integer, info=OURS)
    lots: Mapped[list[object] | None] = mapped_column("lots_used", JSONB, info=OURS)
    happened_at: Mapped[dt.datetime | None] = mapped_column(Moment, info=OURS)
    details: Mapped[dict[str, object] | None] = mapped_column("metadata", JSONB, info=OURS)
    chain: Mapped[bytes | None] = mapped_column(LargeBinary, info=OURS)


class CreditCostConfig(Base):
    """The price of one operation, instead of the default in code."""

    __tablename__ = "igny8_credit_cost_configs"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info=CHOSEN)
    operation: Mapped[str] = mapped_column(String(50), unique=True, info=CHOSEN)
    credits_per_unit: Mapped[int] = mapped_column(Integer, info=CHOSEN)
    units_per_price: Mapped[int] = mapped_column(Integer, server_default=text("1"), info=CHOSEN)
    is_fixed: Mapped[bool] = mapped_column(Boolean, server_default=text("false"), info=CHOSEN)
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"), info=CHOSEN)


HOST_TABLES = (
    Plan,
    User,
    Account,
    Site,
    Sector,
    Subscription,
    Invoice,
    Payment,
    CreditTransaction,
    CreditCostConfig,
)

#: Columns that the app's 0006 made NOT NULL and its planned 0007 makes nullable.
NULLABLE_BY_MIGRATION = (("igny8_subscriptions", "stripe_subscription_id"),)

__all__ = [
    "ADDED_BY_MIGRATION",
    "HOST_TABLES",
    "NULLABLE_BY_MIGRATION",
    "Account",
    "CreditCostConfig",
    "CreditTransaction",
    "Invoice",
    "Payment",
    "Plan",
    "Sector",
    "Site",
    "Subscription",
    "User",
]
