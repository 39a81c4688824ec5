"""Making the roles' rights true: the owner first, then each role that was given a part."""

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from worker.roles import catalog, grants, owner
from worker.roles.rights import Part
from worker.settings import settings


class Outcome(NamedTuple):
    """The statements that were run, and the sentences about what could not be done."""

    done: list[str]
    problems: list[str]


def server() -> sa.Engine:
    """Return an engine outside of the worker's pool, with the time limits of a migration."""
    return sa.create_engine(
        settings().database_url,
        poolclass=NullPool,
        connect_args={
            "options": "-csearch_path=pg_catalog"
            f" -clock_timeout={settings().migration_lock_timeout_s}s"
        },
    )


def apply(parts: Mapping[str, Part], *, dry_run: bool = False) -> Outcome:
    """Hand the schema to its owner, and renew the rights of all roles, these included.

    Args:
        parts: Roles that exist, each with the part to give it.
        dry_run: Only list the statements.
    """
    # All at once: a worker that owned the tables would have no rights between two commits.
    with server().connect() as connection:
        done, problems = _hand_over(connection, dry_run=dry_run)
        all_parts: dict[str, Part] = {**grants.registered(connection), **parts}
        if catalog.role(connection, owner.name()) is not None and not problems:
            all_parts[owner.name()] = "owner"
        for name, part in all_parts.items():
            more, refused = grants.give(connection, name, part)
            done += more
            problems += [_for_dba(name, refused)] if refused else []
        if not dry_run:
            connection.commit()
    return Outcome(done, problems)


def give(name: str, part: Part, *, dry_run: bool = False) -> Outcome:
    """Give one role the rights of its part, in one transaction, so that nothing fails meanwhile."""
    with server().connect() as connection:
        done, refused = grants.give(connection, name, part)
        if not dry_run:
            connection.commit()
    return Outcome(done, [_for_dba(name, refused)] if refused else [])


def _hand_over(connection: sa.Connection, *, dry_run: bool) -> tuple[list[str], list[str]]:
    """Make the owner's role and give it the schema; a dry run takes no lock."""
    creation = owner.creation(connection)
    if dry_run:
        exists = catalog.role(connection, owner.name()) is not None
        return creation + (owner.handover(connection) if exists else []), []
    done: list[str] = []
    try:
        with connection.begin_nested():
            for statements in (lambda _: creation, owner.handover):
                for line in statements(connection):
                    connection.exec_driver_sql(line)
                    done.append(line)
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        return [], [_no_owner(connection, reason, creation)]
    return done, []


def _no_owner(connection: sa.Connection, reason: str, creation: list[str]) -> str:
    present = owner.of_schema(connection)
    sql = "; ".join(creation)
    return (
        f"The schema is owned by {present[0] if present else 'nobody'} and not by"
        f" {owner.name()}: {reason}."
        + (f" Let a role with more rights run: {sql};" if sql else "")
        + " Then run `billing roles apply`."
    )


def _for_dba(name: str, refused: list[str]) -> str:
    return (
        f"{name} lacks rights that you may not give. Let the owner of the tables run: "
        + "; ".join(refused)
        + ";"
    )
