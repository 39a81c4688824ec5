"""Tables of the main app and of ours, from the models; the rights of roles, from their data."""

from typing import Any

from sqlalchemy import Column
from sqlalchemy.dialects import postgresql

from docs.generate.markdown import code, prose, table
from models import SCHEMA, Base
from models.host import HOST_TABLES
from worker.roles.rights import DEFINERS, EVERY, NOT_READ, ONLY_ADDED, ONLY_READ, RIGHTS, Part

_POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]


def host_block() -> str:
    """The main app's tables as we need them, with the origin of each column."""
    return "\n\n".join(_host(model) for model in HOST_TABLES)


def _host(model: Any) -> str:
    columns = [[*_facts(column), column.info["origin"]] for column in model.__table__.columns]
    heading = f"### {model.__name__}: `{model.__table__.name}`"
    return "\n\n".join([heading, prose(model), table("column | type | null | origin", columns)])


def our_block() -> str:
    """Our own tables, in the schema `billing`."""
    ours = [m.class_ for m in Base.registry.mappers if m.class_.__table__.schema == SCHEMA]
    return "\n\n".join(_our(model) for model in sorted(ours, key=lambda m: m.__table__.name))


def _our(model: Any) -> str:
    columns = [_facts(column) for column in model.__table__.columns]
    heading = f"### `{SCHEMA}.{model.__table__.name}`"
    return "\n\n".join([heading, prose(model), table("column | type | null", columns)])


def _facts(column: Column[Any]) -> list[str]:
    kind = (
        str(column.type.compile(_POSTGRES))
        .lower()
        .replace("timestamp with time zone", "timestamptz")
    )
    return [code(column.name), kind, "yes" if column.nullable else "no"]


_HEADINGS: dict[Part, str] = {
    "owner": "Owner: `billing_owner`, on the main app's tables",
    "worker": "Worker",
    "app": "App",
    "read_only": "Reader",
}


def app_rights() -> str:
    """List the rights that `billing allow-app ROLE` gives."""
    return _rights("app")


def role_rights() -> str:
    """List the rights of every part."""
    blocks = [f"### {heading}\n\n{_rights(part)}" for part, heading in _HEADINGS.items()]
    return "\n\n".join(blocks)


def _rights(part: Part) -> str:
    """List the rights of a part, one line for each object."""
    by_object: dict[str, list[str]] = {}
    for right in RIGHTS[part]:
        columns = f" ({', '.join(right.columns)})" if right.columns else ""
        by_object.setdefault(_object(part, right.kind, right.on), []).append(
            code(right.privilege + columns)
        )
    return table("right | on", [(", ".join(rights), on) for on, rights in by_object.items()])


def _object(part: Part, kind: str, on: str) -> str:
    if on != EVERY:
        return code(on) if kind == "TABLE" else f"{kind.lower()} {code(on)}"
    if kind != "TABLE":
        return f"every {kind.lower()} of the schema"
    if part == "read_only":
        return f"every table and view of the schema, but {_names(NOT_READ)}"
    return (
        f"every table and view of the schema; {_names(ONLY_READ)} are only read, and rows of"
        f" {_names(ONLY_ADDED)} are only added"
    )


def _names(names: frozenset[str]) -> str:
    return ", ".join(code(name) for name in sorted(names))


def definers() -> str:
    """List the functions that run with more rights than their caller."""
    rows = [
        (code(name), what, code("billing_owner"), callers, code("pg_catalog, billing, pg_temp"))
        for name, (what, callers) in DEFINERS.items()
    ]
    return table("function | what it does | owner | may be called by | search path", rows)
