"""A statement that goes past SQLAlchemy fails as one of SQLAlchemy's would."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from billing.postgres import sql
from billing.postgres.transient import is_locked, is_transient
from worker.database import engine, is_away, transaction

pytestmark = pytest.mark.usefixtures("database")


def test_a_wrong_statement_is_a_bug():
    with pytest.raises(ProgrammingError) as caught, transaction() as ctx:
        sql.rows(ctx.session, "SELECT x FROM nowhere", {})

    assert not is_transient(caught.value)


def test_a_lock_that_is_not_had_in_time_is_told_apart(ledger):
    ledger.open_account("acme")
    with engine().begin() as other:
        other.execute(text("SELECT FROM igny8_tenants FOR UPDATE"))

        with pytest.raises(OperationalError) as caught, transaction() as ctx:
            ctx.session.execute(text("SET LOCAL lock_timeout = 20"))
            sql.rows(ctx.session, "SELECT id FROM igny8_tenants FOR UPDATE", {})

    assert is_locked(caught.value)
    assert not is_away(caught.value)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda session: sql.rows(session, "SELECT 1", {}), id="a statement"),
        pytest.param(
            lambda session: sql.copy(session, "billing.keys", "key", ["x\n"]), id="a copy"
        ),
    ],
)
def test_after_a_lost_connection_the_next_transaction_has_another(ask):
    with pytest.raises(OperationalError) as caught, transaction() as ctx:
        own = ctx.session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with engine().begin() as other:
            other.execute(text(f"SELECT pg_terminate_backend({own}, 5000)"))
        ask(ctx.session)

    assert is_transient(caught.value)
    assert is_away(caught.value)
    with transaction() as ctx:
        assert sql.rows(ctx.session, "SELECT 1", {}) == [(1,)]


def test_several_statements_each_see_what_was_committed_before_them(ledger):
    ledger.open_account("acme")

    def change():
        with engine().begin() as other:
            other.execute(text("UPDATE igny8_tenants SET slug = 'changed'"))
        yield "SELECT slug FROM igny8_tenants", {}

    with transaction() as ctx:
        first = [("SELECT slug FROM igny8_tenants", {})]
        answers = sql.rows_of_each(ctx.session, [*first, *first])
        later = sql.rows_of_each(ctx.session, list(change()))

    assert answers == [[("acme",)], [("acme",)]]
    assert later == [[("changed",)]]


def test_rows_are_inserted_in_the_order_given_with_every_type(database):
    types = {"id": "bigint", "name": "text", "data": "jsonb", "is_set": "boolean", "raw": "bytea"}
    values = [(2, 'b"\\', {"a": 1}, True, b"\x00"), (1, None, None, False, None)]
    with transaction() as ctx:
        ctx.session.execute(
            text(
                "CREATE TEMP TABLE made (place serial, id bigint, name text, data jsonb,"
                " is_set boolean, raw bytea, fixed int) ON COMMIT DROP"
            )
        )
        ids = sql.insert(
            ctx.session, "made", types, values, constants={"fixed": 7}, tail="RETURNING id"
        )
        rows = ctx.session.execute(
            text("SELECT id, name, data, is_set, raw, fixed FROM made ORDER BY place")
        ).all()
        none = sql.insert(ctx.session, "made", types, [])

    assert (ids, none) == ([(2,), (1,)], [])
    assert [(*row[:4], row[4] and bytes(row[4]), row[5]) for row in rows] == [
        (*values[0], 7),
        (*values[1], 7),
    ]
