"""`billing accounts`: an account as support sees it, and changes of its status."""

import click

from billing.support import explain as explain_account
from billing.support import overview
from cli import account_status
from cli.screen import console, json_option, show_json, table
from cli.topic import Topic
from worker.database import transaction


@click.group(cls=Topic)
def accounts() -> None:
    """Show an account, explain its balance, or change its status."""


for command in (account_status.suspend, account_status.reactivate, account_status.cancel):
    accounts.add_command(command)


@accounts.command()
@click.argument("account")
@click.option("--last", default=overview.SHOWN, show_default=True, help="The most entries to show.")
@json_option
def show(account: str, last: int, as_json: bool) -> None:
    """Show ACCOUNT (id or slug): balance, lots, holds, last entries and refusals."""
    with transaction() as ctx:
        account_view = overview.of(ctx, account, last=last)
    if as_json:
        show_json(account_view)
    else:
        _show(account_view)


def _show(account: overview.Overview) -> None:
    reasons = f" ({', '.join(account.suspension_reasons)})" if account.suspension_reasons else ""
    console.print(f"account {account.account_id}  {account.slug}  {account.status}{reasons}")
    console.print(
        f"credits {account.credits:,}   held {account.held:,}   debt {account.debt:,}"
        f"   available {account.available:,}"
    )
    if account.app_credits != account.credits:
        drift = account.app_credits - account.credits
        console.print(
            f"DRIFT: the main app shows {account.app_credits:,} ({drift:+,})", style="red"
        )
    if not account.is_adopted:
        console.print("not adopted yet: its first debit, grant or signup grant opens its balance")
    table(
        "lots, in the order they burn",
        ("lot", "source", "remaining", "held", "starts", "expires"),
        [
            (lot.id, lot.source, lot.remaining, lot.held, lot.starts_at, lot.expires_at)
            for lot in account.lots
        ],
    )
    if account.holds:
        table(
            "holds under way",
            ("operation", "units", "credits", "placed", "until", "key"),
            [
                (h.operation, h.units, h.credits, h.placed_at, h.expires_at, h.key_text)
                for h in account.holds
            ],
        )
    table(
        f"last {len(account.entries)} entries",
        ("entry", "recorded", "what", "amount", "balance", "key"),
        [
            (e.id, e.recorded_at, e.description, e.amount, e.balance_after, e.key)
            for e in account.entries
        ],
    )
    if account.refusals:
        table(
            f"last {len(account.refusals)} refusals",
            ("recorded", "operation", "units", "reason", "key"),
            [(r.recorded_at, r.operation, r.units, r.reason, r.key) for r in account.refusals],
        )


@accounts.command()
@click.argument("account")
@json_option
def explain(account: str, as_json: bool) -> None:
    """Explain the balance of ACCOUNT (id or slug), from its opening to now."""
    with transaction() as ctx:
        lines, summary = explain_account.of(ctx, account)
    if as_json:
        show_json({"lines": lines, "now": summary})
        return
    table(
        f"how the balance of {account} came about",
        ("when", "what", "change", "balance"),
        [
            (line.when, line.what, f"{line.change:+,}" if line.count else None, line.balance)
            for line in lines
        ],
    )
    for sentence in summary:
        console.print(sentence)
