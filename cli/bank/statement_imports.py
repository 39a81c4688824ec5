"""`billing statements import`, `list`, `release`, `account`: statements in the database."""

from pathlib import Path

import click

from billing.bank.intake import accounts as bank_accounts
from billing.bank.intake import held_statements
from billing.context import Context
from billing.errors import Rejected
from cli.bank.line_ends import show_line_ends
from cli.screen import console, dry_run_option, in_json, json_option, operator, show_list, table
from flows.bank import import_file as import_file_flow
from flows.bank import match as bank_match
from flows.bank.import_file import ImportOutcome
from models.bank import BankAccount, FormatSwitch
from worker.database import transaction

files_argument = click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)


@click.command("import")
@files_argument
@click.option("--account", help="The account's number, for files that do not name it (CSV).")
@dry_run_option("Show what would happen; change nothing.")
@json_option
def import_files(files: tuple[Path, ...], account: str | None, dry_run: bool) -> None:
    """Import bank statements, then match the new transfers; a repeated file changes nothing.

    Exits with 1 if any FILE was refused.
    """
    import_path = import_file_flow.rehearse_path if dry_run else import_file_flow.import_path
    outcomes = [(path, import_path(path, account=account)) for path in files]
    report = bank_match.MatchReport() if dry_run else bank_match.run()
    outcomes = [(path, import_file_flow.with_ends(outcome)) for path, outcome in outcomes]
    results = [{"file": str(path), "result": outcome} for path, outcome in outcomes]
    if not in_json({"dry_run": dry_run, "matched": report, "files": results}):
        _show(outcomes, dry_run=dry_run)
        show_line_ends(
            "the lines of these files", [end for _, outcome in outcomes for end in outcome.ends]
        )
        for name, count in report.counts().items():
            console.print(f"{name}: {count}")
    if any(outcome.outcome == "refused" for _, outcome in outcomes):
        raise SystemExit(1)


def _show(outcomes: list[tuple[Path, ImportOutcome]], *, dry_run: bool) -> None:
    rows = []
    for path, outcome in outcomes:
        statements = outcome.statements
        lines = sum(statement.lines for statement in statements)
        new_lines = sum(statement.new_lines for statement in statements)
        why = _why(outcome)
        rows.append((path.name, outcome.outcome, len(statements), lines, new_lines, why))
    title = "files, not imported (dry run)" if dry_run else "files"
    table(title, ("file", "outcome", "statements", "lines", "new lines", "why"), rows)


def _why(outcome: ImportOutcome) -> str | None:
    if outcome.error:
        return f"{outcome.error}: {outcome.reason}"
    held = [f"held: {'; '.join(outcome.held)}"] if outcome.held else []
    notes = dict.fromkeys(note for statement in outcome.statements for note in statement.notes)
    return "; ".join([*held, *notes]) or None


@click.command("list")
@click.option("--held", "only_held", is_flag=True, help="Only the held ones.")
@json_option
def list_statements(only_held: bool) -> None:
    """List the stored statements with the reasons that hold them, such as gaps."""
    with transaction() as ctx:
        statements = held_statements.listed(ctx.session, only_held=only_held)
    gaps = held_statements.gaps(statements)
    show_list(
        {"statements": statements, "gaps": gaps},
        f"{len(statements)} statements, {len(gaps)} gaps",
        "statement, account, format, id: statement_id, closes: closing_day, lines: line_count"
        ", held because",
        statements,
        {
            "statement": lambda statement: statement.digest[:8],
            "held because": lambda statement: "; ".join(statement.reasons),
        },
    )


@click.command()
@click.argument("statement")
@click.option("--because", required=True, help="The reason why its lines may be applied.")
def release(statement: str, because: str) -> None:
    """Release a held STATEMENT (the beginning of its digest); your name and reason are kept."""
    with transaction(actor=operator()) as ctx:
        digest = held_statements.release(ctx, statement, because=because)
    console.print(f"released {digest}")


@click.command()
@click.argument("number", required=False)
@click.option("--currency", help="ISO 4217, such as EUR.")
@click.option("--format", "source_format", type=click.Choice(bank_accounts.FORMATS))
@click.option("--customer", type=int, help="The account whose virtual IBAN it is.")
@json_option
def account(
    number: str | None,
    currency: str | None,
    source_format: str | None,
    customer: int | None,
) -> None:
    """Register the bank account NUMBER as ours; without NUMBER, list those registered.

    Each account recognises money in one format only, so that it is never counted twice.
    """
    with transaction(actor=operator()) as ctx:
        if number is not None:
            if currency is None or source_format is None:
                raise click.UsageError("NUMBER needs --currency and --format")
            _register(ctx, number, currency, source_format, customer)
        accounts = bank_accounts.registered(ctx.session)
        switches = bank_accounts.switches(ctx.session)
    rows = [
        (row.number, row.currency, _formats(row, switches), row.customer_id, row.added_by)
        for row in accounts
    ]
    plain = {"accounts": [_plain(row, switches) for row in accounts]}
    if not in_json(plain):
        columns = ("number", "currency", "format", "customer", "added by")
        table("registered bank accounts", columns, rows)


def _plain(account: BankAccount, switches: list[FormatSwitch]) -> dict[str, object]:
    values = {column.name: getattr(account, column.name) for column in account.__table__.columns}
    return {**values, "switches": _switches_of(account, switches)}


def _switches_of(account: BankAccount, switches: list[FormatSwitch]) -> list[FormatSwitch]:
    key = (account.number, account.currency)
    return [row for row in switches if (row.number, row.currency) == key]


def _formats(account: BankAccount, switches: list[FormatSwitch]) -> str:
    changes = [f"from {row.from_day} {row.format}" for row in _switches_of(account, switches)]
    return ", ".join([account.format, *changes])


def _register(
    ctx: Context, number: str, currency: str, source_format: str, customer: int | None
) -> None:
    try:
        bank_accounts.add(
            ctx, number, currency=currency, source_format=source_format, customer_id=customer
        )
    except Rejected as error:
        raise click.ClickException(str(error)) from None
