"""Words of returned money go to review; a code or a sentence that denies it does not."""

import pytest

from tests.billing.bank.matching.given import decide, incoming, invoice, rf


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("?REJECT?0", id="the code of Swiss banks"),
        pytest.param("?REJECT?0 ?ERROR?000", id="and their code of no error"),
        pytest.param("REJECT CODE: 00", id="a code of zeros"),
        pytest.param("Return-Code=000", id="a code behind a sign"),
        pytest.param("refund: none", id="none"),
        pytest.param("nothing rejected", id="nothing"),
        pytest.param("No refund", id="no"),
        pytest.param("not returned", id="not"),
        pytest.param("was not reversed", id="was not"),
        pytest.param("keine Rückgabe", id="in German"),
        pytest.param("pas de rejet", id="in French"),
    ],
)
def test_a_text_that_denies_a_return_settles(text):
    assert decide(incoming(8900, text, ref=rf(1)), invoice(1)).outcome == "settle"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("?REJECT?1", id="a corrected reference"),
        pytest.param("?REJECT?5", id="a mass reject"),
        pytest.param("REJECT CODE: 05", id="a code that is not zero"),
        pytest.param("rejected 0.50", id="an amount"),
        pytest.param("RETURN 0000 0000 01", id="a number in groups"),
        pytest.param("return", id="the word alone"),
        pytest.param("?REJECT?0 returned", id="a denial and a return"),
        pytest.param("no reference, returned", id="a denial of something else"),
    ],
)
def test_a_text_that_speaks_of_a_return_is_asked_about(text):
    decision = decide(incoming(8900, text, ref=rf(1)), invoice(1))

    assert decision.outcome == "suggest"
    assert "speaks of a return" in decision.vetoes[0]


def test_lines_of_codes_do_not_run_into_a_reference():
    decision = decide(incoming(8900, "RF74 1", "?REJECT?0", "?ERROR?000"), invoice(1))

    assert (decision.rule, decision.outcome) == ("A2", "settle")
