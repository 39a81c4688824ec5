"""Matching: automatic payments, and suggestions for a reviewer with their reasons."""

import datetime as dt
from dataclasses import replace

import pytest

from billing.bank.matching.open_items import by_likeness
from billing.bank.matching.rules import RULES, match
from billing.bank.matching.types import AUTOMATIC, EarlierTransfer, MatchingPolicy, PayerHistory
from tests.billing.bank.matching.given import (
    DAY,
    PAYER,
    decide,
    incoming,
    invoice,
    open_items,
    rf,
)


@pytest.mark.parametrize(
    ("transfer", "rule", "parts", "surplus"),
    [
        pytest.param(incoming(8900, ref=rf(1)), "A1", [(1, 8900)], 0, id="structured, exact"),
        pytest.param(incoming(8900, ref=rf(1).lower()), "A1", [(1, 8900)], 0, id="in lower case"),
        pytest.param(
            incoming(8900, ref=f"{rf(1)[:5]}\u200b{rf(1)[5:]}"),
            "A1",
            [(1, 8900)],
            0,
            id="zero-width",
        ),
        pytest.param(incoming(8900, f"Invoice {rf(1)}"), "A2", [(1, 8900)], 0, id="in text, exact"),
        pytest.param(incoming(5000, ref=rf(1)), "A3", [(1, 5000)], 0, id="in part"),
        pytest.param(incoming(1, ref=rf(1)), "A3", [(1, 1)], 0, id="one cent"),
        pytest.param(incoming(9000, ref=rf(1)), "A4", [(1, 8900)], 100, id="too much"),
        pytest.param(
            incoming(8900 + 13900, f"{rf(1)} {rf(2)}"), "A5", [(1, 8900), (2, 13900)], 0, id="two"
        ),
    ],
)
def test_a_transfer_with_our_reference_settles_automatically(transfer, rule, parts, surplus):
    decision = decide(transfer, invoice(1, account=7), invoice(2, 13900, account=7))

    assert (decision.outcome, decision.rule) == ("settle", rule)
    assert (list(decision.parts), decision.surplus_minor) == (parts, surplus)


GROUPED = " ".join([rf(1)[at : at + 4] for at in range(0, 14, 4)])


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([GROUPED], id="in groups of four"),
        pytest.param([GROUPED.lower()], id="in lower case"),
        pytest.param([f"for {rf(1)[:9]}", rf(1)[9:]], id="broken by the end of a line"),
        pytest.param([f"Invoice:{rf(1)}."], id="between signs"),
        pytest.param(
            [f"\u200b{rf(1)[:5]}\u200b{rf(1)[5:]}"], id="with zero-width characters in it"
        ),
        pytest.param([f"Invoice\t{rf(1)}"], id="behind a tab"),
        pytest.param([f"Invoice\u00a0{rf(1)}"], id="behind a blank that does not break"),
        pytest.param([f"\u202e{rf(1)}\u202c"], id="with marks of direction"),
        pytest.param(["".join(chr(ord(c) + 0xFEE0) for c in rf(1))], id="in full-width letters"),
    ],
)
def test_a_reference_is_found_however_it_is_written(lines):
    assert decide(incoming(8900, *lines), invoice(1)).rule == "A2"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"X{rf(1)}", id="a letter before it"),
        pytest.param(f"{rf(1)}5", id="a digit behind it"),
        pytest.param(rf(1)[2:], id="without its RF"),
        pytest.param(rf(1)[:-1], id="one digit short"),
        pytest.param(f"{rf(1)[:-1]}{(int(rf(1)[-1]) + 1) % 10}", id="one digit wrong"),
        pytest.param(rf(1).replace("0", "O"), id="the letter O for zero"),
        pytest.param("NOTPROVIDED", id="a placeholder"),
        pytest.param("BT-2026-000001", id="the invoice's number alone"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_text_without_our_whole_reference_never_settles(text):
    assert decide(incoming(8900, text), invoice(1)).outcome not in AUTOMATIC


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{rf(1)[:-1]}{(int(rf(1)[-1]) + 1) % 10}", id="one digit wrong"),
        pytest.param(f"{rf(1)[:12]}{rf(1)[13]}{rf(1)[12]}", id="two digits swapped"),
        pytest.param(rf(12345).replace("1", "I"), id="I for 1"),
    ],
)
def test_a_mistyped_reference_is_shown_with_its_likely_invoices(text):
    decision = decide(incoming(777, text), invoice(1), invoice(12345), invoice(2))

    assert "wrong check digits" in decision.candidates[0].why
    assert decision.candidates[0].parts[0][0] in {1, 12345}


def test_the_number_of_an_invoice_is_a_suggestion_and_no_prefix_of_another_counts():
    short = replace(invoice(1), number="BT-1")
    long = replace(invoice(2), number="BT-12")

    decision = decide(incoming(500, "pays BT-12"), short, long)

    assert [one.parts[0][0] for one in decision.candidates] == [2]


@pytest.mark.parametrize("state", ["paid", "void", "refunded"])
def test_the_reference_of_a_closed_invoice_is_credit_and_never_pays_another(state):
    decision = decide(
        incoming(8900, ref=rf(1)), invoice(1, account=7, state=state), invoice(2, account=7)
    )

    assert (decision.rule, decision.outcome, decision.account_id) == ("D", "credit", 7)
    assert (decision.parts, decision.surplus_minor) == ((), 8900)
    assert decision.review


VETOES = [
    pytest.param(
        {"payers": {PAYER: {9: PayerHistory(confirmed=1)}}}, {}, "known to pay", id="payer"
    ),
    pytest.param({}, {"virtual_owner": 9}, "virtual IBAN", id="another's virtual IBAN"),
    pytest.param({}, {"currency": "USD"}, "is in EUR", id="another currency"),
    pytest.param({}, {"doubts": ("the statement is held",)}, "held", id="a held statement"),
    pytest.param({}, {"receiving": "CH4431999123000889012"}, "go with the account", id="a QR-IBAN"),
    pytest.param({}, {"kind": "QRR"}, "marked QRR", id="a type that disagrees"),
]


@pytest.mark.parametrize(("more", "changed", "word"), VETOES)
@pytest.mark.parametrize("amount", [8900, 5000, 9900])
def test_a_veto_turns_a_settlement_into_a_suggestion(more, changed, word, amount):
    decision = decide(incoming(amount, ref=rf(1), **changed), invoice(1), **more)

    assert decision.outcome == "suggest"
    assert word in " ".join(decision.vetoes)
    assert decision.candidates[0].parts[0][0] == 1


@pytest.mark.parametrize(
    "text",
    [
        "RETURN of",
        "Rücklastschrift",
        "refund",
        "STORNO",
        "Rueckueberweisung",
        "devolución",
        "rejet",
    ],
)
def test_a_text_that_speaks_of_a_return_goes_to_review(text):
    decision = decide(incoming(8900, f"{text} {rf(1)}"), invoice(1))

    assert decision.outcome == "suggest"


def test_a_contested_invoice_goes_to_review():
    decision = decide(incoming(8900, ref=rf(1)), replace(invoice(1), is_contested=True))

    assert "dispute" in decision.vetoes[0]


@pytest.mark.parametrize(("limit", "outcome"), [(8899, "suggest"), (8900, "settle")])
def test_an_amount_above_the_limit_goes_to_review(limit, outcome):
    policy = MatchingPolicy(auto_limit_minor=limit)

    assert decide(incoming(8900, ref=rf(1)), invoice(1), policy=policy).outcome == outcome


def test_references_of_two_customers_go_to_review():
    decision = decide(incoming(17800, f"{rf(1)} {rf(2)}"), invoice(1), invoice(2))

    assert decision.outcome == "suggest"
    assert "different customers" in decision.vetoes[0]
    assert len(decision.candidates) == 2


def test_several_references_with_another_sum_go_to_review():
    decision = decide(
        incoming(20000, f"{rf(1)} {rf(2)}"), invoice(1, account=7), invoice(2, account=7)
    )

    assert (decision.rule, decision.outcome) == ("S3", "suggest")


@pytest.mark.parametrize("at", range(5, 14))
def test_a_reference_that_a_line_breaks_is_no_second_one_beside_a_part(at):
    transfer = incoming(5000, f"for {rf(12345)[:at]}", rf(12345)[at:])

    assert decide(transfer, invoice(12345)).outcome == "settle"


WRONG = "RF00 9999 9999 99"


@pytest.mark.parametrize(
    "transfer",
    [
        pytest.param(incoming(5000, f"{rf(1)} {rf(999)}"), id="in the text"),
        pytest.param(incoming(5000, f"{rf(1)} {WRONG}"), id="with wrong check digits"),
        pytest.param(incoming(5000, rf(1), ref=rf(999)), id="in the structured field"),
        pytest.param(incoming(9000, rf(1), ref=rf(999)), id="and more than is open"),
    ],
)
def test_part_of_an_invoice_with_a_reference_that_is_not_ours_beside_it_goes_to_review(transfer):
    decision = decide(transfer, invoice(1))

    assert decision.outcome == "suggest"
    assert ["not ours" in veto for veto in decision.vetoes] == [True]


@pytest.mark.parametrize("other", ["+++090/9337/55493+++", "210000000003139471430009017"])
def test_a_number_of_another_scheme_beside_a_part_is_no_veto(other):
    assert decide(incoming(5000, f"{rf(1)} {other}"), invoice(1)).outcome == "settle"


@pytest.mark.parametrize("field", ["NOTPROVIDED", "our invoice", ""])
def test_a_structured_field_without_a_reference_leaves_the_text(field):
    assert decide(incoming(8900, rf(1), ref=[field]), invoice(1)).rule == "A2"


def test_a_suggestion_keeps_its_candidates_and_gets_its_vetoes():
    plain = decide(incoming(8900), invoice(1))
    decision = decide(incoming(8900, "refund"), invoice(1))

    assert (decision.rule, decision.review) == ("S4", plain.review)
    assert decision.candidates == plain.candidates
    assert len(decision.vetoes) == 1


def test_a_veto_against_credit_leaves_no_empty_candidate():
    decision = decide(incoming(8900, "refund", ref=rf(1)), invoice(1, state="paid"))

    assert (decision.rule, decision.outcome, decision.candidates) == ("D", "suggest", ())


def test_of_several_customers_invoices_a_closed_one_is_no_candidate():
    decision = decide(incoming(8900, f"{rf(1)} {rf(2)}"), invoice(1, state="paid"), invoice(2))

    assert [one.parts for one in decision.candidates] == [((2, 8900),)]


def test_a_closed_invoice_among_several_named_ones_goes_to_review():
    decision = decide(
        incoming(8900, f"{rf(1)} {rf(2)}"),
        invoice(1, account=7, state="paid"),
        invoice(2, account=7),
    )

    assert (decision.rule, decision.outcome) == ("S3", "suggest")


def test_a_decision_says_where_the_reference_stands_and_what_is_too_much():
    structured = decide(incoming(9000, ref=rf(1)), invoice(1))
    in_text = decide(incoming(8900, rf(1)), invoice(1))

    assert structured.reasons == (f"{rf(1)} is named in the structured field",)
    assert structured.review == "100 more than was open: kept as the customer's credit"
    assert (in_text.reasons, in_text.review) == ((f"{rf(1)} is named in the text",), None)


def test_a_reference_that_is_not_ours_beside_the_exact_amount_is_no_veto():
    assert decide(incoming(8900, f"{rf(1)} {rf(999)}"), invoice(1)).outcome == "settle"


def test_a_contested_invoice_is_not_paid_without_a_reference_either():
    contested = replace(invoice(1, account=7), is_contested=True)

    decision = decide(incoming(8900, virtual_owner=7), contested)

    assert (decision.rule, decision.outcome) == ("S2", "suggest")
    assert "dispute" in decision.vetoes[0]


def test_the_account_that_the_amount_points_to_is_one_for_which_the_payer_paid():
    history = PayerHistory(matched=1)
    known = {"payers": {PAYER: dict.fromkeys((1, 3, 4), history)}}

    decision = decide(
        incoming(13900, ref=rf(1)), invoice(1), *[invoice(id, 13900) for id in (2, 3, 4)], **known
    )

    assert "open of account 3" in decision.vetoes[0]


@pytest.mark.parametrize(
    ("name", "outcome"), [("A B C D", "settle"), ("A B X D", "suggest")], ids=["60 %", "33 %"]
)
def test_names_that_share_three_words_of_five_are_the_same(name, outcome):
    named = invoice(1, 20000, names=("A B C E",))
    transfer = incoming(13900, ref=rf(1), payer_name=name)

    assert decide(transfer, named, invoice(2, 13900)).outcome == outcome


def _sent(days, amount=8900, payer=PAYER):
    seen = EarlierTransfer(payer, amount, "EUR", frozenset({1}), DAY - dt.timedelta(days=days))
    return by_likeness([seen])


@pytest.mark.parametrize(
    ("days", "outcome"), [(0, "suggest"), (10, "suggest"), (11, "settle")], ids=str
)
def test_the_same_sent_again_within_ten_days_is_perhaps_sent_twice(days, outcome):
    again = invoice(1, due=17800)

    assert decide(incoming(8900, ref=rf(1)), again, earlier=_sent(days)).outcome == outcome


def test_an_unnamed_payer_may_be_the_earlier_unnamed_payer():
    unnamed = incoming(8900, ref=rf(1), payer_iban=None)

    decision = decide(unnamed, invoice(1, due=17800), earlier=_sent(3, payer=None))

    assert decision.outcome == "suggest"
    assert "within 10 days" in decision.vetoes[0]


def test_two_transfers_that_could_settle_one_invoice_both_go_to_review():
    balance = open_items(invoice(1), invoice(2))
    both = [
        incoming(8900, ref=rf(1), id=1),
        incoming(8900, ref=rf(1), id=2, payer_iban="DE02100100100006820101"),
        incoming(8900, ref=rf(2), id=3, payer_iban="DE02100100100006820101"),
    ]

    decisions = match(both, balance, MatchingPolicy())

    assert [one.outcome for one in decisions] == ["suggest", "suggest", "settle"]
    assert "2 transfers" in decisions[0].review


def test_two_parts_that_fit_into_one_invoice_both_settle():
    parts = [incoming(5000, ref=rf(1), id=1), incoming(3900, ref=rf(1), id=2)]

    decisions = match(parts, open_items(invoice(1)), MatchingPolicy())

    assert [one.outcome for one in decisions] == ["settle", "settle"]


def test_the_second_of_two_equal_parts_of_one_payer_within_days_is_perhaps_sent_twice():
    parts = [incoming(4000, ref=rf(1), id=1), incoming(4000, ref=rf(1), id=2)]

    decisions = match(parts, open_items(invoice(1)), MatchingPolicy())

    assert [one.outcome for one in decisions] == ["settle", "suggest"]


KNOWN = {"payers": {PAYER: {7: PayerHistory(confirmed=3)}}}


def test_a_known_payer_with_one_open_invoice_of_the_amount_is_a_good_suggestion():
    decision = decide(incoming(8900), invoice(1, account=7), invoice(2, account=8), **KNOWN)

    assert (decision.rule, decision.outcome) == ("S1", "suggest")
    assert decision.candidates[0].parts == ((1, 8900),)


@pytest.mark.parametrize(
    ("trust", "outcome"),
    [
        (PayerHistory(confirmed=3), "settle"),
        (PayerHistory(confirmed=2), "suggest"),
        (PayerHistory(matched=9), "suggest"),
        (PayerHistory(confirmed=9, declined=1), "suggest"),
    ],
    ids=str,
)
def test_a_policy_may_trust_a_payer_whom_reviewers_confirmed_often_enough(trust, outcome):
    policy = MatchingPolicy(trust_after=3)

    decision = decide(
        incoming(8900), invoice(1, account=7), policy=policy, payers={PAYER: {7: trust}}
    )

    assert (decision.rule, decision.outcome) == ("S1", outcome)
    assert ("reviewers confirmed it 3 times" in decision.reasons[0]) == (outcome == "settle")


@pytest.mark.parametrize(
    ("transfer", "others"),
    [
        pytest.param(incoming(8900), [invoice(2, account=7)], id="two of the amount"),
        pytest.param(
            incoming(8900), [invoice(2, 8000, account=7), invoice(3, 900, account=7)], id="a set"
        ),
        pytest.param(incoming(8900, rf(999)), [], id="a reference that is not ours"),
        pytest.param(incoming(8900, "RF00 9999 9999 99"), [], id="a mistyped one"),
        pytest.param(incoming(8900, "BT-2026-2"), [invoice(2, 500)], id="another invoice's number"),
    ],
)
def test_a_known_payer_is_not_trusted_where_anything_else_could_be_meant(transfer, others):
    decision = decide(
        transfer, invoice(1, account=7), *others, policy=MatchingPolicy(trust_after=1), **KNOWN
    )

    assert decision.outcome == "suggest"


def test_closed_invoices_of_a_known_payer_are_no_part_of_a_sum():
    closed = [invoice(id, account=7, state="paid") for id in (2, 3)]

    decision = decide(incoming(8900), invoice(1, account=7), *closed, **KNOWN)

    assert (decision.rule, decision.candidates[0].parts) == ("S1", ((1, 8900),))


@pytest.mark.parametrize(
    ("text", "invoices", "rule"),
    [
        pytest.param("", [invoice(2)], "S4", id="nothing of the payer's, but another's"),
        pytest.param(
            "", [invoice(1, 4450, account=7), invoice(2, 4450, account=7)], "S3", id="a sum"
        ),
        pytest.param("RF00 9999 9999 99", [invoice(1, account=7)], "S4", id="a mistyped reference"),
    ],
)
def test_the_rule_of_a_suggestion_for_a_known_payer(text, invoices, rule):
    assert decide(incoming(8900, text), *invoices, **KNOWN).rule == rule


def test_a_payer_known_for_two_customers_never_settles_by_itself():
    known = {"payers": {PAYER: {7: PayerHistory(confirmed=1), 8: PayerHistory(confirmed=1)}}}

    decision = decide(
        incoming(8900), invoice(1, account=7), policy=MatchingPolicy(trust_after=1), **known
    )

    assert (decision.rule, decision.outcome) == ("S4", "suggest")


def test_a_virtual_iban_proves_the_customer():
    one = decide(incoming(8900, virtual_owner=7), invoice(1, account=7), invoice(2, 500, account=7))
    two = decide(incoming(8900, virtual_owner=7), invoice(1, account=7), invoice(2, account=7))

    assert (one.rule, one.outcome, one.parts) == ("S2", "settle", ((1, 8900),))
    assert (two.rule, two.outcome, two.account_id) == ("S2", "credit", 7)
    assert two.review


def test_sets_that_add_up_are_all_listed():
    invoices = [invoice(id, due, account=7) for id, due in ((1, 100), (2, 200), (3, 300), (4, 400))]

    decision = decide(incoming(500), *invoices, **KNOWN)

    assert decision.rule == "S3"
    sets = {tuple(id for id, _ in one.parts) for one in decision.candidates}
    assert sets == {(1, 4), (2, 3)}
    assert all("one of 2 sets" in one.why for one in decision.candidates)


def test_a_list_of_sets_that_may_be_incomplete_says_so():
    few = decide(incoming(200), *[invoice(id, 100, account=7) for id in (1, 2, 3)], **KNOWN)
    many = decide(incoming(200), *[invoice(id, 100, account=7) for id in range(1, 9)], **KNOWN)

    assert few.candidates[0].why == "one of 3 sets of account 7's open invoices that add up"
    assert "one of 10 sets, and there may be more" in many.candidates[0].why


def test_two_hundred_open_invoices_of_one_customer_do_not_blow_up():
    invoices = [invoice(id, 100 + id, account=7) for id in range(1, 201)]

    decision = decide(incoming(100_000), *invoices, **KNOWN)

    assert decision.outcome in {"suggest", "none"}


def test_the_amount_alone_is_a_suggestion_ranked_by_name():
    invoices = [invoice(id, names=(f"Customer {id}",)) for id in range(1, 50)]
    invoices.append(invoice(77, names=("Schmidt, Anna", "anna@example.com")))

    decision = decide(incoming(8900), *invoices)

    assert (decision.rule, decision.outcome) == ("S4", "suggest")
    assert decision.candidates[0].parts == ((77, 8900),)


def test_ten_thousand_invoices_of_one_price_are_searched_by_word():
    invoices = [invoice(id, names=(f"Customer{id}",)) for id in range(1, 10_001)]

    decision = decide(incoming(8900, payer_name="Customer9123 GmbH"), *invoices)

    assert decision.candidates[0].parts == ((9123, 8900),)


def test_the_one_with_most_words_is_found_among_many_that_share_one():
    invoices = [invoice(id, names=(f"Anna {id}",)) for id in range(1, 500)]
    invoices.append(invoice(500, names=("Anna Schmidt",)))

    for transfer in (incoming(8900), incoming(8900, "Anna Schmidt", payer_name="Nord")):
        assert decide(transfer, *invoices).candidates[0].parts == ((500, 8900),)


def test_a_transfer_unlike_any_invoice_is_unmatched():
    decision = decide(incoming(12345, "thank you"), invoice(1))

    assert (decision.rule, decision.outcome, decision.candidates) == ("X", "none", ())


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "'; DROP TABLE transfers; --",
        "{0.__class__}",
        "%s%n",
        "\x1b[31m",
    ],
)
def test_a_payers_name_is_text_and_nothing_more(name):
    assert decide(incoming(8900, name, payer_name=name), invoice(1)).outcome == "suggest"


def test_every_rule_has_its_words():
    assert set(RULES) == {"A1", "A2", "A3", "A4", "A5", "A6", "S1", "S2", "S3", "S4", "D", "X"}


def test_a_name_that_is_plainly_another_customers_goes_to_review():
    named = invoice(1, names=("Bo Brandt",))
    other = invoice(2, names=("Anna Schmidt GmbH",))

    decision = decide(incoming(8900, ref=rf(1)), named, other)

    assert "the payer's name is that of account 2" in decision.vetoes[0]


@pytest.mark.parametrize(
    ("payer", "others"),
    [
        pytest.param("A B C D", ["A B C E"], id="three words of five"),
        pytest.param("Anna M. Schmidt", ["Anna Schmidt"], id="a middle name that nobody bears"),
        pytest.param("Anna Maria Schmidt", ["Anna Schmidt", "Maria"], id="one that another bears"),
        pytest.param("Anna Schmidt", ["Anna Schmidt"] * 60, id="a name that many bear"),
    ],
)
def test_a_name_with_one_word_more_or_less_is_still_another_customers(payer, others):
    invoices = [invoice(id, names=(name,)) for id, name in enumerate(others, start=2)]

    decision = decide(incoming(8900, ref=rf(1), payer_name=payer), invoice(1), *invoices)

    assert decision.outcome == "suggest"
    assert "the payer's name is that of account 2" in decision.vetoes[0]


@pytest.mark.parametrize("name", ["Bo Brandt", "Somebody Else", None])
def test_a_name_that_is_no_other_customers_is_no_veto(name):
    named = invoice(1, names=("Bo Brandt",))

    decision = decide(incoming(8900, ref=rf(1), payer_name=name), named, invoice(2, names=("X Y",)))

    assert decision.rule == "A1"
    assert decision.outcome in AUTOMATIC


def test_an_amount_that_is_just_what_another_customer_of_the_payer_owes_goes_to_review():
    known = {"payers": {PAYER: {1: PayerHistory(matched=1), 2: PayerHistory(matched=1)}}}

    decision = decide(incoming(13900, ref=rf(1)), invoice(1), invoice(2, 13900), **known)

    assert (decision.rule, decision.outcome) == ("A4", "suggest")
    assert "just what is open of account 2, for which this payer paid" in decision.vetoes[0]


def test_money_that_does_not_fit_from_a_payer_who_pays_for_others_too_goes_to_review():
    known = {"payers": {PAYER: {1: PayerHistory(matched=1), 2: PayerHistory(matched=1)}}}

    decision = decide(incoming(9000, ref=rf(1)), invoice(1), invoice(2, 13900), **known)

    assert (decision.rule, decision.outcome) == ("A4", "suggest")
    assert "pays for account 2 too" in decision.vetoes[0]


@pytest.mark.parametrize(
    ("named", "rule"),
    [
        pytest.param(invoice(1, 20000), "A3", id="less than is open"),
        pytest.param(invoice(1, 8900), "A4", id="more than is open"),
        pytest.param(invoice(1, 8900, state="paid"), "D", id="an invoice that is paid"),
    ],
)
def test_where_only_the_reference_points_to_a_customer_and_the_amount_to_others_a_reviewer_decides(
    named, rule
):
    accountant = incoming(13900, ref=rf(1), payer_name="Steuerkanzlei Nord")

    decision = decide(accountant, named, invoice(2, 13900))

    assert (decision.rule, decision.outcome) == (rule, "suggest")
    assert "other customers owe" in decision.vetoes[0]
    assert decide(accountant, named, invoice(2, 13800)).outcome in AUTOMATIC
    bearer = replace(named, names=("Steuerkanzlei Nord",))
    assert decide(accountant, bearer, invoice(2, 13900)).outcome in AUTOMATIC
