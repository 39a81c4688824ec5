"""The preflight check of settings, servers and the main app's tables, as a list of facts.

A worker refuses to start on a problem; a warning does not stop it.
"""

import datetime as dt
import os
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import redis
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import DBAPIError

from billing_client import tls
from models.host import HOST_TABLES, CreditTransaction
from worker import clock, schema
from worker.database import engine
from worker.roles import catalog, owner
from worker.roles import check as check_roles
from worker.settings import BadSettings, deprecations, settings
from worker.transport import queues

#: The oldest servers that we test with and that kombu's transport supports.
OLDEST_POSTGRES = 14
OLDEST_REDIS = (6, 2)
#: A larger difference between two clocks makes leases and expiries wrong.
MAX_CLOCK_SKEW = dt.timedelta(seconds=5)

Level = Literal["ok", "warning", "problem", "unreachable"]


class Fact(NamedTuple):
    """One result of the check: a subject, a level, and a sentence."""

    subject: str
    level: Level
    what: str


def check() -> list[Fact]:
    """Check everything; a server that can't be reached is a fact, too."""
    try:
        settings()
    except BadSettings as error:
        return [Fact("settings", "problem", problem) for problem in error.problems]
    return [*_settings(), *_postgres(), *_redis()]


def refuses(facts: list[Fact]) -> bool:
    """Whether a worker must not start."""
    return any(fact.level == "problem" for fact in facts)


def _settings() -> Iterator[Fact]:
    import celeryconfig  # noqa: F401 - importing it fails if the settings are wrong

    config = settings()
    for url in filter(None, (config.redis_url, config.events_broker_url)):
        if tls.is_unchecked(url):
            text = f"Anybody may answer for the Redis {urlsplit(url).hostname}:"
            text += " BILLING_REDIS_TLS_VERIFY is false."
            yield Fact("settings", "warning", text)
    postgres = sa.make_url(config.database_url)
    mode = postgres.query.get("sslmode", os.environ.get("PGSSLMODE", "prefer"))
    if mode != "verify-full" and is_remote(postgres.host):
        text = f"Anybody may answer for the Postgres {postgres.host}:"
        text += f" sslmode is {mode}, not verify-full."
        yield Fact("settings", "warning", text)
    if config.debit_reader == "stock":
        text = "Debits are read one by one, because BILLING_DEBIT_READER is stock."
        yield Fact("settings", "warning", text)
    for sentence in deprecations():
        yield Fact("settings", "warning", sentence)
    limits = f"{config.soft_time_limit_s} and {config.hard_time_limit_s} s"
    timeout = f"{config.visibility_timeout_s} s, the lease {config.lease_s} s"
    text = f"The time limits are {limits}, the visibility timeout is {timeout}."
    yield Fact("settings", "ok", text)


def is_remote(host: str | None) -> bool:
    """Whether a host is on no network of ours: no socket, loopback address, or name without dot."""
    if not host or host.startswith("/") or host == "localhost":
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return "." in host


def _postgres() -> Iterator[Fact]:
    try:
        with engine().connect() as connection:
            yield from _server(connection)
            yield from _host_tables(connection)
            yield from _schema(connection)
            yield from _rights(connection)
    except DBAPIError as error:
        yield Fact("postgres", "unreachable", str(error.orig).strip().splitlines()[0])


def _server(connection: sa.Connection) -> Iterator[Fact]:
    version = connection.dialect.server_version_info or (0,)
    level: Level = "ok" if int(version[0]) >= OLDEST_POSTGRES else "problem"
    yield Fact("postgres", level, f"The version is {'.'.join(map(str, version))}.")
    encoding = connection.execute(sa.text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        yield Fact("postgres", "problem", f"The encoding is {encoding}; it must be UTF8.")
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        if connection.execute(sa.text(f"SHOW {name}")).scalar_one() == "off":
            text = f"The setting {name} is off: a crash can lose committed transactions."
            yield Fact("postgres", "warning", text)
    skew = abs(connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one() - clock.now())
    if skew > MAX_CLOCK_SKEW:
        text = f"The clock of Postgres differs from ours by {skew.total_seconds():.0f} s."
        yield Fact("postgres", "warning", text)


def _host_tables(connection: sa.Connection) -> Iterator[Fact]:
    """Compare the main app's tables with the columns that we need."""
    problems = list(_table_problems(sa.inspect(connection)))
    yield from [Fact("host tables", "problem", problem) for problem in problems]
    if not problems:
        text = f"All {len(HOST_TABLES)} tables have the columns that we need."
        yield Fact("host tables", "ok", text)


def _table_problems(inspector: sa.Inspector) -> Iterator[str]:
    existing_tables = set(inspector.get_table_names())
    for model in HOST_TABLES:
        table: sa.Table = model.__table__  # type: ignore[assignment]
        if table.name not in existing_tables:
            yield f"{table.name} is missing."
            continue
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}
        for problem in _columns(table, columns):
            yield f"{table.name}: {problem}"


def _columns(table: sa.Table, existing: dict[str, ReflectedColumn]) -> Iterator[str]:
    for column in table.columns:
        actual = existing.get(column.name)
        if actual is None:
            yield f"column {column.name} is missing."
        elif _kind(actual["type"]) != _kind(column.type):
            yield f"column {column.name} is {actual['type']}; it must be {column.type}."
        elif column.name == "status" and (getattr(actual["type"], "length", None) or 99) < 15:
            yield "column status is too short for the value pending_payment."
    if table.name == CreditTransaction.__tablename__:
        ours = set(table.columns.keys())
        for name, actual in existing.items():
            has_value = actual["nullable"] or actual["default"] is not None
            if name not in ours and not has_value and not {"identity", "computed"} & actual.keys():
                yield f"column {name} is NOT NULL without a default, and we do not know it."


def _kind(type_: sa.types.TypeEngine[object]) -> str:
    """Return the kind of a type: types of one kind hold the same values, whatever their width."""
    for kind, classes in (
        ("text", (sa.String, sa.Text)),
        ("time", (sa.DateTime, sa.TIMESTAMP)),
        ("boolean", (sa.Boolean,)),
        ("whole number", (sa.Integer,)),
        ("number", (sa.Numeric,)),
        ("json", (sa.JSON,)),
        ("uuid", (sa.Uuid,)),
        ("bytes", (sa.LargeBinary, BYTEA)),
    ):
        if isinstance(type_, classes):
            return kind
    return str(type_)


def _schema(connection: sa.Connection) -> Iterator[Fact]:
    current, head = schema.revision_of(connection), schema.head()
    if current == head:
        yield Fact("schema", "ok", f"The schema is at {head}, as this version needs.")
    elif schema.is_newer(connection):
        level: Level = "warning" if schema.may_run(connection) else "problem"
        yield Fact("schema", level, schema.newer_sentence(connection))
    else:
        text = f"The schema is at {current} and must be at {head}: run `billing migrate`."
        yield Fact("schema", "problem", text)


def _rights(connection: sa.Connection) -> Iterator[Fact]:
    """Name each right that a worker needs and this role lacks, and an owner that is a superuser."""
    role = connection.execute(sa.text("SELECT current_user")).scalar_one()
    lacking = check_roles.described(catalog.missing(connection, role, "worker"))
    for right in lacking:
        text = f"The role {role} may not {right}: run `billing roles apply --worker {role}`."
        yield Fact("rights", "problem", text)
    present = owner.of_schema(connection)
    if present is not None and present[1]:
        text = f"The schema is owned by the superuser {present[0]}: run `billing roles apply`."
        yield Fact("rights", "warning", text)
    if not lacking:
        yield Fact("rights", "ok", f"The role {role} has the rights that a worker needs.")


def _redis() -> Iterator[Fact]:
    client = queues.connection()
    try:
        info = client.info()
    except redis.RedisError as error:
        yield Fact("redis", "unreachable", str(error).splitlines()[0])
        return
    version = str(info["redis_version"])
    level: Level = "ok" if tuple(map(int, version.split(".")[:2])) >= OLDEST_REDIS else "problem"
    yield Fact("redis", level, f"The version is {version}.")
    if not info.get("aof_enabled"):
        text = "Redis keeps no append-only file: a crash loses queued messages."
        yield Fact("redis", "warning", text)
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        text = f"The maxmemory-policy {policy} evicts messages; set noeviction."
        yield Fact("redis", "problem", text)
