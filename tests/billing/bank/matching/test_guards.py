"""Guards of matching, each alone: typing errors, currencies of sums, names, days and ranks."""

import datetime as dt

import pytest

from billing.bank.matching.open_items import DOUBLE_WITHIN, likeness
from billing.bank.matching.rules import match
from billing.bank.matching.types import EarlierTransfer, MatchingPolicy, PayerHistory
from billing.statements.references import creditor_reference as rf
from tests.billing.bank.matching.given import DAY, PAYER, decide, incoming, invoice, open_items

KNOWN = {"payers": {PAYER: {7: PayerHistory(matched=1)}}}
OWN = rf(1234567)


def typed(*, at, length=1, by=""):
    """Our reference with some characters replaced."""
    return OWN[:at] + by + OWN[at + length :]


def another(digit):
    return str((int(digit) + 1) % 10)


TYPING_ERRORS = {
    "a digit replaced": typed(at=9, by=another(OWN[9])),
    "a digit left out": typed(at=8),
    "a digit too many": typed(at=9, length=0, by="8"),
    "two digits swapped": typed(at=10, length=2, by=OWN[11] + OWN[10]),
    "the letter O for a zero": OWN.replace("0", "O"),
    "the letter I for a one": OWN.replace("1", "I"),
    "the letter L for a one": OWN.replace("1", "L"),
}


@pytest.mark.parametrize("text", TYPING_ERRORS.values(), ids=TYPING_ERRORS.keys())
def test_each_typing_error_leads_to_the_invoice_as_a_suggestion(text):
    decision = decide(incoming(8900, ref=text, payer_iban=None), invoice(1234567))

    assert decision.outcome == "suggest"
    best = decision.candidates[0]
    assert best.parts == ((1234567, 8900),)
    assert "one slip away" in best.why


def test_two_typing_errors_lead_nowhere():
    text = typed(at=8, length=3, by=another(OWN[8]) + OWN[9] + another(OWN[10]))

    decision = decide(incoming(8900, ref=text, payer_iban=None), invoice(1234567))

    assert not any("one slip away" in candidate.why for candidate in decision.candidates)


def test_a_standing_order_that_names_another_reference_too_goes_to_a_reviewer():
    names = ("Anna Schmidt",)
    first = invoice(1, account=7, state="paid", names=names)
    following = invoice(2, account=7, names=names)

    decision = decide(incoming(8900, "and RF18539007547034", ref=rf(1)), first, following, **KNOWN)

    assert (decision.rule, decision.outcome) == ("A6", "suggest")
    assert "RF18539007547034 is named too, and is not ours" in decision.vetoes


def test_an_invoice_in_another_currency_adds_up_to_nothing():
    euro, dollars = invoice(1, 5000, account=7), invoice(2, 3900, account=7, currency="USD")

    decision = decide(incoming(8900), euro, dollars, **KNOWN)

    assert (decision.rule, decision.candidates) == ("X", ())


def test_an_invoice_of_more_than_the_amount_is_in_no_sum():
    small, large = invoice(1, 8900, account=7), invoice(2, 9000, account=7)

    decision = decide(incoming(8900), small, large, **KNOWN)

    assert (decision.rule, decision.candidates[0].parts) == ("S1", ((1, 8900),))


@pytest.mark.parametrize(("count", "is_found"), [(5, True), (6, False)])
def test_a_sum_has_at_most_five_invoices(count, is_found):
    invoices = [invoice(number, 1000, account=7) for number in range(1, count + 1)]

    decision = decide(incoming(1000 * count), *invoices, **KNOWN)

    assert any(len(candidate.parts) == count for candidate in decision.candidates) is is_found


@pytest.mark.parametrize(
    ("days", "is_doubted"),
    [(10, True), (11, False), (-10, True), (-11, False), (0, True)],
)
def test_the_same_payment_within_ten_days_is_perhaps_one_sent_twice(days, is_doubted):
    assert DOUBLE_WITHIN.days == 10
    day = DAY - dt.timedelta(days=days)
    earlier = EarlierTransfer(PAYER, 4000, "EUR", frozenset({1}), day)

    decision = decide(
        incoming(4000, ref=rf(1)),
        invoice(1, 8900, account=7),
        earlier={(PAYER, 4000, "EUR"): [earlier]},
        **KNOWN,
    )

    assert (decision.outcome == "suggest") is is_doubted
    assert any("within 10 days" in veto for veto in decision.vetoes) is is_doubted


@pytest.mark.parametrize(("limit", "outcome"), [(8900, "settle"), (8899, "suggest")])
def test_the_limit_of_automatic_decisions_is_the_largest_amount(limit, outcome):
    policy = MatchingPolicy(auto_limit_minor=limit)

    assert decide(incoming(ref=rf(1)), invoice(1), policy=policy).outcome == outcome


@pytest.mark.parametrize(
    ("history", "after", "outcome"),
    [
        (PayerHistory(confirmed=2), 2, "settle"),
        (PayerHistory(confirmed=1), 2, "suggest"),
        (PayerHistory(confirmed=2, declined=1), 2, "suggest"),
        (PayerHistory(confirmed=9), 0, "suggest"),
        (PayerHistory(matched=9), 1, "suggest"),
    ],
)
def test_a_known_payer_settles_by_itself_only_after_so_many_confirmations(history, after, outcome):
    decision = decide(
        incoming(),
        invoice(1, account=7),
        policy=MatchingPolicy(trust_after=after),
        payers={PAYER: {7: history}},
    )

    assert (decision.rule, decision.outcome) == ("S1", outcome)


def test_without_a_setting_no_payer_settles_by_itself():
    payers = {PAYER: {7: PayerHistory(confirmed=9)}}

    assert decide(incoming(), invoice(1, account=7), payers=payers).outcome == "suggest"


def test_a_payer_that_was_only_declined_is_not_known():
    payers = {PAYER: {7: PayerHistory(declined=1)}}

    assert decide(incoming(), invoice(1, account=7), payers=payers).rule == "S4"


def outcomes(*transfers):
    """The outcome of each transfer that names the one open invoice, in the order of decisions."""
    decisions = match(list(transfers), open_items(invoice(1, account=7)), MatchingPolicy())
    return [(decision.transfer_id, decision.rule, decision.outcome) for decision in decisions]


def test_of_one_customers_transfers_the_one_that_was_booked_first_settles():
    later = incoming(ref=rf(1), id=1, order="1")
    first = incoming(ref=rf(1), id=2, order="2", booking_date=DAY - dt.timedelta(days=1))

    assert outcomes(later, first) == [(2, "A1", "settle"), (1, "D", "credit")]


def test_of_one_day_the_first_line_settles():
    transfers = [incoming(ref=rf(1), id=id, order=order) for id, order in ((1, "2"), (2, "1"))]

    assert outcomes(*transfers)[0] == (2, "A1", "settle")


def test_one_name_is_no_proof_where_only_one_of_two_transfers_has_an_iban():
    without = incoming(ref=rf(1), id=1, payer_iban=None)

    assert {outcome for *_, outcome in outcomes(without, incoming(ref=rf(1), id=2))} == {"suggest"}


@pytest.mark.parametrize(
    ("name", "others", "percent"),
    [
        ("Anna Schmidt", ["Anna Schmidt GmbH"], 100),
        ("Anna Schmidt", ["Anna"], 50),
        ("Anna Schmidt", ["Ben", "Anna Maria Schmidt"], 66),
        ("Anna", ["Ben"], 0),
        (None, ["Anna"], 0),
        ("GmbH", ["GmbH"], 0),
        ("Müller", ["MUELLER"], 100),
    ],
)
def test_names_are_as_alike_as_the_words_that_they_share(name, others, percent):
    assert likeness(name, others) == percent
