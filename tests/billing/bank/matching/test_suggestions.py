"""Suggestions: what a known payer's customers owe comes first, and like invoices change nothing."""

import datetime as dt

import pytest

from billing.bank.matching import suggestions
from billing.bank.matching.types import PayerHistory
from tests.billing.bank.matching.given import DAY, PAYER, decide, incoming, invoice, open_items

ACCOUNTANT = {"payers": {PAYER: {7: PayerHistory(matched=1), 8: PayerHistory(confirmed=1)}}}


def parts(decision):
    return [candidate.parts for candidate in decision.candidates]


def test_a_payer_known_for_several_accounts_is_shown_their_invoices_first():
    strangers = [invoice(id, account=100 + id) for id in range(1, 30)]
    theirs = [invoice(31, account=7), invoice(32, account=8)]

    decision = decide(incoming(8900), *strangers, *theirs, **ACCOUNTANT)

    assert (decision.rule, decision.outcome) == ("S4", "suggest")
    assert parts(decision)[:2] == [((31, 8900),), ((32, 8900),)]


def test_a_payer_known_for_several_accounts_may_pay_for_both_at_once():
    theirs = [invoice(31, 8900, account=7), invoice(32, 13900, account=8)]

    decision = decide(incoming(22800), *theirs, invoice(1, 22800), **ACCOUNTANT)

    assert parts(decision) == [((31, 8900), (32, 13900)), ((1, 22800),)]
    assert "the payer's customers'" in decision.candidates[0].why


def test_the_customer_that_the_text_names_comes_before_the_payers_others():
    theirs = [
        invoice(31, account=7, names=("Bo Brandt",)),
        invoice(32, account=8, names=("Anna Schmidt",)),
    ]

    decision = decide(incoming(8900, "Anna Schmidt", payer_name="Nord"), *theirs, **ACCOUNTANT)

    assert parts(decision)[0] == ((32, 8900),)


def test_several_invoices_of_a_known_payer_come_before_those_of_others():
    theirs = [invoice(id, account=7) for id in (31, 32, 33, 34)]
    known = {"payers": {PAYER: {7: PayerHistory(matched=1)}}}

    strangers = [invoice(id, account=100 + id) for id in range(1, 30)]

    decision = decide(incoming(8900), *strangers, *theirs, **known)

    assert parts(decision)[:4] == [((id, 8900),) for id in (31, 32, 33, 34)]


def test_one_invoice_comes_before_a_sum_and_the_words_say_how_many_sets_there_are():
    known = {"payers": {PAYER: {7: PayerHistory(matched=1)}}}
    sums = [invoice(1, 4000, account=7), invoice(2, 4900, account=7)]

    only = decide(incoming(8900), *sums, **known).candidates
    both = decide(incoming(8900), *sums, invoice(3, account=7), **known).candidates

    assert [one.why for one in only] == ["the only set of account 7's open invoices that add up"]
    assert [one.parts[0][0] for one in both] == [3, 1]
    assert only[0].score > both[0].score > both[1].score > 40


def test_one_set_among_more_invoices_than_are_searched_may_not_be_the_only_one():
    known = {"payers": {PAYER: {7: PayerHistory(matched=1)}}}
    many = [invoice(id, 8000 + id, account=7) for id in range(1, 25)]

    decision = decide(incoming(8900), *many, invoice(30, account=7), **known)

    assert "one of 1 sets, and there may be more" in decision.candidates[0].why


def test_an_invoice_of_just_the_amount_is_never_cut_off_by_the_bounds():
    theirs = [invoice(id, 100, account=id, issued_on=dt.date(2026, 1, 1)) for id in range(1, 60)]
    payer = {"payers": {PAYER: {id: PayerHistory(matched=1) for id in range(1, 61)}}}

    decision = decide(incoming(8900), *theirs, invoice(60), **payer)

    assert parts(decision)[0] == ((60, 8900),)


def test_an_account_that_declined_the_payer_is_not_known_by_it():
    payers = {PAYER: {7: PayerHistory(declined=1), 8: PayerHistory(matched=1)}}

    decision = decide(incoming(8900), invoice(1, account=7), invoice(2, account=8), payers=payers)

    assert (decision.rule, parts(decision)[0]) == ("S1", ((2, 8900),))


@pytest.mark.parametrize("count", [6, 200, 201, 1_000])
def test_one_more_like_invoice_leaves_the_suggestions_as_they_are(count):
    alike = [invoice(id, issued_on=DAY - dt.timedelta(days=id % 50)) for id in range(1, count)]
    before = decide(incoming(8900), *alike)

    after = decide(incoming(8900), *alike, invoice(count, issued_on=DAY + dt.timedelta(days=1)))

    assert len(before.candidates) == suggestions.SHOWN
    assert after.candidates == before.candidates


def test_the_best_of_many_like_invoices_are_those_of_the_best_of_all():
    alike = [
        invoice(id, issued_on=DAY - dt.timedelta(days=id % 60 - 5), names=(f"Anna {id % 7}",))
        for id in range(1, 190)
    ]
    items, transfer = open_items(*alike), incoming(8900, payer_name="Nobody")
    everything = [suggestions.by_amount(transfer, open_items(each))[0] for each in alike]

    assert suggestions.ranked(suggestions.by_amount(transfer, items)) == suggestions.ranked(
        everything
    )


def test_an_invoice_of_the_usual_age_comes_before_older_and_newer_ones():
    ages = {1: 40, 2: 15, 3: 0, 4: -1, 5: 14}
    alike = [invoice(id, issued_on=DAY - dt.timedelta(days=age)) for id, age in ages.items()]

    decision = decide(incoming(8900), *alike)

    assert [part[0][0] for part in parts(decision)] == [2, 5, 3, 1, 4]
    assert [candidate.score for candidate in decision.candidates] == [40, 39, 25, 20, 20]


def test_a_partial_name_counts_and_the_best_score_is_bounded():
    usual = DAY - dt.timedelta(days=15)
    same = invoice(1, names=("Anna Schmidt",), issued_on=usual)
    half = invoice(1, names=("Anna",), issued_on=usual)

    assert decide(incoming(8900), same).candidates[0].score == 79
    assert decide(incoming(8900), half).candidates[0].score == 60
