"""One customer who pays twice in one batch: the first settles, the second is credit for review."""

import datetime as dt

import pytest

from billing.bank.matching.rules import match
from billing.bank.matching.types import MatchingPolicy, PayerHistory
from tests.billing.bank.matching.given import DAY, PAYER, incoming, invoice, open_items, rf
from tests.billing.bank.story import line

OTHER = "DE02100100100006820101"


def outcomes(transfers, *invoices, policy=None, **more):
    decisions = match(transfers, open_items(*invoices, **more), policy or MatchingPolicy())
    return [(one.rule, one.outcome, one.parts, one.surplus_minor) for one in decisions]


FIRST = ("A1", "settle", ((1, 8900),), 0)
CREDIT = ("D", "credit", (), 8900)


def twice(**second):
    return [incoming(8900, ref=rf(1), id=1), incoming(8900, ref=rf(1), id=2, **second)]


def test_the_first_settles_and_the_second_is_credit_with_a_question():
    decisions = match(twice(), open_items(invoice(1)), MatchingPolicy())

    assert [one.outcome for one in decisions] == ["settle", "credit"]
    assert decisions[0].review is None
    assert "BT-2026-000001 is paid: kept as the customer's credit" in decisions[1].review


def test_three_times_is_one_payment_and_two_credits():
    three = [*twice(), incoming(8900, ref=rf(1), id=3)]

    assert outcomes(three, invoice(1)) == [FIRST, CREDIT, CREDIT]


def test_other_transfers_and_invoices_of_the_batch_are_decided_as_before():
    batch = [*twice(), incoming(13900, ref=rf(2), id=3)]

    assert outcomes(batch, invoice(1), invoice(2, 13900, account=1))[2] == (
        "A1",
        "settle",
        ((2, 13900),),
        0,
    )


def test_a_part_and_then_the_whole_pays_the_rest_and_keeps_what_is_too_much():
    batch = [incoming(5000, ref=rf(1), id=1), incoming(8900, ref=rf(1), id=2)]

    assert outcomes(batch, invoice(1)) == [
        ("A3", "settle", ((1, 5000),), 0),
        ("A4", "settle", ((1, 3900),), 5000),
    ]


def test_two_invoices_together_and_one_of_them_again_is_credit():
    both = incoming(8900 + 13900, f"{rf(1)} {rf(2)}", id=1)
    batch = [both, incoming(13900, ref=rf(2), id=2)]

    assert outcomes(batch, invoice(1, account=7), invoice(2, 13900, account=7)) == [
        ("A5", "settle", ((1, 8900), (2, 13900)), 0),
        ("D", "credit", (), 13900),
    ]


def test_one_of_two_invoices_and_then_both_together_asks_about_the_second():
    both = incoming(8900 + 13900, f"{rf(1)} {rf(2)}", id=2)
    batch = [incoming(8900, ref=rf(1), id=1), both]

    decisions = outcomes(batch, invoice(1, account=7), invoice(2, 13900, account=7))

    assert [one[:2] for one in decisions] == [("A1", "settle"), ("S3", "suggest")]


UNNAMED = {"payer_iban": None, "payer_name": None}


@pytest.mark.parametrize(
    ("first", "second", "payers", "expected"),
    [
        pytest.param({}, {}, {}, [FIRST, CREDIT], id="one IBAN"),
        pytest.param(UNNAMED, UNNAMED, {}, [FIRST, CREDIT], id="no IBAN, no name"),
        pytest.param(
            {"payer_iban": None}, {"payer_iban": None}, {}, [FIRST, CREDIT], id="no IBAN, one name"
        ),
        pytest.param(
            {},
            {"payer_iban": OTHER},
            {iban: {1: PayerHistory(matched=1)} for iban in (PAYER, OTHER)},
            [FIRST, CREDIT],
            id="two IBANs that are both known for the customer",
        ),
        pytest.param({}, {"payer_iban": OTHER}, {}, None, id="two IBANs"),
        pytest.param(
            {},
            {"payer_iban": OTHER},
            {OTHER: {1: PayerHistory(matched=1)}},
            None,
            id="two IBANs of which one is known",
        ),
        pytest.param({}, UNNAMED, {}, None, id="one of them without an IBAN"),
        pytest.param(
            {"payer_iban": None},
            {"payer_iban": None, "payer_name": "Bo Brandt"},
            {},
            None,
            id="no IBAN, two names",
        ),
    ],
)
def test_only_one_customers_transfers_are_taken_in_turn(first, second, payers, expected):
    batch = [
        incoming(8900, ref=rf(1), id=1, **first),
        incoming(8900, ref=rf(1), id=2, **second),
    ]
    both_wait = [("A1", "suggest", (), 0)] * 2

    assert outcomes(batch, invoice(1), payers=payers) == (expected or both_wait)


def parts_of(*parts):
    """A transfer of each (amount, payer, days after the first)."""
    return [
        incoming(
            amount, ref=rf(1), id=id, payer_iban=iban, booking_date=DAY + dt.timedelta(days=days)
        )
        for id, (amount, iban, days) in enumerate(parts, start=1)
    ]


@pytest.mark.parametrize(
    ("transfers", "outcome"),
    [
        pytest.param([(5000, PAYER, 0), (3900, OTHER, 0)], "settle", id="just what is open"),
        pytest.param([(5000, PAYER, 0), (3901, OTHER, 0)], "suggest", id="a cent too much"),
        pytest.param(
            [(2000, PAYER, 0), (900, OTHER, 0), (2000, PAYER, 10)], "suggest", id="one twice"
        ),
        pytest.param(
            [(2000, PAYER, 0), (900, OTHER, 0), (2000, PAYER, 11)], "settle", id="one after 11 days"
        ),
        pytest.param(
            [(2000, PAYER, 0), (2001, OTHER, 0), (2002, PAYER, 0)], "settle", id="other amounts"
        ),
    ],
)
def test_parts_of_several_payers_settle_if_they_fit_and_none_was_sent_twice(transfers, outcome):
    decisions = outcomes(parts_of(*transfers), invoice(1))

    assert [one[1] for one in decisions] == [outcome] * len(transfers)


def test_two_payments_on_a_virtual_iban_pay_once_and_are_credit_once():
    batch = [incoming(8900, virtual_owner=1, id=1), incoming(8900, virtual_owner=1, id=2)]

    assert outcomes(batch, invoice(1)) == [
        ("S2", "settle", ((1, 8900),), 0),
        ("S2", "credit", (), 8900),
    ]


def test_a_trusted_payer_who_pays_twice_without_a_reference_pays_once():
    known = {PAYER: {1: PayerHistory(confirmed=3)}}
    batch = [incoming(8900, id=1), incoming(8900, id=2)]

    decisions = outcomes(batch, invoice(1), policy=MatchingPolicy(trust_after=3), payers=known)

    assert [one[:2] for one in decisions] == [("S1", "settle"), ("X", "none")]


def test_the_open_items_of_the_batch_stay_as_they_were():
    items = open_items(invoice(1))

    match(twice(), items, MatchingPolicy())

    assert items.by_reference["RF741"].due_minor == 8900
    assert items.earlier == {}


def test_one_file_with_two_payments_and_two_files_with_one_each_end_alike(shop):
    for slug in ("acme", "beta"):
        shop.open_account(slug, status="trial")
    acme, beta = shop.announce("acme"), shop.announce("beta")

    shop.receive(
        line("89.00", reference=acme.reference, bank_reference="B1"),
        line("89.00", reference=acme.reference, bank_reference="B2"),
    )
    shop.receive(line("89.00", reference=beta.reference, bank_reference="B3", iban=OTHER))
    shop.receive(line("89.00", reference=beta.reference, bank_reference="B4", iban=OTHER))

    assert shop.transfers() == [("settled", 8900), ("credited", 8900)] * 2
    assert shop.invoices("acme") == shop.invoices("beta") == [("paid", 8900, 8900)]
    assert (shop.credit("acme"), shop.credit("beta")) == (8900, 8900)
    assert ["paid twice" in item.review for item in shop.queue()] == [True, True]
    shop.check()
