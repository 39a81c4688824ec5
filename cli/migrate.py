"""`billing migrate`: bring the database to the schema of this version."""

import click

from worker import schema
from worker.database import engine


@click.command()
@click.option("--to", default="head", show_default=True, help="The revision to migrate to.")
def migrate(to: str) -> None:
    """Create or upgrade our tables. Safe to repeat; changes no row of the main app.

    A database that a newer version has migrated stays as it is.
    """
    with engine().connect() as connection:
        if schema.is_newer(connection):
            sentence = schema.newer_sentence(connection)
            if not schema.may_run(connection):
                raise SystemExit(sentence)
            click.echo(sentence)
            return
    for problem in schema.upgrade(to):
        click.echo(f"warning: {problem}", err=True)
    click.echo("the database is at the schema of this version")
