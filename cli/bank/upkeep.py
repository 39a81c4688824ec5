"""`billing statements switch`, `remove-account`, `files`, `reread`, `file-seen`."""

import datetime as dt

import click

from billing.bank.intake import accounts as bank_accounts
from billing.bank.intake import files
from billing.bank.intake.accounts import LoneLine
from billing.statements.plain import shown_amount
from cli.bank.line_ends import show_line_ends
from cli.screen import console, dry_run_option, in_json, json_option, operator, show_list, table
from flows.bank import import_file as import_file_flow
from flows.bank import match as bank_match
from worker.database import rehearsal, transaction

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
@dry_run_option()
@json_option
def switch(
    *,
    number: str,
    new_number: str | None,
    currency: str,
    to_format: str,
    from_day: dt.datetime,
    dry_run: bool,
) -> None:
    """Let account NUMBER recognise money in another format, from a booking day on.

    Shows the lines near the day that only one of both formats has. Repeated, it only shows them.
    """
    day = from_day.date()
    with rehearsal() if dry_run else transaction() as ctx:
        lone = bank_accounts.switch(
            ctx.by(operator()),
            number,
            currency=currency,
            to_format=to_format,
            from_day=day,
            new_number=new_number,
        )
    if in_json({"dry_run": dry_run, "from": day, "format": to_format, "lone_lines": lone}):
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
@dry_run_option()
@json_option
def remove_account(number: str, currency: str, dry_run: bool) -> None:
    """Remove account NUMBER, registered by mistake; refused if transfers came to it.

    Its stored lines stay, and pay nothing until the account is registered again.
    """
    with rehearsal() if dry_run else transaction() as ctx:
        lines = bank_accounts.remove(ctx.by(operator()), number, currency=currency)
    if in_json({"dry_run": dry_run, "removed": number, "currency": currency, "lines": lines}):
        return
    done = "would be removed" if dry_run else "removed"
    console.print(f"{number} in {currency} {done}; {lines} stored lines pay nothing now")


@click.command("files")
@click.option("--refused", "only_refused", is_flag=True, help="Only refused ones, not yet seen.")
@json_option
def list_files(only_refused: bool) -> None:
    """List the received files, newest first, with the reasons of refusals."""
    with transaction() as ctx:
        rows = files.listed(ctx.session, only_refused=only_refused, limit=SHOWN)
    names = ("id", "name", "state", "received_at", "account", "error", "reason", "seen_by")
    shown = [{name: getattr(row, name) for name in names} for row in rows]
    show_list(
        {"files": shown},
        "files",
        "id, name, state, received: received_at, why",
        rows,
        {"why": lambda row: row.error and f"{row.error}: {row.reason}"},
    )


@click.command()
@click.argument("file", type=int)
@click.option("--account", help="The account's number, if the file does not name it.")
@json_option
def reread(file: int, account: str | None) -> None:
    """Read the stored FILE (its id) again: a refused one, or now with its account or currency.

    Then the new transfers are matched.
    """
    outcome = import_file_flow.reread_file(file, account=account)
    bank_match.run()
    outcome = import_file_flow.with_ends(outcome)
    if not in_json({"result": outcome}):
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
    with transaction() as ctx:
        files.mark_seen(ctx.by(operator()), file, because=because)
    console.print(f"file {file}: seen")
