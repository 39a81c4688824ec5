"""A text that names another customer who owes just this amount goes to review, always."""

import pytest

from billing.bank.matching.types import AUTOMATIC, PayerHistory
from tests.billing.bank.matching.given import PAYER, decide, incoming, invoice, rf

BO = invoice(1, names=("Bo Brandt", "bo@example.com"))
ANNA = invoice(2, names=("Schmidt, Anna", "anna@example.com"))
ACCOUNTANT = {"payer_name": "Steuerkanzlei Nord"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("for Anna Schmidt", id="as written"),
        pytest.param("SCHMIDT ANNA MARCH", id="the other way round, in capitals"),
        pytest.param("Anna M. Schmidt", id="with a middle name"),
        pytest.param("client:anna/schmidt", id="between signs"),
    ],
)
@pytest.mark.parametrize("where", ["structured", "text"])
def test_an_accountant_who_names_another_customer_is_asked_about(text, where):
    ref = rf(1) if where == "structured" else None
    texts = (text,) if ref else (text, rf(1))

    decision = decide(incoming(8900, *texts, ref=ref, **ACCOUNTANT), BO, ANNA)

    assert (decision.rule, decision.outcome) == ("A1" if ref else "A2", "suggest")
    assert "the text names account 2" in decision.vetoes[0]


def test_a_name_that_a_line_breaks_is_read():
    transfer = incoming(8900, "for Anna Schm", "idt", ref=rf(1), **ACCOUNTANT)

    assert decide(transfer, BO, ANNA).outcome == "suggest"


def test_the_accountant_is_asked_about_though_it_is_known_for_the_customer():
    known = {"payers": {PAYER: {1: PayerHistory(matched=3)}}}
    transfer = incoming(8900, "for Anna Schmidt", ref=rf(1), **ACCOUNTANT)

    assert decide(transfer, BO, ANNA, **known).outcome == "suggest"


@pytest.mark.parametrize(
    ("amount", "rule"), [(13900, "A4"), (5000, "A3"), (8900, "D")], ids=["more", "less", "late"]
)
def test_every_way_to_pay_by_reference_is_asked_about(amount, rule):
    named = invoice(1, state="paid", names=BO.names) if rule == "D" else BO
    other = invoice(2, amount, names=ANNA.names)
    transfer = incoming(amount, "Anna Schmidt", ref=rf(1), payer_name="Bo Brandt")

    decision = decide(transfer, named, other)

    assert (decision.rule, decision.outcome) == (rule, "suggest")


@pytest.mark.parametrize(
    ("text", "others", "more"),
    [
        pytest.param("for Anna", [ANNA], {}, id="half a name"),
        pytest.param("for Anna Schmidtke", [ANNA], {}, id="a longer name"),
        pytest.param("Anna Schmidt", [invoice(2, 8800, names=ANNA.names)], {}, id="another amount"),
        pytest.param(
            "Anna Schmidt", [invoice(2, names=ANNA.names, currency="USD")], {}, id="a currency"
        ),
        pytest.param(
            "Anna Schmidt", [invoice(2, names=ANNA.names, state="paid")], {}, id="owes nothing"
        ),
        pytest.param(
            "Anna Schmidt", [invoice(2, account=1, names=ANNA.names)], {}, id="its own account"
        ),
        pytest.param(
            "Bo Brandt", [invoice(2, names=("Brandt",))], {}, id="the customer's own word"
        ),
        pytest.param(
            "Invoice March", [invoice(2, names=("Invoice",))], {}, id="a word of payments"
        ),
        pytest.param("to be paid", [invoice(2, names=("To GmbH",))], {}, id="a short word"),
        pytest.param("GmbH", [invoice(2, names=("GmbH",))], {}, id="no name but a legal form"),
        pytest.param("", [invoice(2, names=())], {}, id="a customer without a name"),
    ],
)
def test_no_other_word_of_the_text_is_a_veto(text, others, more):
    transfer = incoming(8900, text, ref=rf(1), **{**ACCOUNTANT, **more})

    assert decide(transfer, BO, *others).outcome in AUTOMATIC


def test_accents_and_umlauts_are_folded():
    other = invoice(2, names=("Núñez Müller",))
    transfer = incoming(8900, "NUNEZ MUELLER", ref=rf(1), **ACCOUNTANT)

    assert decide(transfer, BO, other).outcome == "suggest"


def test_a_payer_without_a_name_is_like_nobody():
    decision = decide(incoming(8900, payer_name=None), invoice(2, names=("GmbH",)))

    assert "the names share 0 %" in decision.candidates[0].why


def test_a_firm_with_one_word_as_its_name_is_named_by_it():
    firm = invoice(2, names=("Acme GmbH",))

    assert decide(incoming(8900, "Acme", ref=rf(1), **ACCOUNTANT), BO, firm).outcome == "suggest"


def test_the_payers_own_name_in_the_text_is_judged_as_the_payers_name():
    known = {"payers": {PAYER: {1: PayerHistory(matched=1)}}}
    transfer = incoming(8900, "from Anna Schmidt", ref=rf(1), payer_name="Anna Schmidt")

    assert decide(transfer, BO, ANNA, **known).outcome in AUTOMATIC
    assert "the payer's name is that of account 2" in decide(transfer, BO, ANNA).vetoes[0]


def test_without_a_reference_the_customer_that_the_text_names_comes_first():
    others = [invoice(id, names=(f"Customer {id}",)) for id in range(3, 40)]

    decision = decide(incoming(8900, "Anna Schmidt", **ACCOUNTANT), BO, *others, ANNA)

    assert decision.candidates[0].parts == ((2, 8900),)
    assert "the text names its customer" in decision.candidates[0].why
