"""`billing accounts`: an account as support sees it, and changes of its status."""

import click

from billing.support import explain as explain_account
from billing.support import overview
from cli import account_status
from cli.screen import console, in_json, json_option, table
from cli.topic import Topic
from worker.database import transaction

#: The columns of a purchase; amounts are in the payment's unit of the currency.
MONEY = (
    "payment, currency, price: price_minor, kept: kept_minor, returned: returned_minor,"
    " moved: moved_minor, in balance: parked_minor, given, taken back: taken_back, to come: to_come"
)


@click.group(cls=Topic)
def accounts() -> None:
    """Show an account, explain its balance, or change its status."""


for command in (account_status.suspend, account_status.reactivate, account_status.cancel):
    accounts.add_command(command)


@accounts.command()
@click.argument("account")
@click.option("--last", default=overview.SHOWN, show_default=True, help="The most entries to show.")
@json_option
def show(account: str, last: int) -> None:
    """Show ACCOUNT (id or slug): balance, lots, holds, last entries and refusals."""
    with transaction() as ctx:
        account_view = overview.of(ctx, account, last=last)
    if not in_json(account_view):
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
        "lot: id, source, remaining, held, starts: starts_at, expires: expires_at",
        account.lots,
    )
    if account.holds:
        columns = "operation, units, credits, placed: placed_at, until: expires_at, key: key_text"
        table("holds under way", columns, account.holds)
    table(
        f"last {len(account.entries)} entries",
        "entry: id, recorded: recorded_at, what: description, amount, balance: balance_after, key",
        account.entries,
    )
    if account.refusals:
        columns = "recorded: recorded_at, operation, units, reason, key"
        table(f"last {len(account.refusals)} refusals", columns, account.refusals)


@accounts.command()
@click.argument("account")
@json_option
def explain(account: str) -> None:
    """Explain the balance of ACCOUNT (id or slug), with the money behind its credits."""
    with transaction() as ctx:
        lines, summary = explain_account.of(ctx, account)
        money = explain_account.money(ctx, account)
    if in_json({"lines": lines, "money": money, "now": summary}):
        return
    change = {"change": lambda line: f"{line.change:+,}" if line.count else None}
    title = f"how the balance of {account} came about"
    table(title, "when, what, change, balance", lines, change)
    if money:
        table("money behind the credits", MONEY, money)
    for sentence in summary:
        console.print(sentence)
