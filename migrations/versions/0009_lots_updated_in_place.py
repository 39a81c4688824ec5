"""A burned lot is updated in place: no index depends on how much remains of it.

An index with `remaining` in its condition got a new tuple in every index of the table each time
that a debit burned a lot (https://www.postgresql.org/docs/current/storage-hot.html).
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_PLACE_HOLD = Path(__file__).parent.parent / "sql" / "place_hold.sql"
_REMAINS = "remaining > 0"


def upgrade() -> None:
    """Add the column, and build the indexes anew on it; the table holds a few lots an account."""
    is_open = sa.Column("is_open", sa.Boolean(), sa.Computed(_REMAINS, persisted=True))
    op.add_column("lots", is_open, schema="billing")
    _index("is_open")
    _let_holds_look_for("l.is_open")


def downgrade() -> None:
    """Take it away."""
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
