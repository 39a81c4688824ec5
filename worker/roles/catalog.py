"""What Postgres knows of roles and rights: objects, what a role lacks, and what it has besides."""

from typing import NamedTuple

import sqlalchemy as sa

from models import SCHEMA
from worker.roles.rights import APP_MAY_READ, EVERY, RIGHTS, Kind, Part, is_for


class Grant(NamedTuple):
    """One right on one object that exists; `column` is empty if it is on the whole object."""

    privilege: str
    kind: Kind
    on: str
    column: str = ""


class Role(NamedTuple):
    """A role of the server."""

    is_superuser: bool
    may_log_in: bool
    is_owner: bool


_ROLE = """
SELECT r.rolsuper, r.rolcanlogin,
       EXISTS (SELECT FROM pg_namespace AS n WHERE n.nspname = :schema
               AND pg_has_role(r.oid, n.nspowner, 'USAGE'))
FROM pg_roles AS r WHERE r.rolname = :name
"""


def role(connection: sa.Connection, name: str) -> Role | None:
    """Read a role; None if there is none of this name."""
    row = connection.execute(sa.text(_ROLE), {"name": name, "schema": SCHEMA}).one_or_none()
    return Role(*row) if row else None


_RELATIONS = """
SELECT CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace(:schema) AND c.relkind IN ('r', 'p', 'v', 'S')
ORDER BY c.relname
"""
# Triggers need no right to fire.
_FUNCTIONS = """
SELECT n.nspname || '.' || f.proname || '(' || (
    SELECT COALESCE(string_agg(format_type(t.type, NULL), ',' ORDER BY t.place), '')
    FROM unnest(f.proargtypes) WITH ORDINALITY AS t (type, place)) || ')'
FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace
WHERE n.nspname = :schema AND f.prorettype <> 'trigger'::regtype ORDER BY 1
"""
_SEQUENCE_OF = "SELECT pg_get_serial_sequence(:table, :column)"


def needed(connection: sa.Connection, part: Part) -> list[Grant]:
    """List the rights of a part on the objects that this database has, in the order of the data."""
    values = {"schema": SCHEMA}
    relations = connection.execute(sa.text(_RELATIONS), values).all()
    functions = connection.execute(sa.text(_FUNCTIONS), values).scalars().all()
    grants: list[Grant] = []
    for right in RIGHTS[part]:
        if right.on == EVERY and right.kind == "FUNCTION":
            names = list(functions)
        elif right.on == EVERY:
            names = [
                f"{SCHEMA}.{name}"
                for kind, name in relations
                if kind == right.kind and is_for(part, right, name)
            ]
        elif right.kind == "SEQUENCE":
            table, _, column = right.on.rpartition(".")
            names = _sequences(connection, table, column)
        else:
            names = [right.on]
        for name in names:
            columns = right.columns or ("",)
            grants += [Grant(right.privilege, right.kind, name, column) for column in columns]
    return grants


def _sequences(connection: sa.Connection, table: str, column: str) -> list[str]:
    """The sequence of a column, if the table exists and numbers its rows by one."""
    if connection.execute(sa.text("SELECT to_regclass(:table)"), {"table": table}).scalar() is None:
        return []
    values = {"table": table, "column": column}
    name = connection.execute(sa.text(_SEQUENCE_OF), values).scalar()
    return [name] if name else []


_HAS = """
SELECT CASE g.kind
    WHEN 'SCHEMA' THEN has_schema_privilege(:role, to_regnamespace(g.object)::oid, g.privilege)
    WHEN 'SEQUENCE' THEN has_sequence_privilege(:role, to_regclass(g.object)::oid, g.privilege)
    WHEN 'FUNCTION' THEN
        has_function_privilege(:role, to_regprocedure(g.object)::oid, g.privilege)
    ELSE CASE
        WHEN g.field = ''
            THEN has_table_privilege(:role, to_regclass(g.object)::oid, g.privilege)
        ELSE (SELECT has_column_privilege(:role, a.attrelid, a.attnum, g.privilege)
              FROM pg_attribute AS a
              WHERE a.attrelid = to_regclass(g.object) AND a.attname = g.field)
    END
END
FROM unnest(CAST(:privileges AS text[]), CAST(:kinds AS text[]), CAST(:objects AS text[]),
            CAST(:columns AS text[])) WITH ORDINALITY
    AS g (privilege, kind, object, field, place)
ORDER BY g.place
"""


def missing(connection: sa.Connection, role_name: str, part: Part) -> list[Grant]:
    """List the rights that a role lacks for its part; objects that do not exist are left out."""
    grants = needed(connection, part)
    values = {
        "role": role_name,
        "privileges": [grant.privilege for grant in grants],
        "kinds": [grant.kind for grant in grants],
        "objects": [grant.on for grant in grants],
        "columns": [grant.column for grant in grants],
    }
    has = connection.execute(sa.text(_HAS), values).scalars().all()
    return [grant for grant, has_it in zip(grants, has, strict=True) if has_it is False]


_HELD = """
SELECT p.name, 'TABLE', n.nspname || '.' || c.relname, ''
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p (name)
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'v')
  AND has_table_privilege(:role, c.oid, p.name)
UNION ALL
SELECT p.name, 'TABLE', n.nspname || '.' || c.relname, a.attname
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
CROSS JOIN unnest('{SELECT,INSERT,UPDATE}'::text[]) AS p (name)
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'v')
  AND NOT has_table_privilege(:role, c.oid, p.name)
  AND has_column_privilege(:role, c.oid, a.attnum, p.name)
UNION ALL
SELECT p.name, 'SEQUENCE', n.nspname || '.' || c.relname, ''
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN unnest('{USAGE,UPDATE}'::text[]) AS p (name)
WHERE n.nspname = :schema AND c.relkind = 'S' AND has_sequence_privilege(:role, c.oid, p.name)
UNION ALL
SELECT 'EXECUTE', 'FUNCTION', n.nspname || '.' || f.proname || '(' || (
    SELECT COALESCE(string_agg(format_type(t.type, NULL), ',' ORDER BY t.place), '')
    FROM unnest(f.proargtypes) WITH ORDINALITY AS t (type, place)) || ')', ''
FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace
WHERE n.nspname = :schema AND has_function_privilege(:role, f.oid, 'EXECUTE')
UNION ALL
SELECT 'CREATE', 'SCHEMA', :schema, '' WHERE has_schema_privilege(:role, :schema, 'CREATE')
ORDER BY 2, 3, 1, 4
"""


def surplus(connection: sa.Connection, role_name: str, part: Part) -> list[Grant]:
    """List the rights in our schema that a role has and that its part does not need."""
    allowed = set(needed(connection, part))
    if part == "app":
        allowed |= {Grant("SELECT", "TABLE", f"{SCHEMA}.{table}") for table in APP_MAY_READ}
    values = {"role": role_name, "schema": SCHEMA}
    rows = connection.execute(sa.text(_HELD), values).all()
    return [grant for row in rows if (grant := Grant(*row)) not in allowed]
