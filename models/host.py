"""The main app's tables: the one place that names them and their columns.

The function that makes a column tells where it comes from; `info["origin"]` keeps it:

- known    taken from the main app's production database (docs/how-to/existing-database.md)
- chosen   our guess of an unknown name; correct it here if the app's differs
- planned  part of the main app's migration 0007; our migration adds it where it is missing
- ours     added by us to a host table; the app may ignore it

The foreign key to the account is `tenant_id` on `igny8_sites`; we assume the same name everywhere.
"""

import datetime as dt
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import ForeignKey, Index, Numeric, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigInt, NewId, partial_index

KNOWN = {"origin": "known"}
OURS = {"origin": "ours"}

known = partial(mapped_column, info=KNOWN)
chosen = partial(mapped_column, info={"origin": "chosen"})
planned = partial(mapped_column, info={"origin": "planned"})
ours = partial(mapped_column, info=OURS)

_DEFERRED: Any = {"deferrable": True, "initially": "DEFERRED"}
_NOW = text("now()")


class Plan(Base, table="igny8_plans"):
    """A plan; `included_credits` are those of one month."""

    id: Mapped[NewId] = known()
    slug: Mapped[str] = known(String(50), unique=True)
    name: Mapped[str] = known(String(255))
    price: Mapped[Decimal] = chosen(Numeric(10, 2))
    included_credits: Mapped[int] = known()
    max_sites: Mapped[int] = chosen()
    max_users: Mapped[int] = chosen()
    features: Mapped[list[object]] = known(JSONB, server_default=text("'[]'::jsonb"))
    is_active: Mapped[bool] = chosen(server_default=text("true"))


class User(Base, table="igny8_users"):
    """A person or an automation; docs/how-to/existing-database.md lists the roles."""

    id: Mapped[NewId] = known()
    email: Mapped[str] = known(String(254), unique=True)
    role: Mapped[str] = known(String(20))
    account_id: Mapped[BigInt | None] = chosen(
        "tenant_id", ForeignKey("igny8_tenants.id", use_alter=True, **_DEFERRED), index=True
    )
    is_superuser: Mapped[bool] = chosen(server_default=text("false"))


class Account(Base, table="igny8_tenants"):
    """An account (tenant). `credits` is the balance that the app shows; we change it by deltas."""

    __table_args__ = (
        partial_index(
            "igny8_tenants_stripe_customer_id_billing_idx",
            "stripe_customer_id",
            where="stripe_customer_id <> ''",
            info=OURS,
        ),
        partial_index(
            "igny8_tenants_trial_billing_idx",
            "id",
            where="status = 'trial' AND NOT is_deleted",
            info=OURS,
        ),
        partial_index(
            "igny8_tenants_restore_until_billing_idx",
            "restore_until",
            where="is_deleted",
            info=OURS,
        ),
    )

    id: Mapped[NewId] = known()
    name: Mapped[str] = known(String(255))
    slug: Mapped[str] = known(String(255), unique=True)
    owner_id: Mapped[BigInt | None] = known(ForeignKey(User.id, **_DEFERRED), index=True)
    plan_id: Mapped[BigInt | None] = known(ForeignKey(Plan.id, **_DEFERRED), index=True)
    credits: Mapped[int] = known(server_default=text("0"))
    status: Mapped[str] = known(String(20), server_default=text("'trial'"))
    stripe_customer_id: Mapped[str | None] = known(String(255))
    billing_email: Mapped[str | None] = known(String(254))
    billing_address_line1: Mapped[str] = chosen(String(255), server_default=text("''"))
    billing_address_line2: Mapped[str] = chosen(String(255), server_default=text("''"))
    billing_address_city: Mapped[str] = chosen(String(100), server_default=text("''"))
    billing_address_postal_code: Mapped[str] = chosen(String(20), server_default=text("''"))
    billing_address_country: Mapped[str] = chosen(String(2), server_default=text("''"))
    is_deleted: Mapped[bool] = known(server_default=text("false"))
    deleted_at: Mapped[dt.datetime | None] = known()
    deleted_by_id: Mapped[BigInt | None] = known(ForeignKey(User.id, **_DEFERRED))
    restore_until: Mapped[dt.datetime | None] = known()
    deletion_retention_days: Mapped[int] = known(server_default=text("14"))
    created_at: Mapped[dt.datetime] = chosen(server_default=_NOW)
    payment_method: Mapped[str | None] = planned(String(30))


class Site(Base, table="igny8_sites"):
    """A customer's WordPress site; its bridge authenticates with the API key."""

    __table_args__ = (
        Index("igny8_sites_tenant_id_slug_uniq", "tenant_id", "slug", unique=True, info=KNOWN),
        partial_index(
            "igny8_sites_wp_api_key_billing_idx", "wp_api_key", where="wp_api_key <> ''", info=OURS
        ),
    )

    id: Mapped[NewId] = known()
    account_id: Mapped[BigInt] = known("tenant_id", ForeignKey(Account.id, ondelete="CASCADE"))
    industry_id: Mapped[BigInt | None] = known()
    name: Mapped[str] = known(String(255))
    slug: Mapped[str] = known(String(255))
    domain: Mapped[str | None] = known(String(200))
    is_active: Mapped[bool] = known(server_default=text("true"))
    status: Mapped[str] = known(String(20), server_default=text("'active'"))
    wp_url: Mapped[str | None] = known(String(200))
    wp_username: Mapped[str | None] = known(String(255))
    wp_app_password: Mapped[str | None] = known(String(255))
    wp_api_key: Mapped[str | None] = known(String(255))


class Sector(Base, table="igny8_sectors"):
    """A part of a site; it belongs to the site's account."""

    __table_args__ = (Index("igny8_sectors_tenant_id_billing_idx", "tenant_id", info=OURS),)

    id: Mapped[NewId] = known()
    account_id: Mapped[BigInt] = chosen("tenant_id", ForeignKey(Account.id, ondelete="CASCADE"))
    site_id: Mapped[BigInt] = known(ForeignKey(Site.id, ondelete="CASCADE"))
    industry_sector_id: Mapped[BigInt | None] = known()


class Subscription(Base, table="igny8_subscriptions"):
    """At most one for each account; an active, paid account may have none."""

    id: Mapped[NewId] = known()
    account_id: Mapped[BigInt] = known(
        "tenant_id", ForeignKey(Account.id, ondelete="CASCADE"), unique=True
    )
    status: Mapped[str] = known(String(20))
    stripe_subscription_id: Mapped[str | None] = known(String(255), unique=True)
    current_period_start: Mapped[dt.datetime] = known()
    current_period_end: Mapped[dt.datetime] = known()
    cancel_at_period_end: Mapped[bool] = known(server_default=text("false"))
    payment_method: Mapped[str | None] = planned(String(30))
    external_payment_id: Mapped[str | None] = planned(String(255))


class Invoice(Base, table="igny8_invoices"):
    """An invoice; the app never used its table, so we define the columns."""

    id: Mapped[NewId] = chosen()
    account_id: Mapped[BigInt] = chosen("tenant_id", ForeignKey(Account.id, ondelete="CASCADE"))
    number: Mapped[str | None] = ours(String(100), unique=True)
    stripe_invoice_id: Mapped[str | None] = ours(String(255), unique=True)
    status: Mapped[str | None] = ours(String(20))
    currency: Mapped[str | None] = ours(String(3))
    due_minor: Mapped[BigInt | None] = ours()
    paid_minor: Mapped[BigInt | None] = ours()
    issued_at: Mapped[dt.datetime | None] = ours()
    due_at: Mapped[dt.datetime | None] = ours()


class Payment(Base, table="igny8_payments"):
    """A payment received for an account; as for Invoice, we define the columns."""

    __table_args__ = (
        Index("igny8_payments_tenant_id_billing_idx", "tenant_id", "happened_at", info=OURS),
    )

    id: Mapped[NewId] = chosen()
    account_id: Mapped[BigInt] = chosen("tenant_id", ForeignKey(Account.id, ondelete="CASCADE"))
    invoice_id: Mapped[BigInt | None] = ours(ForeignKey(Invoice.id, ondelete="CASCADE"))
    method: Mapped[str | None] = ours(String(30))
    external_payment_id: Mapped[str | None] = ours(String(255), unique=True)
    status: Mapped[str | None] = ours(String(20))
    currency: Mapped[str | None] = ours(String(3))
    amount_minor: Mapped[BigInt | None] = ours()
    happened_at: Mapped[dt.datetime | None] = ours()


class CreditTransaction(Base, table="igny8_credit_transactions"):
    """A ledger entry, append-only by a trigger; `key` is null on rows that the app wrote."""

    __table_args__ = (Index("igny8_credit_transactions_billing_idx", "tenant_id", "id", info=OURS),)

    id: Mapped[NewId] = known()
    account_id: Mapped[BigInt] = chosen("tenant_id", ForeignKey(Account.id, **_DEFERRED))
    type: Mapped[str] = known(String(20))
    amount: Mapped[int] = known()
    balance_after: Mapped[int] = known()
    description: Mapped[str] = known(String(255))
    created_at: Mapped[dt.datetime] = chosen(server_default=_NOW)
    key: Mapped[str | None] = ours("idempotency_key")
    reference: Mapped[str | None] = ours()
    actor: Mapped[str | None] = ours()
    units: Mapped[int | None] = ours()
    lots: Mapped[list[object] | None] = ours("lots_used", JSONB)
    happened_at: Mapped[dt.datetime | None] = ours()
    details: Mapped[dict[str, object] | None] = ours("metadata", JSONB)
    chain: Mapped[bytes | None] = ours()


class CreditCostConfig(Base, table="igny8_credit_cost_configs"):
    """The price of one operation, instead of the default in code."""

    id: Mapped[NewId] = chosen()
    operation: Mapped[str] = chosen(String(50), unique=True)
    credits_per_unit: Mapped[int] = chosen()
    units_per_price: Mapped[int] = chosen(server_default=text("1"))
    is_fixed: Mapped[bool] = chosen(server_default=text("false"))
    is_active: Mapped[bool] = chosen(server_default=text("true"))


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
