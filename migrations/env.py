"""Alembic's environment: DATABASE_URL, time limits, and only the tables that we map."""

from typing import Any

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from models import SCHEMA, metadata
from models.host import HOST_TABLES
from worker.settings import settings

#: Long enough to build an index on a large ledger, concurrently.
STATEMENT_TIMEOUT = "15min"

#: Tables of our schema that have no model: only migrations use them.
_NOT_MAPPED = frozenset({"alembic_version", "host_changes"})
_HOST = frozenset(table.__tablename__ for table in HOST_TABLES)


def include_name(name: str | None, type_: str, parents: Any) -> bool:
    """Include our schema and the host tables that we map; the app has many more."""
    if type_ == "schema":
        return name in (None, SCHEMA)
    if type_ == "table":
        return parents["schema_name"] == SCHEMA or name in _HOST
    return True


def include_object(item: Any, name: str | None, type_: str, reflected: bool, other: Any) -> bool:
    """Compare of a host table only the columns that we map; the rest is the app's."""
    table = item if type_ == "table" else item.table
    if table.schema == SCHEMA or type_ == "table":
        return name not in _NOT_MAPPED
    return type_ == "column" and not (reflected and other is None)


def compare_type(_: Any, column: Any, *__: Any) -> bool | None:
    """Compare types in our schema only. None lets Alembic compare."""
    return None if column.table.schema == SCHEMA else False


def run() -> None:
    """Run the migrations, each revision in a transaction of its own."""
    url = context.get_x_argument(as_dictionary=True).get("url") or settings().database_url
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={
            "options": f"-csearch_path=public -clock_timeout={settings().migration_lock_timeout_s}s"
            f" -cstatement_timeout={STATEMENT_TIMEOUT}"
        },
    )
    with engine.connect() as connection:
        # Only if it is missing: IF NOT EXISTS asks for the right to create one even if it is there.
        if connection.execute(text(f"SELECT to_regnamespace('{SCHEMA}')")).scalar() is None:
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=metadata,
            include_schemas=True,
            include_name=include_name,
            include_object=include_object,
            compare_type=compare_type,
            version_table_schema=SCHEMA,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
