"""Giving a role the rights of its part, and taking back those that it must not have."""

from collections.abc import Iterable
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from models import SCHEMA
from worker.roles import catalog
from worker.roles.catalog import Grant
from worker.roles.rights import Part

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


class Applied(NamedTuple):
    """The statements that were run, and those that only somebody with more rights can run."""

    done: list[str]
    refused: list[str]


def give(connection: sa.Connection, role_name: str, part: Part) -> Applied:
    """Give a role exactly what its part needs, in the open transaction. Safe to repeat.

    Rights to read more are left to it; `billing roles --check` reports them.
    """
    role = catalog.role(connection, role_name)
    assert role is not None, "the caller has looked the role up"
    done: list[str] = []
    if part != "owner":
        _register(connection, role_name, part)
        if not role.is_superuser and not role.is_owner:
            more = catalog.surplus(connection, role_name, part)
            written = [grant for grant in more if grant.privilege != "SELECT"]
            done += _run(connection, statements("REVOKE", written, "FROM", role_name))
    missing = catalog.missing(connection, role_name, part)
    done += _run(connection, statements("GRANT", missing, "TO", role_name))
    still_missing = catalog.missing(connection, role_name, part)
    return Applied(done, statements("GRANT", still_missing, "TO", role_name))


_REGISTER = """
INSERT INTO billing.allowed_roles (name, part) VALUES (:name, :part)
ON CONFLICT (name) DO UPDATE SET part = excluded.part WHERE allowed_roles.part <> excluded.part
"""


def _register(connection: sa.Connection, role_name: str, part: Part) -> None:
    """Keep whose rights the next migration has to renew."""
    connection.execute(sa.text(_REGISTER), {"name": role_name, "part": part})


def registered(connection: sa.Connection) -> dict[str, Part]:
    """Read the roles that were given a part, and that still exist."""
    table = sa.text(f"SELECT to_regclass('{SCHEMA}.allowed_roles')")
    if connection.execute(table).scalar() is None:
        return {}
    rows = connection.execute(
        sa.text(
            "SELECT a.name, a.part FROM billing.allowed_roles AS a"
            " JOIN pg_roles AS r ON r.rolname = a.name ORDER BY a.name"
        )
    )
    return {name: part for name, part in rows}  # noqa: C416 - Row is no pair to mypy


def statements(verb: str, grants: Iterable[Grant], to: str, role_name: str) -> list[str]:
    """Write the GRANT or REVOKE statements, one for each object."""
    by_object: dict[tuple[str, str], dict[str, list[str]]] = {}
    for grant in grants:
        privileges = by_object.setdefault((grant.kind, grant.on), {})
        privileges.setdefault(grant.privilege, []).append(grant.column)
    return [
        f"{verb} {', '.join(with_columns(*item) for item in privileges.items())}"
        f" ON {kind} {on} {to} {quoted(role_name)}"
        for (kind, on), privileges in by_object.items()
    ]


def with_columns(privilege: str, columns: list[str]) -> str:
    """Write a privilege with its columns, as GRANT has it."""
    return privilege if columns == [""] else f"{privilege} ({', '.join(columns)})"


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return _DIALECT.identifier_preparer.quote(name)


def _run(connection: sa.Connection, lines: Iterable[str]) -> list[str]:
    """Run these statements; return those that Postgres took."""
    done = []
    for line in lines:
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(line)
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != "42501":  # insufficient_privilege
                raise
        else:
            done.append(line)
    return done
