"""Limit the size of the app's rows; say which workers may run on this schema."""

from alembic import op

revision = "0021"
down_revision = "0020"

#: From now on a worker that knows this revision may run on a newer schema, until a migration that
#: it could not live with replaces the function.
_OLDEST_WORKER = """
CREATE FUNCTION billing.oldest_worker() RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, billing, pg_temp AS $$ SELECT '0021'::text $$;
REVOKE ALL ON FUNCTION billing.oldest_worker() FROM PUBLIC
"""


#: Rows that are there stay as they are. Where none is too large, a constraint is a plain one.
_LIMIT = """
ALTER TABLE billing.inbox ADD CONSTRAINT inbox_size_check CHECK (
    octet_length(task) <= 255 AND octet_length(arguments::text) <= 65536) NOT VALID;
ALTER TABLE billing.statement_file_parts ADD CONSTRAINT statement_file_parts_size_check CHECK (
    octet_length(content) <= 1048576) NOT VALID;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM billing.inbox
                   WHERE octet_length(task) > 255 OR octet_length(arguments::text) > 65536) THEN
        ALTER TABLE billing.inbox VALIDATE CONSTRAINT inbox_size_check;
    END IF;
    IF NOT EXISTS (SELECT FROM billing.statement_file_parts WHERE octet_length(content) > 1048576)
    THEN
        ALTER TABLE billing.statement_file_parts
            VALIDATE CONSTRAINT statement_file_parts_size_check;
    END IF;
END $$
"""


def upgrade() -> None:
    """Add the constraints, for new rows only, and the function."""
    op.execute(_LIMIT)
    op.execute(_OLDEST_WORKER)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP FUNCTION billing.oldest_worker()")
    op.drop_constraint("statement_file_parts_size_check", "statement_file_parts", schema="billing")
    op.drop_constraint("inbox_size_check", "inbox", schema="billing")
