"""References and invoice numbers with zeros that a bank added or left out are still ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.statements.references import without_zeros
from tests.billing.bank.matching.given import decide, incoming, invoice, rf

BODY = "0000000001"
SPELLINGS = [
    pytest.param("RF74 1", id="stripped, with a blank"),
    pytest.param("RF741", id="stripped"),
    pytest.param("rf74 1", id="in lower case"),
    pytest.param("RF 74 1", id="with a blank behind RF"),
    pytest.param("RF74 0001", id="some zeros left out"),
    pytest.param("RF74" + "0" * 20 + "1", id="padded to 25 characters"),
    pytest.param("RF74 0000 0000 0000 0000 0000 1", id="padded, in groups of four"),
    pytest.param("RF74-1", id="with a hyphen"),
]


@pytest.mark.parametrize("written", SPELLINGS)
def test_a_bank_may_add_or_leave_out_zeros_in_the_text(written):
    decision = decide(incoming(8900, f"Invoice {written} March"), invoice(1))

    assert (decision.rule, decision.parts) == ("A2", ((1, 8900),))


@pytest.mark.parametrize("written", [one for one in SPELLINGS if one.id != "with a hyphen"])
def test_a_bank_may_add_or_leave_out_zeros_in_the_structured_field(written):
    decision = decide(incoming(8900, ref=written), invoice(1))

    assert (decision.rule, decision.parts) == ("A1", ((1, 8900),))


@given(st.integers(1, 10**10 - 1), st.integers(0, 21), st.booleans())
def test_every_reference_is_ours_with_any_number_of_zeros(number, width, is_structured):
    written = rf(number)[:4] + str(number).rjust(width, "0")
    transfer = incoming(8900, ref=written) if is_structured else incoming(8900, f"for {written}.")

    assert decide(transfer, invoice(number)).parts == ((number, 8900),)


@pytest.mark.parametrize("amount", [5000, 9000])
def test_a_stripped_reference_beside_its_own_text_is_no_foreign_one(amount):
    decision = decide(incoming(amount, "RF74 1", "RF741MARCH"), invoice(1))

    assert decision.outcome == "settle"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("RF75 1", id="wrong check digits"),
        pytest.param("RF74 0", id="no number"),
        pytest.param("RF74", id="check digits alone"),
        pytest.param("RF74 2", id="another number"),
        pytest.param("SURF74 1", id="a letter before it"),
        pytest.param("RF74 1A", id="a letter behind it"),
        pytest.param("RF74" + "0" * 21 + "1", id="more than 25 characters"),
    ],
)
def test_what_is_no_spelling_of_our_reference_never_settles(text):
    assert decide(incoming(8900, text), invoice(1), invoice(2)).outcome == "suggest"


def _longer_than(number):
    """Another number in groups of four whose reference begins with this one's."""
    return next(
        number * 10**4 + more
        for more in range(1, 10**4)
        if rf(number * 10**4 + more)[:4] == rf(number)[:4]
    )


def test_the_beginning_of_a_longer_valid_reference_is_not_the_shorter_one():
    longer = str(_longer_than(1234))
    text = f"{rf(1234)[:4]} {longer[:4]} {longer[4:]}"

    assert decide(incoming(8900, text), invoice(1234)).outcome == "suggest"
    both = decide(incoming(8900, text), invoice(1234), invoice(int(longer)))
    assert both.parts == ((int(longer), 8900),)


def test_the_exact_reference_wins_over_a_longer_valid_one():
    more = _longer_than(1) - 10**4

    assert decide(incoming(8900, f"{rf(1)} {more:04d}"), invoice(1)).rule == "A2"


def test_digits_behind_a_stripped_reference_do_not_hide_it():
    assert decide(incoming(8900, "RF74 1 2026 03"), invoice(1)).rule == "A2"


def test_a_slip_in_a_stripped_reference_is_shown_with_its_invoice():
    decision = decide(incoming(777, "RF75 1"), invoice(1))

    assert decision.candidates[0].parts == ((1, 777),)
    assert "wrong check digits" in decision.candidates[0].why


@pytest.mark.parametrize(
    "text",
    ["BT-2026-000001", "BT-2026-1", "bt 2026 1", "BT/2026/0001", "BT2026000001", "for BT-2026-01."],
)
def test_the_number_of_an_invoice_is_a_suggestion_with_any_zeros(text):
    decision = decide(incoming(500, text), invoice(1), invoice(2))

    assert [candidate.parts for candidate in decision.candidates] == [((1, 500),)]
    assert "names invoice BT-2026-000001" in decision.candidates[0].why


@pytest.mark.parametrize("closed", [{"state": "paid"}, {"currency": "USD"}], ids=str)
def test_the_number_of_an_invoice_that_this_money_can_not_pay_is_no_suggestion(closed):
    assert decide(incoming(500, "BT-2026-000001"), invoice(1, **closed)).candidates == ()


@pytest.mark.parametrize("text", ["BT-2026-10", "BT-2026-100000", "BT-202-61", "2026-1"])
def test_zeros_behind_a_number_make_another_number(text):
    assert decide(incoming(500, text), invoice(1)).candidates == ()


def test_a_plain_reference_has_no_zeros_in_front_and_keeps_those_behind():
    assert (without_zeros("RF74" + BODY), without_zeros(rf(10))) == ("RF741", rf(10)[:4] + "10")
