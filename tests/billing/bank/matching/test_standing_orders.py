"""A standing order repeats its first reference: it pays the open invoice of its amount (A6)."""

import datetime as dt

import pytest

from billing.bank.matching.rules import match
from billing.bank.matching.types import EarlierTransfer, MatchingPolicy, PayerHistory
from billing.statements.references import creditor_reference as rf
from tests.billing.bank.matching.given import DAY, PAYER, decide, incoming, invoice, open_items
from tests.billing.bank.story import line

ANNA = ("Anna Schmidt",)
KNOWN = {"payers": {PAYER: {7: PayerHistory(matched=1)}}}
FIRST = invoice(1, account=7, state="paid", names=ANNA)
NEXT = invoice(2, account=7, names=ANNA)
CREDIT = ("D", "credit", ())


def standing_order(amount=8900, *texts, **more):
    return incoming(amount, *texts, ref=rf(1), **more)


def outcome(transfer, *invoices, **more):
    decision = decide(transfer, *invoices, **more)
    return decision.rule, decision.outcome, decision.parts


def test_the_reference_of_a_paid_invoice_pays_the_one_open_invoice_of_its_amount():
    decision = decide(standing_order(), FIRST, NEXT, **KNOWN)

    assert (decision.rule, decision.outcome, decision.account_id) == ("A6", "settle", 7)
    assert (decision.parts, decision.surplus_minor, decision.review) == (((2, 8900),), 0, None)
    assert decision.reasons == (
        f"{rf(1)} is named, and BT-2026-000001 is paid; BT-2026-000002 is the open one",
    )


def test_a_reference_in_the_text_does_the_same():
    assert outcome(incoming(8900, f"Abo {rf(1)}"), FIRST, NEXT, **KNOWN)[0] == "A6"


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="an unknown payer of the customer's name"),
        pytest.param({"payer_iban": None}, id="a payer without an IBAN, of the customer's name"),
    ],
)
def test_the_customers_name_is_enough_where_the_payer_is_not_known(more):
    assert outcome(standing_order(**more), FIRST, NEXT)[0] == "A6"


def test_the_known_payer_may_have_another_name():
    assert outcome(standing_order(payer_name="Schmidt Holding"), FIRST, NEXT, **KNOWN)[0] == "A6"


def test_other_open_invoices_of_other_amounts_do_not_matter():
    others = [invoice(3, 13900, account=7), invoice(4, 8900, account=8)]

    assert outcome(standing_order(), FIRST, NEXT, *others, **KNOWN) == (
        "A6",
        "settle",
        ((2, 8900),),
    )


@pytest.mark.parametrize(
    "invoices",
    [
        pytest.param([FIRST], id="no open invoice"),
        pytest.param([FIRST, NEXT, invoice(3, account=7)], id="two open invoices of the amount"),
        pytest.param(
            [FIRST, NEXT, invoice(3, 4000, account=7), invoice(4, 4900, account=7)],
            id="two more that add up to the amount",
        ),
        pytest.param([FIRST, invoice(2, 13900, account=7)], id="another amount"),
        pytest.param([FIRST, invoice(2, account=7, currency="CHF")], id="another currency"),
        pytest.param([FIRST, invoice(2, account=8)], id="another customer's invoice"),
        pytest.param(
            [FIRST, invoice(2, account=7, issued_on=DAY + dt.timedelta(1))],
            id="one that was issued after the transfer",
        ),
        pytest.param(
            [invoice(1, account=7, state="void", names=ANNA), NEXT], id="a void one named"
        ),
        pytest.param(
            [invoice(1, account=7, state="refunded", names=ANNA), NEXT], id="a refunded one named"
        ),
    ],
)
def test_it_stays_credit_where_the_open_invoice_is_not_sure(invoices):
    assert outcome(standing_order(), *invoices, **KNOWN) == CREDIT


@pytest.mark.parametrize(
    ("payers", "name"),
    [
        pytest.param({}, "Somebody Else", id="unknown, of another name"),
        pytest.param({}, None, id="unknown, without a name"),
        pytest.param(
            {7: PayerHistory(matched=2, declined=1)}, "Anna Schmidt", id="declined before"
        ),
    ],
)
def test_another_payers_money_stays_credit(payers, name):
    transfer = standing_order(payer_name=name)

    assert outcome(transfer, FIRST, NEXT, payers={PAYER: payers}) == CREDIT


@pytest.mark.parametrize(
    "payers",
    [
        pytest.param({8: PayerHistory(matched=1)}, id="of another customer"),
        pytest.param(
            {7: PayerHistory(matched=1), 8: PayerHistory(matched=1)}, id="of two customers"
        ),
    ],
)
def test_a_payer_that_is_known_for_others_goes_to_review_as_before(payers):
    decision = decide(standing_order(), FIRST, NEXT, payers={PAYER: payers})

    assert (decision.rule, decision.outcome) == ("D", "suggest")


@pytest.mark.parametrize("paid", [1, 2, 3], ids=["the named", "the open", "a third invoice"])
def test_the_same_payment_within_ten_days_is_perhaps_sent_twice_and_stays_credit(paid):
    third = invoice(3, account=7, state="paid")

    def after(days):
        sent = EarlierTransfer(PAYER, 8900, "EUR", frozenset({paid}), DAY - dt.timedelta(days))
        earlier = {(PAYER, 8900, "EUR"): [sent]}
        return outcome(standing_order(), FIRST, NEXT, third, earlier=earlier, **KNOWN)

    assert after(10) == CREDIT
    assert after(11) == ("A6", "settle", ((2, 8900),))


def test_the_same_payment_for_another_customer_is_no_payment_twice():
    other = invoice(3, account=8, state="paid")
    sent = EarlierTransfer(PAYER, 8900, "EUR", frozenset({3}), DAY)
    earlier = {(PAYER, 8900, "EUR"): [sent]}

    assert outcome(standing_order(), FIRST, NEXT, other, earlier=earlier, **KNOWN)[0] == "A6"


@pytest.mark.parametrize(
    ("transfer", "why"),
    [
        (standing_order(8900, "a refund"), "refund"),
        (standing_order(8900, "RF712348231"), "is not ours"),
        (standing_order(virtual_owner=9), "virtual IBAN"),
        (standing_order(kind="QRR"), "not SCOR"),
        (standing_order(8900, "for Bo Brandt"), "the text names account 8"),
    ],
    ids=["words of a refund", "a strange reference", "virtual IBAN", "kind", "another's name"],
)
def test_a_veto_makes_it_a_suggestion_of_the_open_invoice(transfer, why):
    decision = decide(transfer, FIRST, NEXT, invoice(3, account=8, names=("Bo Brandt",)), **KNOWN)

    assert (decision.rule, decision.outcome) == ("A6", "suggest")
    assert why in decision.vetoes[0]
    assert decision.candidates[0].parts == ((2, 8900),)


def test_a_text_with_the_number_of_another_invoice_is_not_sure():
    paid = invoice(3, account=7, state="paid")

    def with_text(number):
        return outcome(standing_order(8900, f"invoice {number}"), FIRST, NEXT, paid, **KNOWN)[0]

    assert [with_text(one.number) for one in (FIRST, NEXT, paid)] == ["A6", "A6", "D"]


def test_three_months_in_one_file_pay_three_invoices_one_after_the_other():
    months = [0, 30, 60]
    batch = [
        standing_order(id=number, booking_date=DAY + dt.timedelta(days))
        for number, days in enumerate(months, start=1)
    ]
    invoices = [
        invoice(
            number,
            account=7,
            names=ANNA,
            state="open" if number < 3 else "paid",
            issued_on=DAY + dt.timedelta(days - 5),
        )
        for number, days in enumerate(months, start=1)
    ]

    decisions = match(batch, open_items(*invoices, **KNOWN), MatchingPolicy())

    assert [(one.rule, one.parts) for one in decisions] == [
        ("A1", ((1, 8900),)),
        ("A6", ((2, 8900),)),
        ("D", ()),
    ]


def test_a_customer_with_a_standing_order_stays_active_without_a_reviewer(shop):
    shop.open_account("acme", status="trial")
    first = shop.announce("acme")
    paid_by = {"reference": first.reference, "iban": PAYER, "payer": "acme"}
    assert shop.receive(line("89.00", **paid_by)) == ["A1"]
    shop.now += dt.timedelta(days=25)
    shop.bill()

    assert shop.receive(line("89.00", text="2", **paid_by)) == ["A6"]

    assert [state for state, *_ in shop.invoices("acme")] == ["paid", "paid"]
    assert (shop.status("acme"), shop.credit("acme"), shop.queue()) == ("active", 0, [])
    shop.check()
