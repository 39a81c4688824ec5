"""Repair of times that no program can read, such as the year 20000, as an audited act.

Before migration 0018 the main app could pass such a time to `billing.place_hold`. Each value is
replaced, and each repair is a row of `billing.repairs` with the value before.
"""

from dataclasses import dataclass

from sqlalchemy import insert, text

from billing.context import Context
from models.operations import Repair

#: What Python can read in any time zone: its times end with the year 9999.
READABLE = "BETWEEN '0002-01-01Z' AND '9998-12-31Z'"
_LEDGER = "public.igny8_credit_transactions"

#: Times of our tables and of the ledger, with the primary key. The first price counts for ever, so
#: its beginning is -infinity. Rows that are only added were written by the worker alone.
_COLUMNS = f"""
SELECT n.nspname || '.' || quote_ident(c.relname), a.attname, a.attnotnull,
       (SELECT string_agg(format('%I::text', k.attname), ' || '','' || ' ORDER BY k.attnum)
        FROM pg_index AS i JOIN pg_attribute AS k
          ON k.attrelid = c.oid AND k.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.atttypid = 'timestamptz'::regtype
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r'
  AND (n.nspname = 'billing' OR c.oid = '{_LEDGER}'::regclass
       AND a.attname IN ('created_at', 'happened_at'))
  AND c.relname NOT IN ('prices', 'allocations', 'transfer_decisions', 'unapplied_cash', 'repairs',
                        'host_changes')
ORDER BY 1, 2
"""  # noqa: S608 - our own names


@dataclass(frozen=True, slots=True)
class UnreadableTime:
    """A time that no program can read. `after`: the time that replaces it; None: no time."""

    table: str
    row: str
    column: str
    before: str
    after: str | None


def repair(ctx: Context) -> list[UnreadableTime]:
    """Replace every unreadable time: by now, or by none where none is allowed. Safe to repeat.

    A hold that would never have ended expires with the next sweep. An entry keeps its amount, its
    key and its place; only its times change, which the ledger's trigger allows for such an entry.
    """
    found: list[UnreadableTime] = []
    for table, column, is_required, row in ctx.session.execute(text(_COLUMNS)).all():
        after = ctx.now.isoformat() if is_required or table == _LEDGER else None
        condition = f"{column} IS NOT NULL AND NOT {column} {READABLE}"
        select = f"SELECT {row}, {column}::text FROM {table} WHERE {condition} ORDER BY 1"  # noqa: S608
        rows = ctx.session.execute(text(select)).all()
        found += [UnreadableTime(table, key, column, before, after) for key, before in rows]
        if rows:
            update = f"UPDATE {table} SET {column} = :after WHERE {condition}"  # noqa: S608
            ctx.session.execute(text(update), {"after": after})
    _record(ctx, found)
    return found


def _record(ctx: Context, found: list[UnreadableTime]) -> None:
    rows = [
        {
            "act": "unreadable_time",
            "subject": f"{time.table} {time.row}",
            "facts": {"column": time.column, "before": time.before, "after": time.after},
            "actor": ctx.actor,
            "recorded_at": ctx.now,
        }
        for time in found
    ]
    if rows:
        ctx.session.execute(insert(Repair), rows)
