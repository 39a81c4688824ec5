"""`billing statements read`: bank statement files shown, without a database."""

import json
import sys
from pathlib import Path
from typing import TextIO

import click
from rich.table import Table

from billing.statements.canonical import Balance, Statement
from billing.statements.errors import StatementRefused
from billing.statements.plain import plain_entry, plain_statement, shown_amount
from billing.statements.read import read_statements
from cli.bank import statement_imports, upkeep
from cli.screen import Screen
from cli.topic import Topic

# Entries of one statement that the table shows; --json shows all.
SHOWN = 50
_COLUMNS = ("booked", "value", "amount", "status", "counterparty", "text")


@click.group(cls=Topic)
def statements() -> None:
    """Bank statements: read files, and import them."""


for command in (
    statement_imports.import_files,
    statement_imports.list_statements,
    statement_imports.release,
    statement_imports.account,
    upkeep.switch,
    upkeep.remove_account,
    upkeep.list_files,
    upkeep.reread,
    upkeep.file_seen,
):
    statements.add_command(command)


@statements.command()
@statement_imports.files_argument
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object for each FILE, one a line."
)
def read(files: tuple[Path, ...], *, as_json: bool) -> None:
    """Parse bank statements and show them; nothing is stored, and no database is needed.

    Exits with 1 if any FILE was refused, with 0 if all were read, even if some are held.
    """
    show = _print_json if as_json else _print_table
    refused = [path for path in files if not show(path, sys.stdout)]
    if refused:
        raise SystemExit(1)


def _print_json(path: Path, out: TextIO) -> bool:
    """Write one line of JSON, entry by entry to save memory; False for a refused file."""
    try:
        statements = _read(path)
    except StatementRefused as refusal:
        about = {"position": refusal.position, "facts": refusal.facts}
        error = {"name": refusal.name, "says": str(refusal), **about}
        facts = {"file": str(path), "outcome": "refused", "error": error, "statements": []}
        out.write(json.dumps(facts) + "\n")
        return False
    outcome = "held" if any(statement.is_held for statement in statements) else "read"
    head = json.dumps({"file": str(path), "outcome": outcome, "error": None})
    out.write(f'{head[:-1]}, "statements": [')
    for number, statement in enumerate(statements):
        head = json.dumps(plain_statement(statement))
        out.write(f'{", " * bool(number)}{head[:-1]}, "entries": [')
        out.writelines(
            ", " * bool(place) + json.dumps(plain_entry(entry))
            for place, entry in enumerate(statement.entries)
        )
        out.write("]}")
    out.write("]}\n")
    return True


def _read(path: Path) -> list[Statement]:
    with path.open("rb") as source:
        return read_statements(source, name=path.name)


def _print_table(path: Path, out: TextIO) -> bool:
    console = Screen(file=out)
    try:
        statements = _read(path)
    except StatementRefused as refusal:
        console.print(f"refused {path}: {refusal.name}: {refusal}", style="red")
        return False
    for statement in statements:
        _print_statement(console, path, statement)
    return True


def _print_statement(console: Screen, path: Path, statement: Statement) -> None:
    account = statement.account.iban or statement.account.other or "account not stated"
    number = statement.statement_id or statement.sequence or ""
    title = f"{path.name}: {statement.format}, {account}, {number}"
    table = Table(*_COLUMNS, title=title, title_justify="left")
    for entry in statement.entries[:SHOWN]:
        detail = entry.details[0]
        amount = shown_amount(entry.amount_minor, entry.currency)
        table.add_row(
            str(entry.booking_date or ""),
            str(entry.value_date or ""),
            f"{amount} reversal" if entry.is_reversal else amount,
            entry.status.value if entry.status else "",
            detail.counterparty or "",
            " ".join(detail.remittance)
            if len(entry.details) == 1
            else f"{len(entry.details)} transactions",
        )
    console.print(table)
    if len(statement.entries) > SHOWN:
        console.print(f"... and {len(statement.entries) - SHOWN} more entries (--json shows all)")
    console.print(f"opening {_balance(statement.opening)}, closing {_balance(statement.closing)}")
    for note in statement.notes:
        console.print(f"note: {note}")
    for hold in statement.holds:
        words = hold.says
        if hold.difference_minor is not None:
            words += f" (difference {hold.difference_minor} minor units)"
        words += f" at {hold.position}" if hold.position else ""
        console.print(f"held: {hold.reason.value}: {words}", style="yellow")


def _balance(balance: Balance | None) -> str:
    return shown_amount(balance.amount_minor, balance.currency) if balance else "not stated"
