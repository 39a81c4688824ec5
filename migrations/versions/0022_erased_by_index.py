"""Let pruning, and the closing of an account, find what they erase by indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

# The names of customers in a message. A webhook's body is a text inside the arguments, in which a
# quote follows a backslash.
_CUSTOMERS_NAMED = r"""
CREATE FUNCTION billing.customers_named(arguments jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, billing, pg_temp
AS $$
    SELECT ARRAY(SELECT DISTINCT named[1]
                 FROM regexp_matches(arguments::text, '"(cus_\w+)\\?"', 'g') AS named)
$$
"""
_ERASABLE = "payload IS NOT NULL OR raw IS NOT NULL"
#: Name, table, columns, condition.
_INDEXES = (
    ("dead_letters_account_idx", "dead_letters", [sa.text("(arguments ->> 'account_id')")], None),
    ("payers_account_id_idx", "payers", ["account_id"], None),
    ("stripe_events_erasable_idx", "stripe_events", ["recorded_at"], _ERASABLE),
    ("stripe_events_account_id_idx", "stripe_events", ["account_id"], _ERASABLE),
    ("stripe_events_of_customer_idx", "stripe_events", ["customer"], _ERASABLE),
)


def upgrade() -> None:
    """Create the function and the indexes."""
    op.execute(_CUSTOMERS_NAMED)
    op.execute("REVOKE ALL ON FUNCTION billing.customers_named(jsonb) FROM PUBLIC")
    op.create_index(
        "dead_letters_customers_idx",
        "dead_letters",
        [sa.text("billing.customers_named(arguments)")],
        schema="billing",
        postgresql_using="gin",
    )
    for name, table, columns, condition in _INDEXES:
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, columns, schema="billing", postgresql_where=where)


def downgrade() -> None:
    """Drop them."""
    for name, table, _, _ in _INDEXES:
        op.drop_index(name, table, schema="billing")
    op.drop_index("dead_letters_customers_idx", "dead_letters", schema="billing")
    op.execute("DROP FUNCTION billing.customers_named")
