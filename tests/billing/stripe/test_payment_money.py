"""The money of a payment by its objects: paid, gone back, and disputed."""

import itertools

import pytest

from billing.stripe.apply import facts_of
from billing.stripe.payments import state_of
from tests.billing.stripe.writing import Shop, seconds

MARCH = seconds(2026, 3, 1)


@pytest.fixture
def shop() -> Shop:
    return Shop(now=MARCH)


def money(*objects):
    """The payment's money, which must not depend on the order of its objects."""
    facts = [facts_of(item["object"].replace(".", "_"), item) for item in objects]
    states = [state_of(order) for order in itertools.permutations(facts)]
    assert all(state == states[0] for state in states)
    return states[0]


def paid_and_returned(*objects):
    state = money(*objects)
    return state.paid, state.returned


def invoice(shop, **changed):
    return shop.invoice([], total=8900, amount_due=8900, amount_paid=8900, status="paid") | changed


def test_a_failed_attempt_before_the_payment_is_no_money(shop):
    failed, charge = shop.charge(8900, status="failed"), shop.charge(8900)

    assert paid_and_returned(failed, charge, shop.refund(charge, 8900)) == (8900, 8900)


def test_two_charges_of_one_payment_add_up(shop):
    first, second = shop.charge(4000), shop.charge(4900)

    assert paid_and_returned(first, second, shop.refund(second, 4900)) == (8900, 4900)


@pytest.mark.parametrize("objects", ["charge", "intent", "invoice"])
def test_the_currency_that_a_page_shows_is_not_that_of_the_money(shop, objects):
    page = shop.session(390_000, currency="jpy")
    paid = {
        "charge": shop.charge(2500),
        "intent": shop.intent(2500),
        "invoice": invoice(shop, amount_paid=2500),
    }

    assert money(page, paid[objects]).paid == 2500


def test_until_money_is_received_the_page_says_what_was_paid(shop):
    page = shop.session(390_000, currency="jpy")

    assert money(page, shop.intent(2500, status="processing")).paid == 390_000


def test_a_page_in_the_currency_of_the_money_says_what_was_paid_before_its_charge_comes(shop):
    assert money(shop.session(2500)).paid == 2500
    assert money(shop.intent(0), shop.session(2500)).paid == 2500


@pytest.mark.parametrize("charge_id", ["ch_of_the_payment", "ch_that_nobody_sent", None])
def test_a_refund_goes_back_whether_or_not_its_charge_is_known(shop, charge_id):
    charge = shop.charge(8900, id="ch_of_the_payment")
    refund = shop.refund(charge, 2000) | {"charge": charge_id}

    assert paid_and_returned(charge, refund) == (8900, 2000)


@pytest.mark.parametrize(
    ("status", "returned"),
    [
        ("succeeded", 2000),
        ("pending", 2000),
        ("failed", 0),
        ("canceled", 0),
        ("requires_action", 0),
        (None, 2000),
    ],
)
def test_a_refund_counts_while_it_may_still_arrive(shop, status, returned):
    refund = shop.refund(shop.charge(8900), 2000, status=status)

    assert paid_and_returned(invoice(shop), refund) == (8900, returned)


@pytest.mark.parametrize(
    ("shown", "status", "returned"),
    [
        pytest.param(0, "succeeded", 2000, id="the refund is known first"),
        pytest.param(2000, "succeeded", 2000, id="both know it"),
        pytest.param(5000, "succeeded", 5000, id="the charge knows of another one"),
        pytest.param(2000, "failed", 0, id="the charge has not heard that it failed"),
        pytest.param(5000, "failed", 3000, id="the other one stays"),
        pytest.param(0, "failed", 0, id="both know that it failed"),
    ],
)
def test_what_a_charge_and_its_refunds_say_counts_once(shop, shown, status, returned):
    charge = shop.charge(8900, amount_refunded=shown)
    refund = shop.refund(charge, 2000, status=status)

    assert paid_and_returned(charge, refund) == (8900, returned)


def test_a_refund_of_one_charge_is_not_taken_off_what_another_shows(shop):
    first, second = shop.charge(4000, amount_refunded=1000), shop.charge(4900)
    refund = shop.refund(second, 900)

    assert paid_and_returned(first, second, refund) == (8900, 1900)


# --- disputes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "returned", "disputed"),
    [
        ("needs_response", 0, 4000),
        ("under_review", 0, 4000),
        ("lost", 4000, 0),
        ("won", 0, 0),
        ("prevented", 0, 0),
        ("charge_refunded", 0, 0),
        ("warning_needs_response", 0, 0),
        ("warning_under_review", 0, 0),
        ("warning_closed", 0, 0),
    ],
)
def test_a_dispute_holds_money_until_the_bank_decides_and_takes_it_if_lost(
    shop, status, returned, disputed
):
    charge = shop.charge(8900)
    state = money(charge, shop.dispute(charge, amount=4000, status=status))

    assert (state.returned, sum(state.disputes.values())) == (returned, disputed)


@pytest.mark.parametrize(
    ("withdrawn", "share"),
    [
        pytest.param([], 4000, id="nothing"),
        pytest.param([(-1500, "usd")], 1500, id="a part"),
        pytest.param([(-1500, "usd"), (-500, "usd")], 2000, id="in two parts"),
        pytest.param([(-1500, "usd"), (1500, "usd")], 1500, id="and given back meanwhile"),
        pytest.param([(-9000, "usd")], 4000, id="more than the charge"),
        pytest.param([(-1500, "gbp")], 4000, id="in a third currency"),
    ],
)
def test_a_dispute_in_another_currency_takes_what_was_withdrawn_or_all_of_its_own_charge(
    shop, withdrawn, share
):
    disputed, other = shop.charge(4000), shop.charge(4900)
    moves = [{"amount": amount, "currency": currency} for amount, currency in withdrawn]
    dispute = shop.dispute(
        disputed, amount=390_000, currency="jpy", status="lost", balance_transactions=moves
    )

    assert paid_and_returned(disputed, other, dispute) == (8900, share)


def test_of_a_charge_that_is_not_known_a_dispute_in_another_currency_takes_the_payment(shop):
    dispute = shop.dispute(shop.charge(8900), amount=8000, currency="eur", status="lost")

    assert paid_and_returned(invoice(shop), dispute) == (8900, 8900)


# --- credit notes and the balance --------------------------------------------------------------------


@pytest.fixture
def from_balance(shop):
    """An invoice of 89 dollars, 40 of them from the customer's balance, and its charge."""
    balances = {"starting_balance": -4000, "ending_balance": 0}
    bill = invoice(shop, amount_due=4900, amount_paid=4900, **balances)
    return bill, shop.charge(4900, invoice=bill["id"])


def test_no_more_goes_back_by_card_than_came_by_card(shop, from_balance):
    bill, charge = from_balance
    refund = shop.refund(charge, 4900)
    dispute = shop.dispute(charge, amount=4900, status="lost")

    assert paid_and_returned(bill, charge, refund, dispute) == (8900, 4900)


def test_a_credit_note_may_give_back_what_the_balance_paid(shop, from_balance):
    bill, charge = from_balance
    note = shop.credit_note(bill, 8900, customer_balance_transaction="cbtxn_1")

    assert paid_and_returned(bill, charge, note) == (8900, 8900)


def test_a_credit_note_gives_back_no_more_than_the_invoice(shop, from_balance):
    bill, charge = from_balance
    notes = [shop.credit_note(bill, 8900, customer_balance_transaction="cbtxn_1") for _ in range(2)]

    assert paid_and_returned(bill, charge, *notes) == (8900, 8900)


def note_by_refunds(shop, *refunds, amount, **changed):
    rows = [{"refund": name, "amount_refunded": part} for name, part in refunds]
    return shop.credit_note({"id": "in_1"}, amount, refunds=rows, **changed)


def test_a_note_whose_refund_is_not_known_counts_beside_a_refund_that_is(shop):
    charge = shop.charge(8900, amount_refunded=2000)
    known = shop.refund(charge, 2000)

    assert paid_and_returned(
        charge, known, note_by_refunds(shop, ("re_unknown", 3000), amount=3000)
    ) == (8900, 5000)


def test_a_note_whose_refund_only_the_charge_shows_counts_once(shop):
    charge = shop.charge(8900, amount_refunded=3000)

    assert paid_and_returned(charge, note_by_refunds(shop, ("re_unknown", 3000), amount=3000)) == (
        8900,
        3000,
    )


def test_of_a_note_by_refund_and_outside_of_stripe_both_parts_count(shop):
    charge = shop.charge(8900)
    refund = shop.refund(charge, 1000)
    note = note_by_refunds(shop, (refund["id"], 1000), amount=4000, out_of_band_amount=3000)

    assert paid_and_returned(charge, refund, note) == (8900, 4000)


def test_an_old_note_gives_back_by_its_refund_what_it_does_not_outside_of_stripe(shop):
    charge = shop.charge(8900)
    old = shop.credit_note(
        {"id": "in_1"}, 4000, refunds=None, refund="re_unknown", out_of_band_amount=1000
    )

    assert paid_and_returned(charge, old) == (8900, 4000)


def test_a_note_of_which_its_refund_is_larger_counts_no_more_than_itself(shop):
    charge = shop.charge(8900)
    refund = shop.refund(charge, 5000)
    note = note_by_refunds(shop, (refund["id"], 4000), amount=4000)

    assert paid_and_returned(charge, refund, note) == (8900, 5000)


def test_a_refund_larger_than_its_note_leaves_what_was_given_back_outside_of_stripe(shop):
    charge = shop.charge(8900)
    refund = shop.refund(charge, 5000)
    note = note_by_refunds(shop, (refund["id"], 5000), amount=4000, out_of_band_amount=1000)

    assert paid_and_returned(charge, refund, note) == (8900, 6000)


def test_an_old_note_to_the_balance_is_not_paid_by_a_refund_that_the_charge_shows(shop):
    charge = shop.charge(8900, amount_refunded=4000)
    note = shop.credit_note(
        {"id": "in_1"}, 4000, refunds=None, refund="re_9", customer_balance_transaction="cbtxn_1"
    )

    assert paid_and_returned(charge, note) == (8900, 8000)


def test_a_part_of_a_note_that_names_no_refund_is_none(shop):
    note = note_by_refunds(shop, (None, 3000), amount=4000)

    assert facts_of("credit_note", note).links == {"in_1"}
    assert paid_and_returned(shop.charge(8900), note) == (8900, 4000)


@pytest.mark.parametrize(
    ("changed", "returned"),
    [
        pytest.param({"status": "void"}, 0, id="void"),
        pytest.param({"status": None}, 4000, id="in a shape without a status"),
        pytest.param({"post_payment_amount": 1000}, 1000, id="partly before the payment"),
        pytest.param(
            {"post_payment_amount": None, "type": "pre_payment"}, 0, id="old, before the payment"
        ),
        pytest.param(
            {"post_payment_amount": None, "pre_payment_amount": 3000}, 1000, id="old, in parts"
        ),
    ],
)
def test_a_note_counts_for_what_it_gave_back_after_the_payment(shop, changed, returned):
    note = shop.credit_note({"id": "in_1"}, 4000, out_of_band_amount=0) | changed

    assert paid_and_returned(shop.charge(8900), note) == (8900, returned)
