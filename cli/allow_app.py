"""`billing allow-app`: the rights of the main app's database role in our schema."""

import click
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from worker.database import transaction

ACCESS = "billing.access(bigint, text)"
PLACE_HOLD = "billing.place_hold(bigint, text, int, text, int, timestamptz)"
#: The role may insert into the inbox and the bank files, place holds, and read account access. It
#: may change or delete nothing. It reads the digests of bank files to find a file's id again.
GRANTS = (
    "GRANT USAGE ON SCHEMA billing TO {role}",
    "GRANT INSERT ON billing.inbox TO {role}",
    "GRANT INSERT ON billing.statement_files TO {role}",
    "GRANT SELECT (id, sha256) ON billing.statement_files TO {role}",
    "GRANT INSERT ON billing.statement_file_parts TO {role}",
    f"GRANT EXECUTE ON FUNCTION {PLACE_HOLD} TO {{role}}",
    f"GRANT EXECUTE ON FUNCTION {ACCESS} TO {{role}}",
    "GRANT SELECT ON billing.account_access TO {role}",
    "GRANT SELECT ON billing.site_access TO {role}",
)


@click.command("allow-app")
@click.argument("role")
@click.option("--dry-run", is_flag=True, help="Only print the statements.")
def allow_app(role: str, dry_run: bool) -> None:
    """Let the main app's database ROLE write to the inbox, leave bank files and place holds.

    Safe to repeat.
    """
    with transaction() as ctx:
        quoted = ctx.session.get_bind().dialect.identifier_preparer.quote(role)
        for grant in GRANTS:
            statement = grant.format(role=quoted)
            click.echo(statement)
            if not dry_run:
                try:
                    ctx.session.execute(text(statement))
                except DBAPIError as error:
                    raise click.ClickException(str(error.orig).strip()) from None
