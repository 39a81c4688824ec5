"""Create functions with kept plans for the hot path: balances, and taking from the inbox."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    """Create the functions."""
    op.get_bind().exec_driver_sql((SQL / "0011_up.sql").read_text())


def downgrade() -> None:
    """Drop the functions."""
    op.get_bind().exec_driver_sql((SQL / "0011_down.sql").read_text())
