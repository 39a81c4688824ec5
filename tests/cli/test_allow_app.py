"""`billing allow-app`: the main app's role may leave debits and place holds, and nothing else."""

import io
import secrets
from contextlib import closing

import psycopg2
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from billing.bank.intake import files as bank_files
from billing_client import (
    BillingClient,
    Capture,
    Debit,
    Release,
    Reverse,
    access,
    inbox,
    statement_files,
)
from billing_client.messages import INBOX_MESSAGES
from cli.main import main
from tests.app import connect
from worker.database import engine, transaction

PASSWORD = "only-for-this-test"


def run(*arguments):
    return CliRunner().invoke(main, ["allow-app", *arguments])


@pytest.fixture
def role(database):
    """A role as the main app may have one; its name needs quotes."""
    name = f"app {secrets.token_hex(4)}"
    quoted = f'"{name}"'
    with database.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {quoted} LOGIN PASSWORD '{PASSWORD}'"))
    yield name
    with database.begin() as connection:
        connection.execute(sa.text(f"DROP OWNED BY {quoted}"))
        connection.execute(sa.text(f"DROP ROLE {quoted}"))


@pytest.fixture
def app(role):
    """A connection of the role, which was allowed in."""
    assert run(role).exit_code == 0
    with closing(connect(user=role, password=PASSWORD)) as connection:
        yield connection


def test_the_app_may_place_holds_and_leave_debits(ledger, app):
    account = ledger.open_account("acme", credits=100)
    client = BillingClient("redis://127.0.0.1:1/0")

    held = client.place_hold(app, account, "image_generation", key="h")
    client.debit_in(app, account, "clustering", key="d")
    app.commit()

    assert held
    assert ledger.see("acme").held == 5
    with engine().connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM billing.inbox")).scalar() == 1


def test_the_app_may_leave_a_banks_file_and_gets_one_id_for_the_same_bytes(ledger, app):
    client = BillingClient("redis://127.0.0.1:1/0")
    content = b"x" * (statement_files.PART_BYTES + 1)

    first = client.import_statement_in(app, content, name="../a\n.sta", account="DE1")
    again = client.import_statement_in(app, content, name="b")
    app.commit()

    assert first == again
    with transaction() as ctx:
        kept, copy = bank_files.load(ctx.session, first), io.BytesIO()
        bank_files.write_content(ctx.session, first, copy)
        assert (kept.name, kept.account, kept.state) == ("a?.sta", "DE1", "received")
        assert copy.read() == content


def test_the_app_may_leave_every_message_that_the_inbox_takes(ledger, app):
    account = ledger.open_account("acme", credits=100)
    messages = [
        Debit(account, "clustering", "d", metadata={"path": "\\u0000"}),
        Reverse(account, "d"),
        Capture(account, "h"),
        Release(account, "h"),
    ]

    assert {type(message) for message in messages} == set(INBOX_MESSAGES)
    assert inbox.leave(app, messages) == 4


def test_a_client_of_the_release_before_goes_on(ledger, app):
    """It passed a time to the function for holds, and one of a file's reception."""
    account = ledger.open_account("acme", credits=100)

    with app.cursor() as cursor:
        for arguments in ("%s, 'clustering', 1, 'h1'", "%s, 'clustering', 1, 'h2', 60"):
            cursor.execute(f"SELECT outcome FROM billing.place_hold({arguments})", [account])
            assert cursor.fetchone() == ("held",)
        cursor.execute(
            "SELECT outcome FROM billing.place_hold(%s, 'clustering', 1, 'h3', 60, now())",
            [account],
        )
        assert cursor.fetchone() == ("held",)


def test_the_app_may_ask_who_is_let_in(ledger, app):
    account = ledger.open_account("acme")

    assert access(app, account)
    assert access(app, api_key="none").reason == "unknown_key"


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT * FROM billing.keys", id="read keys"),
        pytest.param("SELECT * FROM billing.inbox", id="read the inbox"),
        pytest.param("SELECT content FROM billing.statement_file_parts", id="read bank files"),
        pytest.param("DELETE FROM billing.inbox", id="take debits back"),
        pytest.param("UPDATE billing.inbox SET account_id = 2", id="move debits to others"),
        pytest.param("UPDATE billing.lots SET remaining = 0", id="change lots"),
        pytest.param("INSERT INTO billing.plan_policies VALUES (1, 9)", id="allow itself debts"),
        pytest.param("SELECT billing.open_book(1, now())", id="open books"),
        pytest.param("CREATE TABLE billing.mine ()", id="make tables in our schema"),
    ],
)
def test_the_app_may_not(app, statement):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), app.cursor() as cursor:
        cursor.execute(statement)


def test_a_role_that_nobody_allowed_may_not_even_place_holds(role):
    with (
        closing(connect(user=role, password=PASSWORD)) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute("SELECT * FROM billing.place_hold(1, 'clustering', 1, 'h')")


def test_allowing_twice_is_allowing_once(role):
    assert [run(role).exit_code for _ in range(2)] == [0, 0]
    assert "GRANT" not in run(role).output


def test_a_dry_run_prints_and_allows_nothing(role):
    assert f'TO "{role}"' in run(role, "--dry-run").output

    with (
        closing(connect(user=role, password=PASSWORD)) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute(
            "INSERT INTO billing.inbox (account_id, task, arguments) VALUES (1, '', '1')"
        )


def test_a_role_that_does_not_exist_is_said(database):
    result = run("nobody-of-that-name")

    assert result.exit_code == 1
    assert "There is no role 'nobody-of-that-name'" in result.output
    assert "GRANT" not in result.output
