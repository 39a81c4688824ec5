"""`billing statements import`, `list`, `release`, `account`: statements in the database."""

import getpass
from pathlib import Path

import click

from billing.bank.intake import accounts as bank_accounts
from billing.bank.intake import held
from billing.context import Context
from billing.errors import Rejected
from cli.screen import console, json_option, show_json, table
from flows.bank import import_file as import_file_flow
from flows.bank import match as bank_match
from flows.bank.import_file import Outcome
from worker.database import transaction

dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would happen; do nothing.")


def actor() -> str:
    """Who sits here, for the record."""
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
    """Import bank statements, then match what came; what is there already changes nothing.

    Ends with 1 if any FILE was refused.
    """
    take = import_file_flow.rehearse_path if dry_run else import_file_flow.import_path
    outcomes = [(path, take(path, account=account)) for path in files]
    ran = bank_match.Ran() if dry_run else bank_match.run()
    if as_json:
        show_json(
            {
                "dry_run": dry_run,
                "matched": ran,
                "files": [{"file": str(path), "result": outcome} for path, outcome in outcomes],
            }
        )
    else:
        _show(outcomes, dry_run=dry_run)
        for name, count in ran.counts().items():
            console.print(f"{name}: {count}")
    if any(outcome.outcome == "refused" for _, outcome in outcomes):
        raise SystemExit(1)


def _show(outcomes: list[tuple[Path, Outcome]], *, dry_run: bool) -> None:
    table(
        "what would become of the files" if dry_run else "what became of the files",
        ("file", "outcome", "statements", "lines", "new lines", "why"),
        [
            (
                path.name,
                outcome.outcome,
                len(outcome.statements),
                sum(one.lines for one in outcome.statements),
                sum(one.new_lines for one in outcome.statements),
                _why(outcome),
            )
            for path, outcome in outcomes
        ],
    )


def _why(outcome: Outcome) -> str | None:
    if outcome.error:
        return f"{outcome.error}: {outcome.reason}"
    return f"held: {'; '.join(outcome.held)}" if outcome.held else None


@click.command("list")
@click.option("--held", "only_held", is_flag=True, help="Only those that are held.")
@json_option
def list_statements(only_held: bool, as_json: bool) -> None:
    """List the stored statements of each account, with what holds them; gaps are among that."""
    with transaction() as ctx:
        found = held.listed(ctx.session, only_held=only_held)
    if as_json:
        show_json({"statements": found, "gaps": held.gaps(found)})
        return
    table(
        f"{len(found)} statements, {len(held.gaps(found))} gaps",
        ("statement", "account", "format", "id", "closes", "lines", "held because"),
        [
            (
                one.digest[:8],
                one.account,
                one.format,
                one.statement_id,
                one.closing_day and str(one.closing_day),
                one.line_count,
                "; ".join(one.reasons),
            )
            for one in found
        ],
    )


@click.command()
@click.argument("statement")
@click.option("--because", required=True, help="Why its lines may be applied all the same.")
def release(statement: str, because: str) -> None:
    """Let a held STATEMENT (the beginning of its digest) be applied; kept with your name."""
    with transaction() as ctx:
        try:
            digest = held.release(ctx.by(actor()), statement, because=because)
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

    Money is recognised from one format for each account, so that it is never counted twice.
    """
    with transaction() as ctx:
        if number is not None:
            if currency is None or source_format is None:
                raise click.UsageError("NUMBER goes with --currency and --format")
            _register(ctx, number, currency, source_format, customer)
        known = bank_accounts.registered(ctx.session)
    if as_json:
        show_json({"accounts": known})
        return
    table(
        "bank accounts of ours",
        ("number", "currency", "format", "customer", "added by"),
        [(one.number, one.currency, one.format, one.customer_id, one.added_by) for one in known],
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
