"""Add to each purchase the money that paid for it; find invoices that move a customer's balance."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

#: Column -> its type; all begin at 0.
_COUNTS = {
    "granted": sa.BigInteger(),
    "reduced": sa.Integer(),
    "withheld": sa.BigInteger(),
    "returned_minor": sa.BigInteger(),
    "moved_minor": sa.BigInteger(),
    "parked_minor": sa.BigInteger(),
}
_BALANCE_IDX = "stripe_objects_balance_idx"


def upgrade() -> None:
    """Add the columns, count the credits that were granted, and create the index."""
    for name, type_ in _COUNTS.items():
        column = sa.Column(name, type_, nullable=False, server_default=sa.text("0"))
        op.add_column("purchases", column, schema="billing")
    op.add_column("purchases", sa.Column("price_minor", sa.BigInteger()), schema="billing")
    op.add_column("purchases", sa.Column("currency", sa.Text()), schema="billing")
    op.execute(
        "UPDATE billing.purchases SET granted ="
        " LEAST(credits::bigint * given, credits::bigint * lots - cancelled) WHERE given > 0"
    )
    op.create_index(
        _BALANCE_IDX,
        "stripe_objects",
        ["account_id"],
        schema="billing",
        postgresql_where=sa.text("kind = 'invoice' AND facts ->> 'moves_balance' = 'true'"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index(_BALANCE_IDX, "stripe_objects", schema="billing")
    for name in ("price_minor", "currency", *_COUNTS):
        op.drop_column("purchases", name, schema="billing")
