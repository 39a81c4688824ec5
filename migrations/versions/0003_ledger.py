"""Make the ledger append-only, and index an account's entries."""

from alembic import op

revision = "0003"
down_revision = "0002"

_REFUSE = """
CREATE FUNCTION billing.refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % is refused', TG_OP
        USING HINT = 'Reverse a wrong entry by another one that names it.',
              ERRCODE = 'restrict_violation';
END $$
"""

#: (index, table, definition); built without blocking the main app's writes.
_INDEXES = (
    (
        "igny8_credit_transactions_billing_idx",
        "igny8_credit_transactions (tenant_id, id)",
    ),
    (
        "igny8_tenants_stripe_customer_id_billing_idx",
        "igny8_tenants (stripe_customer_id) WHERE stripe_customer_id <> ''",
    ),
)


def upgrade() -> None:
    """Create the trigger, then build the indexes concurrently."""
    op.execute(_REFUSE)
    # For each row: Django's cascade sends a DELETE for an account without entries, which must
    # pass. A TRUNCATE has no rows, so it needs a trigger for the statement.
    for name, events, each in (
        ("billing_append_only", "UPDATE OR DELETE", "ROW"),
        ("billing_no_truncate", "TRUNCATE", "STATEMENT"),
    ):
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {events} ON public.igny8_credit_transactions"
            f" FOR EACH {each} EXECUTE FUNCTION billing.refuse_ledger_change()"
        )
    with op.get_context().autocommit_block():
        for name, definition in _INDEXES:
            # An interrupted migration leaves an invalid index, which must be dropped first.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS public.{name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON public.{definition}")


def downgrade() -> None:
    """Drop the trigger and the indexes."""
    for name, _ in _INDEXES:
        op.execute(f"DROP INDEX IF EXISTS public.{name}")
    for name in ("billing_append_only", "billing_no_truncate"):
        op.execute(f"DROP TRIGGER {name} ON public.igny8_credit_transactions")
    op.execute("DROP FUNCTION billing.refuse_ledger_change()")
