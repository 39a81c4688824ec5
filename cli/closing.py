"""`billing closing`: deleted accounts that can't be restored any more."""

import click

from billing import closing as accounts_closing
from cli.screen import console, in_json, json_option, limit_option, table
from cli.topic import Topic
from worker.database import transaction


@click.group(cls=Topic)
def closing() -> None:
    """List deleted accounts that can't be restored any more, and close them for good."""


@closing.command("list")
@limit_option("The most accounts to list.")
@json_option
def list_accounts(limit: int) -> None:
    """List deleted accounts that are not closed yet, the longest overdue first."""
    with transaction() as ctx:
        accounts = accounts_closing.listed(ctx, limit=limit)
    if not in_json([account._asdict() for account in accounts]):
        columns = ("account", "slug", "deleted", "could be restored until")
        table("deleted, and not closed", columns, accounts)


@closing.command()
@click.argument("account_ids", type=int, nargs=-1, required=True)
def close(account_ids: tuple[int, ...]) -> None:
    """Close accounts: ask the main app to cancel their billing, and erase personal data."""
    with transaction() as ctx:
        closed = accounts_closing.close(ctx, account_ids)
    console.print(f"{len(closed)} closed")
