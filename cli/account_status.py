"""`billing accounts suspend`, `reactivate` and `cancel`: a person's changes of status."""

from collections.abc import Callable

import click

from billing.context import Context
from billing.errors import UnknownAccount
from billing.host import accounts
from billing.lifecycle import reviewers, status
from cli.screen import console, in_json, json_option, operator
from worker.database import rehearsal, transaction

dry_run_option = click.option("--dry-run", is_flag=True, help="Show the change, and make none.")


@click.command()
@click.argument("account")
@dry_run_option
@json_option
def suspend(account: str, dry_run: bool) -> None:
    """Suspend ACCOUNT (id or slug) by hand: no payment and no sweep lifts it."""
    _change(account, reviewers.suspend, dry_run=dry_run)


@click.command()
@click.argument("account")
@dry_run_option
@json_option
def reactivate(account: str, dry_run: bool) -> None:
    """Lift every suspension of ACCOUNT (id or slug), or activate it."""
    _change(account, reviewers.reactivate, dry_run=dry_run)


@click.command()
@click.argument("account")
@dry_run_option
@json_option
def cancel(account: str, dry_run: bool) -> None:
    """Cancel ACCOUNT (id or slug): its trial and its monthly credits end."""
    _change(account, reviewers.cancel, dry_run=dry_run)


def _change(id_or_slug: str, act: Callable[[Context, int], bool], *, dry_run: bool) -> None:
    with rehearsal() if dry_run else transaction() as ctx:
        account = accounts.read(ctx.session, id_or_slug)
        if account is None:
            raise UnknownAccount(account_id=id_or_slug)
        has_changed = act(ctx.by(operator()), account.id)
        after = accounts.lock(ctx.session, [account.id])[account.id].status
        reasons = status.suspension_reasons(ctx.session, account.id)
    outcome = {"status_before": account.status, "status": after, "reasons": reasons}
    if in_json({"account_id": account.id, "has_changed": has_changed, **outcome}):
        return
    verb = "would go" if dry_run else "went"
    shown = f"{after} ({', '.join(reasons)})" if reasons else after
    sentence = f"{verb} from {account.status} to {shown}" if has_changed else f"is {shown} already"
    console.print(f"{id_or_slug}: {sentence}")
