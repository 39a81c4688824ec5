"""The ledger is append-only, and no balance goes below its floor, whoever writes."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from worker.database import engine


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE igny8_credit_transactions SET amount = 0",
        "DELETE FROM igny8_credit_transactions",
        "TRUNCATE igny8_credit_transactions",
    ],
)
def test_an_entry_cannot_be_changed_or_removed(ledger, statement):
    ledger.open_account("acme", credits=10)
    ledger.debit("acme", "clustering", key="1")

    with engine().begin() as connection, pytest.raises(IntegrityError, match="append-only"):
        connection.execute(sa.text(statement))

    assert len(ledger.see("acme").entries) == 2


def test_removing_no_entry_is_let_pass(ledger):
    ledger.open_account("acme")

    with engine().begin() as connection:
        connection.execute(sa.text("DELETE FROM igny8_credit_transactions WHERE tenant_id = 1"))


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE billing.books SET credits = -1", id="below the floor"),
        pytest.param("UPDATE billing.books SET debt = 1", id="a debt beyond its limit"),
        pytest.param("UPDATE billing.lots SET remaining = -1", id="less than nothing in a lot"),
        pytest.param("UPDATE billing.lots SET remaining = 11", id="more than a lot was given"),
        pytest.param("UPDATE billing.lots SET held = 11", id="more held than there is"),
    ],
)
def test_the_database_itself_refuses_what_cannot_be(ledger, statement):
    ledger.open_account("acme", credits=10)
    ledger.debit("acme", key="1")

    with engine().begin() as connection, pytest.raises(IntegrityError):
        connection.execute(sa.text(statement))


@pytest.mark.parametrize("key", ["None", "\\N", "\\.", "a\\tb", "\\x1f", "ключ 鍵"])
def test_a_text_that_copy_would_read_as_something_else_is_kept_as_it_is(ledger, key):
    ledger.open_account("acme", credits=100)

    ledger.debit("acme", "clustering", key=key, metadata={"title": key})
    ledger.debit("acme", "clustering", key=key, metadata={"title": key})

    (entry,) = ledger.see("acme").entries[1:]
    assert (entry.key, entry.details) == (key, {"title": key})
    assert ledger.audit().agrees
