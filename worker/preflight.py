"""Whether a worker may run here: settings, servers and the main app's tables, as facts.

A worker refuses to start on a problem; what is only unwise is a warning.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Literal, NamedTuple

import redis
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import DBAPIError

from models import SCHEMA
from models.host import HOST_TABLES, CreditTransaction
from worker import clock, schema
from worker.database import engine
from worker.settings import BadSettings, settings
from worker.transport import queues

#: The oldest servers that we test with and that kombu's transport can use.
OLDEST_POSTGRES = 14
OLDEST_REDIS = (6, 2)
#: Clocks further apart than this make leases and expiries wrong.
MAX_CLOCK_SKEW = dt.timedelta(seconds=5)

Level = Literal["ok", "warning", "problem", "unreachable"]


class Fact(NamedTuple):
    """One thing that was looked at."""

    subject: str
    level: Level
    what: str


def look() -> list[Fact]:
    """Look at everything; what can't be reached is a fact too."""
    try:
        settings()
    except BadSettings as error:
        return [Fact("settings", "problem", problem) for problem in error.problems]
    return [*_settings(), *_postgres(), *_redis()]


def refuses(facts: list[Fact]) -> bool:
    """Whether a worker must not start."""
    return any(fact.level == "problem" for fact in facts)


def _settings() -> Iterator[Fact]:
    import celeryconfig  # it can't be read before the settings are known to be good

    config = settings()
    if config.redis_url.startswith("rediss://") and (
        not celeryconfig.broker_use_ssl or "ssl_cert_reqs=none" in config.redis_url.lower()
    ):
        yield Fact("settings", "problem", "rediss:// without a check of the certificate")
    if config.debit_reader == "stock":
        yield Fact("settings", "warning", "debits are read one by one (BILLING_DEBIT_READER=stock)")
    yield Fact(
        "settings",
        "ok",
        f"time limits {config.soft_time_limit_s}/{config.hard_time_limit_s} s < visibility"
        f" {config.visibility_timeout_s} s; lease {config.lease_s} s",
    )


def _postgres() -> Iterator[Fact]:
    try:
        with engine().connect() as connection:
            yield from _server(connection)
            yield from _host_tables(connection)
            yield from _schema(connection)
    except DBAPIError as error:
        yield Fact("postgres", "unreachable", str(error.orig).strip().splitlines()[0])


def _server(connection: sa.Connection) -> Iterator[Fact]:
    version = connection.dialect.server_version_info or (0,)
    level: Level = "ok" if int(version[0]) >= OLDEST_POSTGRES else "problem"
    yield Fact("postgres", level, f"version {'.'.join(map(str, version))}")
    encoding = connection.execute(sa.text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        yield Fact("postgres", "problem", f"encoding {encoding}, not UTF8")
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        if connection.execute(sa.text(f"SHOW {name}")).scalar_one() == "off":
            yield Fact("postgres", "warning", f"{name} is off: a crash can lose what was committed")
    skew = abs(connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one() - clock.now())
    if skew > MAX_CLOCK_SKEW:
        yield Fact("postgres", "warning", f"its clock is {skew.total_seconds():.0f} s from ours")


def _host_tables(connection: sa.Connection) -> Iterator[Fact]:
    """Compare the main app's tables with what we need of them."""
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    problems = 0
    for model in HOST_TABLES:
        table: sa.Table = model.__table__  # type: ignore[assignment]
        if table.name not in there:
            problems += 1
            yield Fact("host tables", "problem", f"{table.name} is missing")
            continue
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}
        for problem in _columns(table, columns):
            problems += 1
            yield Fact("host tables", "problem", f"{table.name}: {problem}")
    if not problems:
        yield Fact("host tables", "ok", f"{len(HOST_TABLES)} tables have what we need")


def _columns(table: sa.Table, there: dict[str, ReflectedColumn]) -> Iterator[str]:
    for column in table.columns:
        found = there.get(column.name)
        if found is None:
            yield f"column {column.name} is missing"
        elif _kind(found["type"]) != _kind(column.type):
            yield f"column {column.name} is {found['type']}, and we need {column.type}"
        elif column.name == "status" and (getattr(found["type"], "length", None) or 99) < 15:
            yield "column status is too short for pending_payment"
    if table.name == CreditTransaction.__tablename__:
        ours = set(table.columns.keys())
        for name, found in there.items():
            if name not in ours and not found["nullable"] and not _fills_itself(found):
                yield f"column {name} must be filled, and we do not know with what"


def _fills_itself(column: ReflectedColumn) -> bool:
    return column["default"] is not None or "identity" in column or "computed" in column


def _kind(type_: sa.types.TypeEngine[object]) -> str:
    """Types that hold the same values are of one kind, whatever their width."""
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
    context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
    here, head = context.get_current_revision(), schema.head()
    if here != head:
        yield Fact("schema", "problem", f"is at {here}, needs {head}: run `billing migrate`")
    else:
        yield Fact("schema", "ok", f"is at {head}")


def _redis() -> Iterator[Fact]:
    client = queues.connection()
    try:
        info = client.info()
    except redis.RedisError as error:
        yield Fact("redis", "unreachable", str(error).splitlines()[0])
        return
    version = str(info["redis_version"])
    level: Level = "ok" if tuple(map(int, version.split(".")[:2])) >= OLDEST_REDIS else "problem"
    yield Fact("redis", level, f"version {version}")
    if not info.get("aof_enabled"):
        yield Fact("redis", "warning", "no append-only file: a crash loses queued messages")
    if info.get("maxmemory_policy", "noeviction") != "noeviction":
        policy = info["maxmemory_policy"]
        yield Fact("redis", "problem", f"maxmemory-policy {policy} throws messages away")
