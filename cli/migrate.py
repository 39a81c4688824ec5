"""`billing migrate`: bring the database to the schema of this version."""

import click

from worker import schema


@click.command()
@click.option("--to", default="head", show_default=True, help="The revision to go to.")
def migrate(to: str) -> None:
    """Create or complete the tables. Touches no row of the main app; safe to repeat."""
    schema.upgrade(to)
    click.echo("the database is at the schema of this version")
