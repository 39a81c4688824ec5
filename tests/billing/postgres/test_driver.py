"""A statement that goes past SQLAlchemy fails as one of SQLAlchemy's would."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from billing.postgres import copy, driver
from billing.postgres.transient import is_locked, is_transient
from worker.database import engine, is_away, transaction

pytestmark = pytest.mark.usefixtures("database")


def test_a_wrong_statement_is_a_bug():
    with pytest.raises(ProgrammingError) as caught, transaction() as ctx:
        driver.rows(ctx.session, "SELECT x FROM nowhere", {})

    assert not is_transient(caught.value)


def test_a_lock_that_is_not_had_in_time_is_told_apart(ledger):
    ledger.open_account("acme")
    with engine().begin() as other:
        other.execute(text("SELECT FROM igny8_tenants FOR UPDATE"))

        with pytest.raises(OperationalError) as caught, transaction() as ctx:
            ctx.session.execute(text("SET LOCAL lock_timeout = 20"))
            driver.rows(ctx.session, "SELECT id FROM igny8_tenants FOR UPDATE", {})

    assert is_locked(caught.value)
    assert not is_away(caught.value)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda session: driver.rows(session, "SELECT 1", {}), id="a statement"),
        pytest.param(
            lambda session: copy.rows(session, "billing.keys", "key", ["x\n"]), id="a copy"
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
        assert driver.rows(ctx.session, "SELECT 1", {}) == [(1,)]
