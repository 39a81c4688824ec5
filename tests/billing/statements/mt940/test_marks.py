"""MT940 amounts with other marks than SWIFT's comma: read where the balances prove them."""

import pytest

from billing.statements.errors import BadAmount
from billing.statements.read import read_statements
from tests.billing.statements.writing import mt940, only, reasons


def file(opening, amount, closing, **more):
    return mt940(
        f":61:2601310131C{amount}NTRFNONREF",
        opening=f":60F:C260130EUR{opening}",
        closing=f":62F:C260131EUR{closing}",
        **more,
    )


def amounts(read):
    minor = [read_entry.amount_minor for read_entry in read.entries]
    return read.opening.amount_minor, *minor, read.closing.amount_minor


@pytest.mark.parametrize(
    ("opening", "amount", "closing", "minor"),
    [
        pytest.param("0.00", "52.58", "52.58", (0, 5258, 5258), id="points"),
        pytest.param("0,00", "52.58", "52,58", (0, 5258, 5258), id="a point in the entry alone"),
        pytest.param("0.0", "52.5", "52.5", (0, 5250, 5250), id="one decimal"),
        pytest.param("1.000,00", "1.000,50", "2.000,50", (100_000, 100_050, 200_050), id="groups"),
        pytest.param("0,00", "1.000", "1000,00", (0, 100_000, 100_000), id="a group, no decimals"),
        pytest.param("0.00", "1,000.50", "1,000.50", (0, 100_050, 100_050), id="English groups"),
        pytest.param("0,00", "1'000,50", "1000,50", (0, 100_050, 100_050), id="Swiss groups"),
        pytest.param("0,00", "1.500", "1,50", (0, 150, 150), id="a decimal too many"),
        pytest.param("0,00", ".50", ",50", (0, 50, 50), id="no digit before the mark"),
    ],
)
def test_the_marks_with_which_the_balances_agree_are_right(opening, amount, closing, minor):
    read = only(file(opening, amount, closing))

    assert amounts(read) == minor
    assert not read.is_held
    assert len(read.notes) == 1


def test_an_amount_may_begin_with_its_comma():
    read = only(file("0,50", ",50", "1,00"))

    assert amounts(read) == (50, 50, 100)
    assert not read.is_held
    assert read.notes == ()


def test_two_styles_that_both_agree_prove_nothing():
    with pytest.raises(BadAmount, match="line 5"):
        only(file("1.000", "1.000", "2.000"))


@pytest.mark.parametrize(
    ("opening", "amount", "closing"),
    [("0,00", "52.58", "52,59"), ("0,00", "1.00.00", "100,00")],
)
def test_marks_that_the_balances_do_not_prove_hold_the_statement(opening, amount, closing):
    read = only(file(opening, amount, closing))

    assert reasons(read) == ["row_not_read", "balance_mismatch"]
    assert len(read.entries) == 0


def test_without_balances_no_other_marks_are_read():
    with pytest.raises(BadAmount):
        only(mt940(":61:2601310131C52.58NTRFNONREF", closing=""))


def test_an_interim_report_proves_its_marks_by_the_totals_of_both_sides():
    report = mt940(
        ":61:2601310131C52.58NTRFNONREF",
        opening=":34F:EUR0,00",
        closing=":90D:0EUR0.00\r\n:90C:1EUR52.58",
    )

    assert only(report).entries[0].amount_minor == 5258


def test_each_statement_of_a_file_is_proven_by_its_own_balances():
    good, unproven = file("0.00", "52.58", "52.58"), file("0,00", "7.10", "9,00")

    read = read_statements((good + unproven + file("0,00", "3,00", "3,00")).encode())

    assert [reasons(statement) for statement in read] == [
        [],
        ["row_not_read", "balance_mismatch"],
        [],
    ]
    assert [len(statement.entries) for statement in read] == [1, 0, 1]


def test_a_line_that_can_not_be_read_holds_and_its_text_goes_to_no_other_line():
    read = only(
        mt940(
            ":61:2601310131C4,00NTRFNONREF",
            ":86:first",
            ":61:hello",
            ":86:of the lost one",
            ":61:2601310131C5,00NTRFNONREF",
        )
    )

    assert [read_entry.amount_minor for read_entry in read.entries] == [400, 500]
    assert [read_entry.only_detail.remittance for read_entry in read.entries] == [("first",), ()]
    not_read, mismatch = read.holds
    assert (not_read.reason, mismatch.difference_minor) == ("row_not_read", -100)
    assert ":61:" in not_read.says
    assert "line 7" in not_read.says


def test_a_style_in_which_statements_end_elsewhere_is_no_reading_of_the_file():
    # Without :20:, a second statement begins where the first one's closing balance was read.
    second = ":28C:2/1\r\n:60F:C260131EUR10,00\r\n:62F:C260131EUR10,00"
    first = file("0,00", "10.00.0", "10,00").removesuffix("-\r\n")

    read = read_statements(f"{first}{second}\r\n-\r\n".encode())

    assert [statement.sequence for statement in read] == ["1", "2"]
    assert reasons(read[0]) == ["row_not_read", "balance_mismatch"]
