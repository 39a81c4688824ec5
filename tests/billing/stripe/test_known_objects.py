"""The stored objects of Stripe: newest states, their accounts, and the objects of one payment."""

import datetime as dt

import pytest

from billing.stripe import object_rows
from billing.stripe.apply import facts_of
from billing.stripe.object_rows import State, Stored
from tests.billing.stripe.writing import Shop, seconds
from worker.database import transaction

MARCH = seconds(2026, 3, 1)
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def shop(database) -> Shop:
    return Shop(now=MARCH)


def state(kind, source, *, at=NOON, account_id=None):
    return State(facts_of(kind, source), at, account_id)


def keep(*states):
    with transaction() as ctx:
        return object_rows.store_all(ctx.at(NOON), states)


def payment_of(name):
    """The ids of the known objects of a payment, and its account."""
    with transaction() as ctx:
        payment = object_rows.of_payments(ctx.session, [name])[name]
    return [facts.id for facts in payment], payment.account_id


def invoice(shop, name, status="open", **changed):
    return shop.invoice([], id=name, status=status) | changed


def test_of_several_states_in_a_batch_the_newest_is_kept_and_says_what_was_before(shop):
    draft, opened, paid = [invoice(shop, "in_1", status) for status in ("draft", "open", "paid")]
    keep(state("invoice", draft, at=NOON - SECOND))

    stored = keep(state("invoice", paid), state("invoice", opened), state("invoice", draft))

    assert stored == [Stored(facts_of("invoice", draft)), None, None]
    with transaction() as ctx:
        assert object_rows.read(ctx.session, "in_1").status == "paid"


def test_a_new_state_of_an_unknown_object_has_nothing_before_it(shop):
    assert keep(state("invoice", invoice(shop, "in_1"))) == [Stored(None)]


def test_the_customer_and_the_account_of_an_object_stay_when_newer_states_do_not_name_them(shop):
    charge = shop.charge(100, id="ch_1")
    keep(state("charge", charge, account_id=7))

    keep(state("charge", charge | {"customer": None, "amount_refunded": 5}, at=NOON + SECOND))
    keep(state("charge", charge | {"amount_refunded": 9}, at=NOON + 2 * SECOND, account_id=8))

    with transaction() as ctx:
        assert object_rows.accounts_of(ctx.session, ["ch_1", "ch_2"]) == {"ch_1": 7}
        assert object_rows.count_of_customer(ctx.session, "cus_1") == 1
        assert object_rows.count_of_customer(ctx.session, "cus_2") == 0


def test_objects_of_one_payment_are_found_by_any_of_them_and_by_what_links_to_it(shop):
    intent = shop.intent(100, id="pi_1", latest_charge="ch_1")
    refund = {**shop.refund(shop.charge(100, id="ch_1"), 5), "id": "re_1", "payment_intent": None}
    bill = invoice(shop, "in_1", payment_intent="pi_1")
    keep(
        state("payment_intent", intent),
        state("refund", refund, account_id=7),
        state("invoice", bill),
        state("invoice", invoice(shop, "in_other")),
    )

    for name in ("pi_1", "re_1", "in_1", "ch_1"):
        assert payment_of(name) == (["in_1", "pi_1", "re_1"], 7)
    assert payment_of("in_other") == (["in_other"], None)


@pytest.mark.parametrize(
    ("customers", "is_one"),
    [
        pytest.param(("cus_1", "cus_1"), True, id="of one customer"),
        pytest.param(("cus_1", None), True, id="one names none"),
        pytest.param((None, None), True, id="none names one"),
        pytest.param(("cus_1", "cus_2"), False, id="of two customers"),
    ],
)
def test_a_link_between_two_customers_joins_nothing(shop, customers, is_one):
    one, other = customers
    keep(
        state("payment_intent", shop.intent(100, id="pi_1", customer=one)),
        state("charge", shop.charge(100, id="ch_1", intent="pi_1", customer=other)),
    )

    assert (payment_of("pi_1")[0] == ["ch_1", "pi_1"]) is is_one


def test_objects_of_a_kind_are_read_page_by_page_in_the_order_of_their_ids(shop):
    names = ["in_1", "in_2", "in_3"]
    keep(*[state("invoice", invoice(shop, name)) for name in reversed(names)])
    keep(state("charge", shop.charge(100, id="in_2a")))

    with transaction() as ctx:
        pages = [
            [
                facts.id
                for facts in object_rows.of_kind(ctx.session, "invoice", after=after, limit=2)
            ]
            for after in ("", "in_2", "in_3")
        ]

    assert pages == [["in_1", "in_2"], ["in_3"], []]


def test_the_objects_of_accounts_are_read_by_account_and_kind(shop):
    keep(
        state("invoice", invoice(shop, "in_1"), account_id=7),
        state("invoice", invoice(shop, "in_2"), account_id=8),
        state("invoice", invoice(shop, "in_3"), account_id=9),
        state("charge", shop.charge(100), account_id=7),
    )

    with transaction() as ctx:
        rows = object_rows.of_accounts(ctx.session, [7, 8], "invoice")

    assert {id_: [facts.id for facts in items] for id_, items in rows.items()} == {
        7: ["in_1"],
        8: ["in_2"],
    }


def test_only_accounts_with_an_invoice_near_the_balance_are_settled_together(shop):
    keep(
        state("invoice", invoice(shop, "in_1", starting_balance=-5), account_id=7),
        state("invoice", invoice(shop, "in_2"), account_id=8),
        state("invoice", invoice(shop, "in_3", starting_balance=-5), account_id=9),
    )

    with transaction() as ctx:
        assert object_rows.with_moving_balance(ctx.session, [7, 8]) == {7}
