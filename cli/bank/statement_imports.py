"""`billing statements import`, `list`, `release`, `account`: statements in the database."""

import getpass
from pathlib import Path

import click

from billing.bank.intake import accounts as bank_accounts
from billing.bank.intake import held_statements
from billing.context import Context
from billing.errors import Rejected
from cli.screen import console, json_option, show_json, table
from flows.bank import import_file as import_file_flow
from flows.bank import match as bank_match
from flows.bank.import_file import ImportOutcome
from worker.database import transaction

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show what would happen; change nothing."
)


def actor() -> str:
    """The operator at this terminal, for the record."""
    return f"operator:{getpass.getuser()}"


@click.command("import")
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--account", help="The account's number, for files that do not name it (CSV).")
@dry_run_option
@json_option
def import_files(
    files: tuple[Path, ...], account: str | None, dry_run: bool, as_json: bool
) -> None:
    """Import bank statements, then match the new transfers; a repeated file changes nothing.

    Exits with 1 if any FILE was refused.
    """
    import_path = import_file_flow.rehearse_path if dry_run else import_file_flow.import_path
    outcomes = [(path, import_path(path, account=account)) for path in files]
    report = bank_match.MatchReport() if dry_run else bank_match.run()
    if as_json:
        show_json(
            {
                "dry_run": dry_run,
                "matched": report,
                "files": [{"file": str(path), "result": outcome} for path, outcome in outcomes],
            }
        )
    else:
        _show(outcomes, dry_run=dry_run)
        for name, count in report.counts().items():
            console.print(f"{name}: {count}")
    if any(outcome.outcome == "refused" for _, outcome in outcomes):
        raise SystemExit(1)


def _show(outcomes: list[tuple[Path, ImportOutcome]], *, dry_run: bool) -> None:
    table(
        "files, not imported (dry run)" if dry_run else "files",
        ("file", "outcome", "statements", "lines", "new lines", "why"),
        [
            (
                path.name,
                outcome.outcome,
                len(outcome.statements),
                sum(statement.lines for statement in outcome.statements),
                sum(statement.new_lines for statement in outcome.statements),
                _why(outcome),
            )
            for path, outcome in outcomes
        ],
    )


def _why(outcome: ImportOutcome) -> str | None:
    if outcome.error:
        return f"{outcome.error}: {outcome.reason}"
    held = [f"held: {'; '.join(outcome.held)}"] if outcome.held else []
    notes = dict.fromkeys(note for statement in outcome.statements for note in statement.notes)
    return "; ".join([*held, *notes]) or None


@click.command("list")
@click.option("--held", "only_held", is_flag=True, help="Only the held ones.")
@json_option
def list_statements(only_held: bool, as_json: bool) -> None:
    """List the stored statements with the reasons that hold them, such as gaps."""
    with transaction() as ctx:
        statements = held_statements.listed(ctx.session, only_held=only_held)
    gaps = held_statements.gaps(statements)
    if as_json:
        show_json({"statements": statements, "gaps": gaps})
        return
    table(
        f"{len(statements)} statements, {len(gaps)} gaps",
        ("statement", "account", "format", "id", "closes", "lines", "held because"),
        [
            (
                statement.digest[:8],
                statement.account,
                statement.format,
                statement.statement_id,
                statement.closing_day and str(statement.closing_day),
                statement.line_count,
                "; ".join(statement.reasons),
            )
            for statement in statements
        ],
    )


@click.command()
@click.argument("statement")
@click.option("--because", required=True, help="The reason why its lines may be applied.")
def release(statement: str, because: str) -> None:
    """Release a held STATEMENT (the beginning of its digest); your name and reason are kept."""
    with transaction() as ctx:
        try:
            digest = held_statements.release(ctx.by(actor()), statement, because=because)
        except Rejected as error:
            raise click.ClickException(f"{error.name}: {error}") from None
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
    as_json: bool,
) -> None:
    """Register the bank account NUMBER as ours; without NUMBER, list those registered.

    Each account recognises money in one format only, so that it is never counted twice.
    """
    with transaction() as ctx:
        if number is not None:
            if currency is None or source_format is None:
                raise click.UsageError("NUMBER needs --currency and --format")
            _register(ctx, number, currency, source_format, customer)
        accounts = bank_accounts.registered(ctx.session)
    if as_json:
        show_json({"accounts": accounts})
        return
    table(
        "registered bank accounts",
        ("number", "currency", "format", "customer", "added by"),
        [(row.number, row.currency, row.format, row.customer_id, row.added_by) for row in accounts],
    )


def _register(
    ctx: Context, number: str, currency: str, source_format: str, customer: int | None
) -> None:
    try:
        bank_accounts.add(
            ctx.by(actor()),
            number,
            currency=currency,
            source_format=source_format,
            customer_id=customer,
        )
    except Rejected as error:
        raise click.ClickException(str(error)) from None
