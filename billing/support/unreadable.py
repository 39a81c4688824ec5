"""Rows that Python can't read, or a check can't reckon with: account, table and row of each."""

from collections.abc import Iterator

from sqlalchemy import TIMESTAMP, Table, text

from billing.context import Context
from models import SCHEMA, metadata

#: Tables of an account whose rows are read one by one; the entries' have a check of their own.
HOST_TIMES = {"igny8_tenants": ("id", ("created_at", "deleted_at", "restore_until"))}
#: Fields of Stripe's objects and events that a check takes for integers.
NUMBERS = ("amount", "total", "received", "paid", "amount_minor", "account_id")

_TIMES = """
SELECT '{table} ' || {id}, jsonb_build_object('account_id', {account}, 'table', '{table}',
       'row', {id}::text, 'problem', concat_ws(', ', {problems}))
FROM {table} WHERE {conditions} LIMIT :most
"""
_NUMBERS = """
SELECT '{table} ' || id, jsonb_build_object('account_id', {account}, 'table', '{table}',
       'row', id::text, 'problem', 'of its facts, these are no integers: ' || (
           SELECT string_agg(name, ', ' ORDER BY name) FROM unnest(CAST(:names AS text[])) AS name
           WHERE facts ->> name !~ '^-?[0-9]{{1,18}}$'))
FROM {table}
WHERE EXISTS (SELECT FROM unnest(CAST(:names AS text[])) AS name
              WHERE facts ->> name !~ '^-?[0-9]{{1,18}}$') LIMIT :most
"""


def rows(ctx: Context, *, limit: int = 1000) -> Iterator[tuple[str, dict[str, object]]]:
    """(subject, facts) of each such row of the accounts' tables."""
    statements = [_times(table) for table in metadata.tables.values() if _is_an_accounts(table)]
    statements += [_sql(name, id, id, times) for name, (id, times) in HOST_TIMES.items()]
    for statement in statements:
        yield from _found(ctx, statement, limit)
    yield from numbers(ctx, limit=limit)


def numbers(ctx: Context, *, limit: int = 1000) -> Iterator[tuple[str, dict[str, object]]]:
    """(subject, facts) of Stripe's objects and events with a text where a number belongs."""
    for table, account in (("stripe_objects", "account_id"), ("stripe_events", "NULL::bigint")):
        statement = _NUMBERS.format(table=f"{SCHEMA}.{table}", account=account)
        yield from _found(ctx, statement, limit)


def _found(ctx: Context, statement: str, limit: int) -> Iterator[tuple[str, dict[str, object]]]:
    values = {"most": limit, "names": list(NUMBERS)}
    for row in ctx.session.execute(text(statement), values):
        yield row[0], row[1]


def _is_an_accounts(table: Table) -> bool:
    return table.schema == SCHEMA and "account_id" in table.columns and bool(_time_names(table))


def _time_names(table: Table) -> list[str]:
    return [column.name for column in table.columns if isinstance(column.type, TIMESTAMP)]


def _times(table: Table) -> str:
    ids = [f"{column.name}::text" for column in table.primary_key.columns]
    id = f"concat_ws(' ', {', '.join(ids)})"
    return _sql(f"{SCHEMA}.{table.name}", id, "account_id", tuple(_time_names(table)))


def _sql(table: str, id: str, account: str, times: tuple[str, ...]) -> str:
    # BETWEEN is false for infinity, and for a year that Python has not.
    odd = [f"{t} NOT BETWEEN '0001-01-02' AND '9999-12-31 UTC'" for t in times]
    problems = [
        f"CASE WHEN {condition} THEN '{name} is ' || {name} END"
        for name, condition in zip(times, odd, strict=True)
    ]
    return _TIMES.format(
        table=table, id=id, account=account, problems=", ".join(problems),
        conditions=" OR ".join(odd),
    )  # fmt: skip
