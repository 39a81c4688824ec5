"""The check of all roles: what each lacks for its part, and what it may do besides."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import sqlalchemy as sa

from worker.roles import catalog, grants, owner
from worker.roles.catalog import Grant
from worker.roles.rights import Part


class RoleFact(NamedTuple):
    """One result about a role; a problem is to be mended, a note is to be known."""

    role: str
    part: str
    level: Literal["ok", "note", "problem"]
    what: str


def check(connection: sa.Connection) -> list[RoleFact]:
    """Check the owner of the schema, and each role that was given a part."""
    facts = list(_owner(connection))
    for name, part in grants.registered(connection).items():
        facts += _role(connection, name, part)
    return facts


def _owner(connection: sa.Connection) -> Iterable[RoleFact]:
    present = owner.of_schema(connection)
    if present is None:
        yield RoleFact("-", "owner", "problem", "There is no schema yet: run `billing migrate`.")
        return
    name, is_superuser, may_log_in = present
    problems = [
        *(["It is a superuser."] if is_superuser else []),
        *(["It may log in."] if may_log_in else []),
    ]
    if problems:
        words = f"{' '.join(problems)} Run `billing roles apply`."
        yield RoleFact(name, "owner", "problem", words)
        return
    yield from _facts(name, "owner", catalog.missing(connection, name, "owner"), [])
    strangers = owner.handover(connection) if name == owner.name() else []
    if strangers:
        words = f"{len(strangers)} objects are not its own. Run `billing roles apply`."
        yield RoleFact(name, "owner", "problem", words)


def _role(connection: sa.Connection, name: str, part: Part) -> Iterable[RoleFact]:
    role = catalog.role(connection, name)
    if role is None:
        return
    if role.is_superuser or role.is_owner:
        kind = "a superuser" if role.is_superuser else "a member of the owner"
        words = f"It is {kind}, and may do everything in the schema."
        yield RoleFact(name, part, "problem" if part != "worker" else "note", words)
        return
    lacks = catalog.missing(connection, name, part)
    yield from _facts(name, part, lacks, catalog.surplus(connection, name, part))


def _facts(
    name: str, part: Part, lacks: Iterable[Grant], more: Iterable[Grant]
) -> Iterable[RoleFact]:
    words = [f"It may not {right}." for right in described(lacks)]
    words += [f"It may {right}, which its part does not need." for right in described(more)]
    if not words:
        yield RoleFact(name, part, "ok", "It has the rights of its part, and no others.")
    for sentence in words:
        yield RoleFact(name, part, "problem", sentence)


def described(rights: Iterable[Grant]) -> list[str]:
    """Describe rights in a few words, one line for each object."""
    by_object: dict[str, dict[str, list[str]]] = {}
    for right in rights:
        by_object.setdefault(right.on, {}).setdefault(right.privilege, []).append(right.column)
    return [
        f"{', '.join(grants.with_columns(*item) for item in privileges.items())} on {on}"
        for on, privileges in by_object.items()
    ]
