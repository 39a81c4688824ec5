"""Give functions a search path of their own, roles their rights, and each account its own keys."""

from pathlib import Path

from alembic import op

revision = "0018"
down_revision = "0017"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    """Create the tables, and write every function again."""
    _run("0018_up.sql")


def downgrade() -> None:
    """Restore the functions of migration 0017. Who owns the schema stays as it is."""
    _run("0018_down.sql")


def _run(file: str) -> None:
    # Nothing in `public` may decide what these functions mean.
    op.execute("SET LOCAL search_path = pg_catalog, billing")
    # Without parameters a `%` is only a character.
    options = {"no_parameters": True}
    op.get_bind().exec_driver_sql((SQL / file).read_text(), execution_options=options)
    op.execute("SET LOCAL search_path = public")
