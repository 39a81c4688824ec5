"""Amounts: integers in Stripe's unit of a currency, and in the minor units of ISO 4217 here."""

import pytest

from billing.stripe import fields as read
from billing.stripe.apply import facts_of
from billing.stripe.errors import BadAmount, BadObject, UnknownCurrency


@pytest.mark.parametrize(
    ("currency", "at_stripe", "here"),
    [
        pytest.param("USD", 8900, 8900, id="two decimals"),
        pytest.param("JPY", 8900, 8900, id="none"),
        pytest.param("KWD", 8900, 8900, id="three"),
        pytest.param("ISK", 8900, 89, id="krona: Stripe counts in hundredths that are no more"),
        pytest.param("UGX", 8900, 89, id="Ugandan shilling, as the krona"),
        pytest.param("MGA", 89, 8900, id="ariary: Stripe counts whole ones"),
        pytest.param("ISK", 8999, 89, id="what is less than a coin is rounded down"),
        pytest.param("USD", 0, 0, id="nothing"),
    ],
)
def test_an_amount_of_stripes_in_minor_units(currency, at_stripe, here):
    assert read.minor(at_stripe, currency) == here


@pytest.mark.parametrize("written", ["usd", "USD", "Usd"])
def test_a_currency_is_read_in_any_case(written):
    assert read.currency({"currency": written}) == "USD"


@pytest.mark.parametrize("unknown", ["xyz", "", None, "us", "usd ", "u$d", "\uff35\uff33\uff24"])
def test_a_currency_that_is_none_is_refused(unknown):
    with pytest.raises(UnknownCurrency):
        read.currency({"currency": unknown})


@pytest.mark.parametrize(
    "amount",
    [
        pytest.param(-1, id="negative"),
        pytest.param(10**12 + 1, id="beyond a trillion"),
        pytest.param(10**30, id="absurd"),
        pytest.param(89.0, id="a float"),
        pytest.param("8900", id="a text"),
        pytest.param(True, id="a truth"),
        pytest.param([8900], id="a list"),
    ],
)
def test_an_amount_that_can_not_be_is_refused(amount):
    with pytest.raises(BadAmount) as refused:
        read.amount({"amount": amount}, "amount")

    assert refused.value.facts == {"field": "amount"}


def test_only_where_it_may_be_an_amount_is_negative():
    assert read.amount({"total": -8900}, "total", signed=True) == -8900
    with pytest.raises(BadAmount):
        read.amount({"total": -(10**13)}, "total", signed=True)


def test_an_amount_that_is_missing_is_nothing():
    assert read.amount({"amount": None}, "amount") == read.amount({}, "amount") == 0


@pytest.mark.parametrize("named", ["-5", "0", "many", "1.5", "9" * 10, "²"])
def test_credits_in_metadata_that_are_no_number_are_refused(named):
    with pytest.raises(BadObject):
        facts_of("price", {"id": "price_1", "metadata": {"credits": named}})


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("29", 29),
        (29, 29),
        ("0", None),
        ("-1", None),
        ("acme", None),
        ("29.0", None),
        (str(2**63), None),
        ("9" * 10_000, None),
        (True, None),
        (["29"], None),
        ("٢٩", None),
    ],
)
def test_an_account_in_metadata_is_a_hint_where_it_is_a_number(named, hint):
    assert facts_of("customer", {"id": "cus_1", "metadata": {"account_id": named}}).hint == hint
