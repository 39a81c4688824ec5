"""Pages of one statement: a line that stands on two of them, word for word, is two lines."""

import itertools

import pytest

from tests.billing.bank.story import OWN_IBAN, Bank
from tests.billing.statements.writing import balance, camt, entry, mt940
from tests.conftest import empty_database

COFFEE = (":61:2602010201C20,00NTRFNONREF", ":86:166?00CREDIT?20SVWZ+COFFEE?32ANNA SCHMIDT")
SUGAR = (":61:2602010201C5,00NTRFNONREF", ":86:166?00CREDIT?20SVWZ+SUGAR?32ANNA SCHMIDT")


@pytest.fixture
def bank(database):
    bank = Bank()
    bank.register(source_format="MT940")
    return bank


def page(number, *lines, opening, closing, last=False, sequence=7):
    """A page of the statement; balances in whole euros."""
    kinds = ("F" if number == 1 else "M", "F" if last else "M")
    text = mt940(
        *itertools.chain(*lines),
        opening=f":60{kinds[0]}:C260201EUR{opening},00",
        closing=f":62{kinds[1]}:C260201EUR{closing},00",
    )
    text = text.replace(":28C:1/1", f":28C:{sequence}/{number}")
    return text.replace("12030000/202051", OWN_IBAN).encode()


TWO = (
    page(1, COFFEE, opening=0, closing=20),
    page(2, COFFEE, opening=20, closing=40, last=True),
)
THREE = (
    page(1, COFFEE, COFFEE, opening=0, closing=40),
    page(2, SUGAR, COFFEE, opening=40, closing=65),
    page(3, COFFEE, SUGAR, opening=65, closing=90, last=True),
)


def test_equal_lines_of_two_pages_are_two_lines(bank):
    bank.receive(b"".join(TWO))

    assert bank.amounts() == [2000, 2000]
    assert bank.holds() == [[], []]


#: Orders in which each page joins on to one that is stored.
JOINED = [(0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 1, 0)]


@pytest.mark.parametrize("order", JOINED)
def test_pages_in_files_of_their_own_count_each_line_in_any_order(bank, order):
    bank.receive(*[THREE[place] for place in order])

    assert bank.amounts() == [500, 500, 2000, 2000, 2000, 2000]
    assert [hold for holds in bank.holds() for hold in holds] == []


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 0, 1)])
def test_a_line_of_two_pages_that_came_without_the_page_between_is_left_to_a_reviewer(bank, order):
    bank.receive(*[THREE[place] for place in order])

    assert bank.amounts() == [500, 500, 2000, 2000, 2000]
    assert [hold for holds in bank.holds() for hold in holds] == ["entry_count"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_same_pages_again_add_nothing(bank, order):
    bank.receive(*[TWO[place] for place in order])
    before = bank.dump()

    bank.receive(*[TWO[place] + b"\r\n" for place in (0, 1)], b"".join(TWO))

    assert bank.dump() == before


def test_a_page_that_comes_again_under_another_number_adds_no_line(bank):
    bank.receive(*THREE)

    again = page(2, SUGAR, COFFEE, opening=40, closing=65, sequence=8)
    bank.receive(again)

    assert bank.amounts() == [500, 500, 2000, 2000, 2000, 2000]


def test_the_whole_statement_in_one_page_has_the_same_lines(bank):
    bank.receive(*TWO)

    bank.receive(page(1, COFFEE, COFFEE, opening=0, closing=40, last=True, sequence=8))

    assert bank.amounts() == [2000, 2000]


def test_equal_lines_of_two_statements_are_left_to_a_reviewer(bank):
    bank.receive(
        page(1, COFFEE, opening=0, closing=20, last=True),
        page(1, COFFEE, opening=20, closing=40, last=True, sequence=8),
    )

    assert bank.amounts() == [2000]
    assert bank.holds() == [["line_shared"], ["line_shared"]]


def test_a_page_without_a_number_joins_on_by_its_balance(bank):
    bank.receive(
        *[part.replace(b":28C:7/1", b":28C:7").replace(b":28C:7/2", b":28C:7") for part in TWO]
    )

    assert bank.amounts() == [2000, 2000]


def test_pages_of_camt_count_in_the_same_way(bank):
    bank.receive(camt_page(1, opening=0, closing=20), camt_page(2, opening=20, closing=40))

    assert bank.amounts() == [2000, 2000]


def camt_page(number, *, opening, closing):

    kinds = ("OPBD", "ITBD") if number == 1 else ("ITBD", "CLBD")
    last = "false" if number == 1 else "true"
    pagination = f"<StmtPgntn><PgNb>{number}</PgNb><LastPgInd>{last}</LastPgInd></StmtPgntn>"
    head = pagination + "".join(
        balance(kind, f"{amount}.00")
        for kind, amount in zip(kinds, (opening, closing), strict=True)
    )
    return camt(entry("20.00").replace("REF-1", "NONREF"), head=head).encode()


def test_the_database_is_the_same_whichever_pages_came_first(database):
    dumps = []
    for order in JOINED:
        empty_database()
        bank = Bank()
        bank.register(source_format="MT940")
        bank.receive(*[THREE[place] for place in order])
        lines = bank.dump()["BankLine"]
        dumps.append(lines)

    assert all(lines == dumps[0] for lines in dumps)


def test_a_page_number_of_very_many_digits_is_none_and_stops_no_import(bank):
    head = (
        f"<StmtPgntn><PgNb>{'9' * 5000}</PgNb><LastPgInd>false</LastPgInd></StmtPgntn>"
        f"{balance('OPBD', '0.00')}{balance('ITBD', '10.00')}"
    )

    bank.receive(camt(entry(), head=head).encode())

    assert (bank.amounts(), bank.holds()) == ([1000], [[]])
