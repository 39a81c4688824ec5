"""The owner of the schema: a role without log-in, which the role that migrates is a member of."""

import sqlalchemy as sa

from models import SCHEMA
from worker.roles import catalog
from worker.roles.grants import quoted
from worker.settings import settings

_OBJECTS = """
SELECT 'SCHEMA', quote_ident(n.nspname) FROM pg_namespace AS n
WHERE n.nspname = :schema AND n.nspowner <> to_regrole(:owner)::oid
UNION ALL
-- A sequence of a column follows its table.
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
       c.oid::regclass::text
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace(:schema) AND c.relkind IN ('r', 'p', 'v', 'S')
  AND c.relowner <> to_regrole(:owner)::oid
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')
                  AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                  AND c.relkind = 'S')
UNION ALL
SELECT 'FUNCTION', f.oid::regprocedure::text FROM pg_proc AS f
WHERE f.pronamespace = to_regnamespace(:schema) AND f.proowner <> to_regrole(:owner)::oid
"""
_IS_MEMBER = """
SELECT r.rolsuper OR pg_has_role(current_user, :owner, 'USAGE')
FROM pg_roles AS r WHERE r.rolname = current_user
"""


def name() -> str:
    """Return the name of the role that owns the schema."""
    return settings().owner_role


def creation(connection: sa.Connection) -> list[str]:
    """List the statements that make the role, and the role that migrates a member of it."""
    owner = name()
    lines = []
    if catalog.role(connection, owner) is None:
        lines.append(f"CREATE ROLE {quoted(owner)} NOLOGIN")
        is_superuser = connection.execute(
            sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        ).scalar_one()
        is_member = is_superuser
    else:
        is_member = connection.execute(sa.text(_IS_MEMBER), {"owner": owner}).scalar_one()
    if not is_member:
        user = connection.execute(sa.text("SELECT current_user")).scalar_one()
        version = connection.dialect.server_version_info or (0,)
        options = " WITH INHERIT TRUE, SET TRUE" if int(version[0]) >= 16 else ""
        lines.append(f"GRANT {quoted(owner)} TO {quoted(user)}{options}")
    return lines


def handover(connection: sa.Connection) -> list[str]:
    """List the statements that give the schema and all in it to the owner; the role exists."""
    values = {"schema": SCHEMA, "owner": quoted(name())}
    rows = connection.execute(sa.text(_OBJECTS), values).all()
    return [f"ALTER {kind} {on} OWNER TO {quoted(name())}" for kind, on in rows]


def of_schema(connection: sa.Connection) -> tuple[str, bool, bool] | None:
    """Return who owns the schema, whether it is a superuser, and whether it may log in."""
    row = connection.execute(
        sa.text(
            "SELECT r.rolname, r.rolsuper, r.rolcanlogin FROM pg_namespace AS n"
            " JOIN pg_roles AS r ON r.oid = n.nspowner WHERE n.nspname = :schema"
        ),
        {"schema": SCHEMA},
    ).one_or_none()
    return tuple(row) if row else None
