"""`billing accounts`: an account as support sees it, and changes of its status."""

import datetime as dt

import click

from billing.postgres import tolerant
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
    with transaction() as ctx, tolerant.reading(ctx.session):
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
    for sentence in account.unreadable:
        console.print(sentence, style="red", markup=False)
    if account.refusals:
        columns = "recorded: recorded_at, operation, units, reason, key"
        table(f"last {len(account.refusals)} refusals", columns, account.refusals)


@accounts.command()
@click.argument("account")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=explain_account.AT_ONCE,
    show_default=True,
    help="The most entries and refusals of a page.",
)
@click.option("--before", help="Show the page before this CURSOR, which the later page gives.")
@click.option("--since", type=click.DateTime(), help="Show nothing before this time, in UTC.")
@json_option
def explain(account: str, limit: int, before: str | None, since: dt.datetime | None) -> None:
    """Explain the balance of ACCOUNT (id or slug), with the money behind its credits."""
    cursor = _cursor(before) if before else explain_account.Cursor()
    since = since and since.replace(tzinfo=dt.UTC)
    with transaction() as ctx, tolerant.reading(ctx.session):
        history = explain_account.of(ctx, account, limit=limit, before=cursor, since=since)
        money = explain_account.money(ctx, account)
    shown = {"lines": history.lines, "money": money, "now": history.now, "next": history.next}
    if in_json(shown):
        return
    change = {"change": lambda line: f"{line.change:+,}" if line.count else None}
    title = f"how the balance of {account} came about"
    table(title, "when, what, change, balance", history.lines, change)
    if history.next:
        console.print(f"earlier: billing accounts explain {account} --before {history.next}")
    if money:
        table("money behind the credits", MONEY, money)
    for sentence in history.now:
        console.print(sentence, markup=False)


def _cursor(text: str) -> explain_account.Cursor:
    try:
        return explain_account.cursor_of(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no cursor.", param_hint="--before") from None
