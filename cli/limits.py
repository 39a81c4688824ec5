"""`billing limits`: accounts above the limits of their plan."""

import click
from sqlalchemy import text

from cli.screen import in_json, json_option, limit_option, table
from worker.database import transaction


@click.command()
@limit_option("The most rows to list.", default=1000)
@json_option
def limits(limit: int) -> None:
    """List accounts with more sites, sites with sectors, or users than their plan allows."""
    query = "SELECT * FROM billing.plan_limits_exceeded ORDER BY account_id, what LIMIT :limit"
    with transaction() as ctx:
        rows = ctx.session.execute(text(query), {"limit": limit}).all()
    if not in_json([row._asdict() for row in rows]):
        table("above the plan's limits", ("account", "what", "used", "allowed"), rows)
