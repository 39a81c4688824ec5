"""One more statement of an account costs no more statements of SQL, and rewrites no other row."""

import sqlalchemy as sa

from bench.growth import cost
from billing.bank.intake import continuity
from tests.billing.bank.story import line, statements
from tests.billing.statements.writing import OWN_IBAN
from worker.database import transaction


def versions():
    """The row version of each statement, by its number."""
    with transaction() as ctx:
        rows = sa.text("SELECT statement_id, xmin::text FROM billing.statements")
        return dict(ctx.session.execute(rows).all())


def refresh():
    with transaction() as ctx:
        continuity.refresh(ctx.session, OWN_IBAN)


def test_continuity_is_checked_by_as_many_statements_whatever_the_account_holds(bank):
    days = statements(*[[line(f"{n}.00", text=f"n{n}")] for n in range(1, 13)])
    bank.receive(*days[:2])
    few = cost(refresh, 2).statements
    bank.receive(*days[2:])

    assert cost(refresh, 12).statements == few


def test_one_more_statement_rewrites_no_other_statement(bank):
    days = statements(*[[line(f"{n}.00", text=f"n{n}")] for n in range(1, 6)])
    bank.receive(*days[:4])
    before = versions()

    bank.receive(days[4])

    assert {number: version for number, version in versions().items() if number in before} == before
    assert len(versions()) == 5


def test_a_hold_that_goes_away_is_the_only_row_rewritten(bank):
    days = statements(*[[line(f"{n}.00", text=f"n{n}")] for n in range(1, 6)])
    bank.receive(days[0], days[1], days[3], days[4])
    before = versions()

    bank.receive(days[2])

    after = versions()
    assert [number for number in before if after[number] != before[number]] == ["S4"]
    assert bank.holds() == [[]] * 5
