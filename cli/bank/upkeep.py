"""`billing statements switch`, `remove-account`, `files`, `reread`, `file-seen`."""

import datetime as dt

import click

from billing.bank.intake import accounts as bank_accounts
from billing.bank.intake import files
from billing.bank.intake.accounts import LoneLine
from billing.errors import Rejected
from billing.statements.plain import shown_amount
from cli.bank.line_ends import show_line_ends
from cli.screen import console, json_option, operator, show_json, table
from flows.bank import import_file as import_file_flow
from flows.bank import match as bank_match
from worker.database import rehearsal, transaction

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show what would happen; change nothing."
)
currency_option = click.option("--currency", required=True, help="ISO 4217, such as EUR.")
#: Files that a list shows.
SHOWN = 100


@click.command()
@click.argument("number")
@currency_option
@click.option("--format", "to_format", required=True, type=click.Choice(bank_accounts.FORMATS))
@click.option(
    "--from", "from_day", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The first day."
)
@click.option("--new-number", help="The account's number in the new format, if it is another.")
@dry_run_option
@json_option
def switch(
    *,
    number: str,
    new_number: str | None,
    currency: str,
    to_format: str,
    from_day: dt.datetime,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let account NUMBER recognise money in another format, from a booking day on.

    Shows the lines near the day that only one of both formats has. Repeated, it only shows them.
    """
    day = from_day.date()
    try:
        with rehearsal() if dry_run else transaction() as ctx:
            lone = bank_accounts.switch(
                ctx.by(operator()),
                number,
                currency=currency,
                to_format=to_format,
                from_day=day,
                new_number=new_number,
            )
    except Rejected as error:
        raise click.ClickException(f"{error.name}: {error}") from None
    if as_json:
        show_json({"dry_run": dry_run, "from": day, "format": to_format, "lone_lines": lone})
        return
    done = "would be recognised" if dry_run else "is recognised"
    console.print(f"from {day} on, money {done} in {to_format}")
    _show_lone(lone)


def _show_lone(lone: list[LoneLine]) -> None:
    if lone:
        table(
            "lines that only one of both formats has",
            ("format", "booked", "amount", "counts"),
            [
                (
                    line.format,
                    str(line.booking_date),
                    shown_amount(line.amount_minor, line.currency),
                    "yes" if line.counts else "no: it pays nothing",
                )
                for line in lone
            ],
        )


@click.command("remove-account")
@click.argument("number")
@currency_option
@dry_run_option
@json_option
def remove_account(number: str, currency: str, dry_run: bool, as_json: bool) -> None:
    """Remove account NUMBER, registered by mistake; refused if transfers came to it.

    Its stored lines stay, and pay nothing until the account is registered again.
    """
    try:
        with rehearsal() if dry_run else transaction() as ctx:
            lines = bank_accounts.remove(ctx.by(operator()), number, currency=currency)
    except Rejected as error:
        raise click.ClickException(f"{error.name}: {error}") from None
    if as_json:
        show_json({"dry_run": dry_run, "removed": number, "currency": currency, "lines": lines})
        return
    done = "would be removed" if dry_run else "removed"
    console.print(f"{number} in {currency} {done}; {lines} stored lines pay nothing now")


@click.command("files")
@click.option("--refused", "only_refused", is_flag=True, help="Only refused ones, not yet seen.")
@json_option
def list_files(only_refused: bool, as_json: bool) -> None:
    """List the received files, newest first, with the reasons of refusals."""
    with transaction() as ctx:
        rows = files.listed(ctx.session, only_refused=only_refused, limit=SHOWN)
    shown = [
        {
            "id": row.id,
            "name": row.name,
            "state": row.state,
            "received_at": row.received_at,
            "account": row.account,
            "error": row.error,
            "reason": row.reason,
            "seen_by": row.seen_by,
        }
        for row in rows
    ]
    if as_json:
        show_json({"files": shown})
        return
    table(
        "files",
        ("id", "name", "state", "received", "why"),
        [
            (
                row.id,
                row.name,
                row.state,
                row.received_at,
                row.error and f"{row.error}: {row.reason}",
            )
            for row in rows
        ],
    )


@click.command()
@click.argument("file", type=int)
@click.option("--account", help="The account's number, if the file does not name it.")
@json_option
def reread(file: int, account: str | None, as_json: bool) -> None:
    """Read the stored FILE (its id) again: a refused one, or now with its account or currency.

    Then the new transfers are matched.
    """
    try:
        outcome = import_file_flow.reread_file(file, account=account)
    except Rejected as error:
        raise click.ClickException(f"{error.name}: {error}") from None
    bank_match.run()
    outcome = import_file_flow.with_ends(outcome)
    if as_json:
        show_json({"result": outcome})
    else:
        why = outcome.reason or "; ".join(outcome.held)
        console.print(f"file {file}: {outcome.outcome}" + (f": {why}" if why else ""))
        show_line_ends("its lines", outcome.ends)
    if outcome.outcome == "refused":
        raise SystemExit(1)


@click.command("file-seen")
@click.argument("file", type=int)
@click.option("--because", required=True, help="Kept with the file.")
def file_seen(file: int, because: str) -> None:
    """Take the refused FILE (its id) off the list; it stays stored."""
    try:
        with transaction() as ctx:
            files.mark_seen(ctx.by(operator()), file, because=because)
    except Rejected as error:
        raise click.ClickException(f"{error.name}: {error}") from None
    console.print(f"file {file}: seen")
