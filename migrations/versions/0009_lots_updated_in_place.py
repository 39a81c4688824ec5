"""Let a burned lot be updated in place: no index depends on its remaining credits.

With `remaining` in the condition of an index, each burned lot wrote a tuple into every index of the
table (https://www.postgresql.org/docs/current/storage-hot.html).
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_PLACE_HOLD = Path(__file__).parent.parent / "sql" / "place_hold.sql"
_REMAINS = "remaining > 0"


def upgrade() -> None:
    """Add the column and rebuild the indexes on it; the table has a few lots for each account."""
    is_open = sa.Column("is_open", sa.Boolean(), sa.Computed(_REMAINS, persisted=True))
    op.add_column("lots", is_open, schema="billing")
    _index("is_open")
    _let_holds_look_for("l.is_open")


def downgrade() -> None:
    """Drop the column and restore the indexes."""
    _index(_REMAINS)
    _let_holds_look_for(f"l.{_REMAINS}")
    op.drop_column("lots", "is_open", schema="billing")


def _index(condition: str) -> None:
    for name, column, where in (
        ("lots_account_id_open_idx", "account_id", condition),
        ("lots_expiry_idx", "expires_at", f"{condition} AND expires_at IS NOT NULL"),
    ):
        op.drop_index(name, "lots", schema="billing")
        op.create_index(name, "lots", [column], schema="billing", postgresql_where=sa.text(where))


def _let_holds_look_for(condition: str) -> None:
    function = _PLACE_HOLD.read_text()
    assert f"l.{_REMAINS}" in function
    op.get_bind().exec_driver_sql(function.replace(f"l.{_REMAINS}", condition))
