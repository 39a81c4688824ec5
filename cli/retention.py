"""`billing retention`: deleted accounts whose time to be restored is over."""

import click

from billing import closing as retention_act
from cli.screen import console, json_option, show_json, table
from worker.database import transaction

#: Accounts that a list shows unless told otherwise.
AT_ONCE = 100


@click.group()
def retention() -> None:
    """List deleted accounts whose time is over, and close them for good."""


@retention.command("list")
@click.option("--limit", default=AT_ONCE, show_default=True)
@json_option
def list_accounts(limit: int, as_json: bool) -> None:
    """List those that are not closed yet, the longest overdue first."""
    with transaction() as ctx:
        found = retention_act.listed(ctx, limit=limit)
    if as_json:
        show_json([one._asdict() for one in found])
        return
    columns = ("account", "slug", "deleted", "could be restored until")
    table("deleted, and not closed", columns, [tuple(one) for one in found])


@retention.command()
@click.argument("account_ids", type=int, nargs=-1, required=True)
def close(account_ids: tuple[int, ...]) -> None:
    """Close these accounts: ask the main app to end what bills them, blank what names a person."""
    with transaction() as ctx:
        swept = retention_act.close(ctx, account_ids)
    console.print(f"{len(swept)} closed")
