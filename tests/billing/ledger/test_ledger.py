"""The ledger is append-only, and no balance goes below its floor, whoever writes."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from billing.errors import BalanceTooLarge
from billing.ledger import grants
from billing.ledger.ledger import open_accounts
from worker.database import engine, transaction


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


def test_a_lot_given_in_an_act_burns_in_its_place_within_that_act(ledger):
    acme = ledger.open_account("acme")

    with transaction() as ctx:
        opened = open_accounts(ctx.at(ledger.now), [acme], key_uuids=[])
        balance = opened.of(acme)
        opened.give(balance, 10, source="top_up", key="late")
        ((early, _),) = opened.give(balance, 10, source="trial", key="early")

        assert balance.burn(3) == [[early, -3]]


def test_a_spent_lot_opened_by_its_id_burns_in_its_place_once_it_has_credits_again(ledger):
    acme = ledger.open_account("acme")
    ((early, _),) = ledger.grant("acme", 10, "trial", key="early").entry.lots
    ledger.grant("acme", 10, "top_up", key="late")
    ledger.debit("acme", "clustering", key="d")

    with transaction() as ctx:
        opened = open_accounts(ctx.at(ledger.now), [acme], key_uuids=[])
        balance = opened.of(acme)
        opened.open_lots(balance, [early, 999_999])
        opened.open_lots(balance, [early])
        balance.give_back([[early, -10]], debt=0)

        assert balance.burn(3) == [[early, -3]]
        assert len(balance.lots) == 2


def test_a_balance_fills_the_apps_column_to_its_last_credit(ledger):
    ledger.open_account("acme", credits=2**31 - 3)

    ledger.grant("acme", 2, key="a")

    assert ledger.see("acme").credits == 2**31 - 1
    with pytest.raises(BalanceTooLarge):
        ledger.grant("acme", 1, key="b")


def test_what_the_app_shows_beyond_our_balance_must_fit_its_column_too(ledger):
    ledger.open_account("acme", credits=10)
    ledger.debit("acme", key="1")
    ledger.set_host("acme", credits=2**31 - 10)

    with pytest.raises(BalanceTooLarge):
        ledger.grant("acme", 10, key="a")
    ledger.grant("acme", 9, key="b")


def test_the_entries_of_an_act_have_ascending_ids_reserved_before_or_not(ledger):
    acme = ledger.open_account("acme")

    with transaction() as ctx:
        opened = open_accounts(ctx.at(ledger.now), [acme], key_uuids=[], entries=2)
        opened.reserve(2)
        for number in range(5):
            words = {"source": "top_up", "key": f"k{number}", "content": number, "actor": "billing"}
            grants.pay_in(opened, opened.of(acme), 10, **words)
        opened.write()

    entries = ledger.see("acme").entries
    assert [entry.key for entry in entries] == ["k0", "k1", "k2", "k3", "k4"]
    assert [entry.balance_after for entry in entries] == [10, 20, 30, 40, 50]
    assert ledger.audit().agrees
