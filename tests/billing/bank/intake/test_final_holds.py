"""A statement whose amounts may have the wrong sign: no release lifts its hold."""

import pytest

from billing.bank.intake import held_statements
from billing.bank.intake.held_statements import ReleaseRefused
from models.bank import Statement
from tests.billing.bank.story import Bank
from worker.database import transaction

FILE = (
    "Date;Description;Amount;Kind;Currency\n"
    "2026-01-30;x;89.00;ACH credit;EUR\n2026-01-31;y;50.00;ACH debit;EUR\n"
)


@pytest.fixture
def bank(database):
    bank = Bank()
    bank.register("my account", source_format="CSV")
    return bank


def release(digest):
    with transaction() as ctx:
        held_statements.release(ctx.by("dev"), digest[:8], because="looks fine")


def test_a_column_of_debit_words_that_nobody_read_is_never_released(bank):
    [stored] = bank.receive(FILE.encode(), account="my account")

    with pytest.raises(ReleaseRefused, match="sign_not_read"):
        release(stored.digest)

    [statement] = bank.statements()
    assert (statement.is_held, statement.released_by) == (True, None)


def test_a_statement_that_was_released_before_is_held_again_by_the_next_import(bank):
    [stored] = bank.receive(FILE.encode(), account="my account")
    with transaction() as ctx:
        statement = ctx.session.get_one(Statement, stored.digest)
        statement.released_by, statement.is_held = "dev", False

    bank.receive((FILE + "\n").encode(), account="my account")

    assert bank.statements()[0].is_held


def test_any_other_hold_is_still_released(bank):
    file = FILE.replace("ACH credit", "credit").replace("ACH debit", "debit")
    [stored] = bank.receive(file.encode(), account="my account")
    assert bank.amounts() == [-5000, 8900]

    release(stored.digest)

    assert not bank.statements()[0].is_held
