"""The rights of each part of the system, as data.

The statements, the check, the preflight and the documentation are all made from these tables.
`*` as a table, sequence or function stands for all of the schema, also for those of later releases.
"""

from typing import Literal, NamedTuple, TypeAlias

from models import SCHEMA
from models.host import HOST_TABLES

Part: TypeAlias = Literal["owner", "worker", "app", "read_only"]
Kind: TypeAlias = Literal["SCHEMA", "TABLE", "SEQUENCE", "FUNCTION"]
EVERY = f"{SCHEMA}.*"


class Right(NamedTuple):
    """A privilege on an object; on some of its columns, if there are any.

    A sequence of the main app is named by its column: `igny8_invoices.id`.
    """

    privilege: str
    kind: Kind
    on: str
    columns: tuple[str, ...] = ()


def _on_host(privilege: str, table: str, columns: str = "") -> Right:
    return Right(privilege, "TABLE", f"public.{table}", tuple(columns.split()))


#: Columns of the main app that no role of ours reads: secrets of the customers' sites.
_SECRETS = {"wp_username", "wp_app_password", "wp_api_key"}
#: All columns that the models name, for each table of the main app.
_MAPPED = {
    model.__tablename__: " ".join(
        column.name for column in model.__table__.columns if column.name not in _SECRETS
    )
    for model in HOST_TABLES
}
_PUBLIC = Right("USAGE", "SCHEMA", "public")
_OURS = Right("USAGE", "SCHEMA", SCHEMA)
_ENTRIES, _INVOICES, _PAYMENTS = (
    "igny8_credit_transactions",
    "igny8_invoices",
    "igny8_payments",
)
_SUBSCRIPTIONS = "igny8_subscriptions"

#: The tables that only the migrations write, and those whose rows are never changed.
ONLY_READ = frozenset({"alembic_version", "allowed_roles", "host_changes"})
ONLY_ADDED = frozenset({"allocations", "repairs", "transfer_decisions", "unapplied_cash"})
#: What a reader may not read: raw bank files, trial fingerprints, and the sites' API keys.
NOT_READ = frozenset({"site_access", "statement_file_parts", "trial_identities"})
#: What an app may read besides, where it looks up what became of a message.
APP_MAY_READ = frozenset({"holds", "keys", "outbox", "refusals"})

PLACE_HOLD = f"{SCHEMA}.place_hold(bigint,text,integer,text,integer)"
OLD_PLACE_HOLD = f"{SCHEMA}.place_hold(bigint,text,integer,text,integer,timestamp with time zone)"
ACCESS = f"{SCHEMA}.access(bigint,text)"

#: The functions that run with their owner's rights: what each does, and who may call it. None but
#: these: a test compares the list with the database.
DEFINERS: dict[str, tuple[str, str]] = {
    PLACE_HOLD: ("places a hold now", "app, worker"),
    OLD_PLACE_HOLD: (
        "the same for clients of releases before; ignores its last argument",
        "app, worker",
    ),
    ACCESS: ("reads `account_access` or `site_access` of one account or API key", "app, worker"),
    f"{SCHEMA}.remember_price()": (
        "trigger on `igny8_credit_cost_configs`: keeps each version of a price",
        "nobody; fires for whoever writes the row",
    ),
    f"{SCHEMA}.remember_status()": (
        "trigger on `igny8_tenants`: notes a status that the app wrote",
        "nobody; fires for whoever writes the row",
    ),
    f"{SCHEMA}.note_customer_name()": (
        "trigger on `igny8_tenants` and `billing.transfer_invoices`: notes a name to be read",
        "nobody; fires for whoever writes the row",
    ),
}

RIGHTS: dict[Part, tuple[Right, ...]] = {
    # Of the main app's tables. In the schema everything is the owner's.
    "owner": (
        _PUBLIC,
        _on_host(
            "SELECT",
            "igny8_tenants",
            "id slug plan_id status credits is_deleted deleted_at restore_until",
        ),
        # To lock the row of an account; its balance is written by the worker.
        _on_host("UPDATE", "igny8_tenants", "credits"),
        _on_host("SELECT", "igny8_plans", "id slug is_active max_sites max_users"),
        _on_host("SELECT", "igny8_sites", "id tenant_id is_active wp_api_key"),
        _on_host("SELECT", "igny8_sectors", "tenant_id site_id"),
        _on_host("SELECT", "igny8_users", "tenant_id"),
        _on_host("SELECT", _ENTRIES, "id tenant_id"),
        _on_host(
            "INSERT",
            _ENTRIES,
            "tenant_id type amount balance_after description created_at idempotency_key actor"
            " happened_at lots_used",
        ),
        Right("USAGE", "SEQUENCE", f"public.{_ENTRIES}.id"),
    ),
    "worker": (
        _OURS,
        *[Right(privilege, "TABLE", EVERY) for privilege in ("SELECT", "INSERT")],
        *[Right(privilege, "TABLE", EVERY) for privilege in ("UPDATE", "DELETE")],
        Right("USAGE", "SEQUENCE", EVERY),
        Right("EXECUTE", "FUNCTION", EVERY),
        _PUBLIC,
        *[_on_host("SELECT", table, columns) for table, columns in _MAPPED.items()],
        _on_host("UPDATE", "igny8_tenants", "credits status plan_id stripe_customer_id"),
        *[
            _on_host(privilege, table)
            for table in (_SUBSCRIPTIONS, _INVOICES, _PAYMENTS)
            for privilege in ("INSERT", "UPDATE")
        ],
        _on_host("DELETE", _PAYMENTS),
        _on_host("INSERT", _ENTRIES),
        # The ledger's trigger lets nothing pass but the repair of a time that nobody can read.
        _on_host("UPDATE", _ENTRIES, "created_at happened_at"),
        *[
            Right("USAGE", "SEQUENCE", f"public.{table}.id")
            for table in (_SUBSCRIPTIONS, _INVOICES, _PAYMENTS, _ENTRIES)
        ],
    ),
    "app": (
        _OURS,
        # Neither `id` nor `sent_at`: the order and the time are the database's.
        Right("INSERT", "TABLE", f"{SCHEMA}.inbox", ("account_id", "task", "arguments")),
        Right(
            "INSERT",
            "TABLE",
            f"{SCHEMA}.statement_files",
            ("sha256", "name", "account", "size", "received_at"),
        ),
        # To find a file's id again by its digest.
        Right("SELECT", "TABLE", f"{SCHEMA}.statement_files", ("id", "sha256")),
        Right(
            "INSERT", "TABLE", f"{SCHEMA}.statement_file_parts", ("file_id", "number", "content")
        ),
        Right("EXECUTE", "FUNCTION", PLACE_HOLD),
        Right("EXECUTE", "FUNCTION", OLD_PLACE_HOLD),
        Right("EXECUTE", "FUNCTION", ACCESS),
        Right("SELECT", "TABLE", f"{SCHEMA}.account_access"),
        Right("SELECT", "TABLE", f"{SCHEMA}.site_access"),
    ),
    "read_only": (
        _OURS,
        Right("SELECT", "TABLE", EVERY),
        _PUBLIC,
        *[
            _on_host("SELECT", table, _MAPPED[table])
            for table in (
                "igny8_tenants",
                "igny8_plans",
                _SUBSCRIPTIONS,
                _INVOICES,
                _PAYMENTS,
                _ENTRIES,
            )
        ],
    ),
}


def is_for(part: Part, right: Right, name: str) -> bool:
    """Whether a right on everything in the schema covers the table, sequence or view `name`."""
    if right.kind != "TABLE":
        return True
    if part == "read_only":
        return name not in NOT_READ
    if name in ONLY_READ:
        return right.privilege == "SELECT"
    return name not in ONLY_ADDED or right.privilege in {"SELECT", "INSERT"}
