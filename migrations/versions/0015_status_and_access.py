"""Let holds obey access, record debits without access, and notice the main app's status changes."""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    """Create the tables, the trigger, and the new function that places a hold."""
    op.get_bind().exec_driver_sql((SQL / "0015_up.sql").read_text())


def downgrade() -> None:
    """Drop them, and restore the function as migration 0009 left it."""
    function = (SQL / "place_hold.sql").read_text().replace("l.remaining > 0", "l.is_open")
    op.get_bind().exec_driver_sql(function)
    op.get_bind().exec_driver_sql((SQL / "0015_down.sql").read_text())
