"""`billing allow-app`: the app's part of `billing roles apply`, for one role."""

import click

from cli.roles import unknown
from worker.roles import apply, catalog


@click.command("allow-app")
@click.argument("role")
@click.option("--dry-run", is_flag=True, help="Only print the statements.")
def allow_app(role: str, dry_run: bool) -> None:
    """Let the main app's database ROLE write to the inbox, leave bank files and place holds.

    The same as `billing roles apply --app ROLE`, for this role alone. Safe to repeat.
    """
    with apply.server().connect() as connection:
        found = catalog.role(connection, role)
    if found is None:
        raise click.ClickException(unknown(role))
    if found.is_superuser or found.is_owner:
        click.echo(f"{role} may do everything in the schema already: it needs no rights.")
        return
    outcome = apply.give(role, "app", dry_run=dry_run)
    for statement in outcome.done:
        click.echo(statement)
    if outcome.problems:
        raise click.ClickException(" ".join(outcome.problems))
