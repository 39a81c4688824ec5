"""Which errors of a database pass, so that the same work may succeed in a while, and which are bugs."""

import threading

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from billing.postgres.transient import is_transient
from billing_client import Debit
from tests.worker.conftest import wait_until
from worker.database import engine, transaction


def caught(work):
    with pytest.raises(DBAPIError) as error:
        work()
    return error.value


def run(*statements):
    with transaction() as ctx:
        for statement in statements:
            ctx.session.execute(sa.text(statement))


@pytest.fixture
def acme(ledger):
    ledger.open_account("acme", credits=100)
    return ledger


LOCK_ACME = "SELECT 1 FROM igny8_tenants WHERE id = 1 FOR UPDATE"


def test_a_lock_that_could_not_be_had_passes(acme):
    def wait_for_it():
        run("SET LOCAL lock_timeout = '20ms'", LOCK_ACME)

    with transaction() as ctx:
        ctx.session.execute(sa.text(LOCK_ACME))
        assert is_transient(caught(wait_for_it))


def test_a_statement_that_took_too_long_passes(database):
    def sleep():
        run("SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(9)")

    assert is_transient(caught(sleep))


def test_a_deadlock_passes(acme):
    acme.open_account("beta", credits=100)
    other = psycopg2.connect(
        engine().url.set(drivername="postgresql").render_as_string(hide_password=False),
        options="-cdeadlock_timeout=1h",
        async_=False,
    )

    def cross():
        with transaction() as ctx:
            ctx.session.execute(sa.text("SET LOCAL deadlock_timeout = '50ms'"))
            ctx.session.execute(sa.text(LOCK_ACME))
            asking.start()
            wait_until(lambda: waits_for_a_lock(other.info.backend_pid))
            ctx.session.execute(sa.text(LOCK_ACME.replace("1 FOR", "2 FOR")))

    with other, other.cursor() as cursor:
        cursor.execute(LOCK_ACME.replace("1 FOR", "2 FOR"))
        asking = threading.Thread(target=cursor.execute, args=(LOCK_ACME,))
        assert is_transient(caught(cross))
        asking.join()
    other.close()


def waits_for_a_lock(pid):
    with engine().connect() as connection:
        query = sa.text("SELECT wait_event_type FROM pg_stat_activity WHERE pid = :pid")
        return connection.execute(query, {"pid": pid}).scalar() == "Lock"


def test_a_lost_connection_passes(database):
    def lose_it():
        run("SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1")

    assert is_transient(caught(lose_it))


def test_after_a_lost_connection_the_next_one_is_good(database):
    with engine().connect() as held:
        pid = held.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    run(f"SELECT pg_terminate_backend({pid}) WHERE {pid} <> pg_backend_pid()")

    run("SELECT 1")


def test_a_server_that_is_away_passes():
    nobody = sa.create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none")

    assert is_transient(caught(nobody.connect))


def test_a_race_for_one_key_passes(acme):
    acme.debit_all([Debit(1, "clustering", "k")])
    twice = "INSERT INTO billing.keys SELECT * FROM billing.keys"

    assert is_transient(caught(lambda: run(twice)))


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT 1/0", id="a division by zero"),
        pytest.param("SELECT nothing", id="a column that is not there"),
        pytest.param(
            "INSERT INTO billing.slots VALUES ('a', now(), now()), ('a', now(), now())",
            id="a unique row twice",
        ),
        pytest.param(
            "INSERT INTO billing.slots (job) VALUES (NULL)", id="a NULL where none may be"
        ),
    ],
)
def test_a_bug_does_not_pass(database, statement):
    assert not is_transient(caught(lambda: run(statement)))


def test_an_error_of_ours_does_not_pass():
    assert not is_transient(ValueError("no"))


def test_an_error_does_not_quote_what_was_asked(database):
    def ask():
        with transaction() as ctx:
            ctx.session.execute(sa.text("SELECT 1/0, :what"), {"what": "the-secret"})

    assert "the-secret" not in str(caught(ask))
