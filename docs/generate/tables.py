"""Tables of the main app and of ours, from the models; the app's rights, from `allow-app`."""

import re
from typing import Any

from sqlalchemy import Column
from sqlalchemy.dialects import postgresql

from cli import allow_app
from docs.generate.markdown import code, prose, table
from models import SCHEMA, Base
from models.host import HOST_TABLES

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


def app_rights() -> str:
    """List the rights that `billing allow-app ROLE` gives."""
    return table("right | on", [_right(grant) for grant in allow_app.GRANTS])


def _right(grant: str) -> tuple[str, str]:
    statement = grant.format(role="app").replace(" bigint", "").replace(", ", ",")
    match = re.match(r"GRANT (.+?) ON (SCHEMA |FUNCTION )?([\w.]+)", statement)
    assert match is not None
    right, kind, name = match.groups()
    return code(right.replace(",", ", ")), f"{(kind or '').lower()}{code(name)}"
