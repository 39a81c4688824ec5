"""`billing roles`: make and check the database roles and their rights."""

from typing import Any

import click

from cli.screen import console, dry_run_option, in_json, json_option, show_list, wants_json
from cli.topic import Topic
from worker.roles import apply, catalog, check, grants
from worker.roles.rights import Part


@click.group(cls=Topic)
def roles() -> None:
    """Make and check the database roles: owner, workers, apps and readers."""


@roles.command("list")
@json_option
def list_roles() -> None:
    """List the owner and all roles that were given a part, with what they lack or have besides."""
    _facts()


@roles.command("check")
@json_option
def check_roles() -> None:
    """Check the rights of every role; exit 1 if one lacks a right or has too many."""
    if any(fact.level == "problem" for fact in _facts()):
        raise SystemExit(1)


def _facts() -> list[check.RoleFact]:
    with apply.server().connect() as connection:
        facts = check.check(connection)
    plain = [fact._asdict() for fact in facts]
    show_list(plain, "roles", "role, part, level, result: what", facts)
    return facts


@roles.command("apply")
@click.option("--worker", multiple=True, metavar="ROLE", help="A role that a worker logs in as.")
@click.option("--app", multiple=True, metavar="ROLE", help="A role of the main app.")
@click.option("--read-only", multiple=True, metavar="ROLE", help="A role that only reads.")
@click.option("--create", is_flag=True, help="Create roles that are missing, without a password.")
@dry_run_option("Only print the statements.")
@json_option
def apply_rights(dry_run: bool, create: bool, **names: Any) -> None:
    """Hand the schema to its owner, and give each ROLE the rights of its part, no others.

    Roles that were given a part before are renewed. Safe to repeat.
    """
    parts: dict[str, Part] = {
        name: part for part in ("worker", "app", "read_only") for name in names[part]
    }
    created = _find_or_create(parts, create=create, dry_run=dry_run)
    known = {name: part for name, part in parts.items() if not (dry_run and name in created)}
    outcome = apply.apply(known, dry_run=dry_run)
    statements = [f"CREATE ROLE {grants.quoted(name)} LOGIN" for name in created] + outcome.done
    in_json({"statements": statements, "problems": outcome.problems, "dry_run": dry_run})
    if not wants_json():
        _print(statements)
        for name in created:
            console.print(f"{name} has no password yet: set one with \\password in psql.")
    if outcome.problems:
        raise click.ClickException(" ".join(outcome.problems))


def _find_or_create(names: dict[str, Part], *, create: bool, dry_run: bool) -> list[str]:
    """Return the roles that were missing; a role that stays missing is an error."""
    with apply.server().connect() as connection:
        missing = [name for name in names if catalog.role(connection, name) is None]
        if missing and not create:
            raise click.ClickException(unknown(missing[0]))
        for name in missing if not dry_run else []:
            connection.exec_driver_sql(f"CREATE ROLE {grants.quoted(name)} LOGIN")
        connection.commit()
    return missing


def unknown(name: str) -> str:
    """Say that a role does not exist."""
    return f"There is no role {name!r} on this server: nothing was changed."


def _print(statements: list[str]) -> None:
    for statement in statements:
        click.echo(statement)
    if not statements:
        click.echo("All roles have their rights already.")
