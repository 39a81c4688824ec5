"""The audit finds credits without money and money without credits; support reads both side by side."""

import pytest
import sqlalchemy as sa

from billing.support import explain
from models.purchases import Purchase
from tests.billing.stripe.writing import seconds
from worker.database import transaction

MARCH, APRIL = seconds(2026, 3, 1), seconds(2026, 4, 1)


@pytest.fixture
def shop(stripe, ledger):
    """Acme has paid 89 dollars for a month of 1000 credits, with in_5 and ch_3."""
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme", now=MARCH)
    shop.charges.append(shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL)))
    stripe.deliver(*shop.events)
    shop.events.clear()
    return shop


def change(statement) -> None:
    with transaction() as ctx:
        ctx.session.execute(statement)


def found(ledger, check) -> list:
    return [facts for _, facts in ledger.audit().findings[check]]


def origin() -> str:
    with transaction() as ctx:
        return ctx.session.scalars(sa.select(Purchase.origin)).one()


def test_money_that_bought_its_credits_has_no_finding(ledger, shop):
    assert ledger.audit().agrees


@pytest.mark.parametrize("ending", ["refund", "dispute", "credit note"])
def test_credits_whose_money_went_back_are_found_with_account_payment_and_difference(
    stripe, ledger, shop, ending
):
    charge = shop.charges[0]
    if ending == "refund":
        shop.refunds(charge, 4450)
    elif ending == "dispute":
        shop.closes_dispute(shop.opens_dispute(charge, amount=4450), "lost")
    else:
        note = shop.credit_note({"id": origin()}, 4450, customer_balance_transaction="cbtxn_1")
        shop.event("credit_note.created", note)
    stripe.deliver(*shop.events)
    before = found(ledger, "unpaid_credits")

    change(sa.update(Purchase).values(taken_back=0, take_backs=0))

    assert before == []
    assert found(ledger, "unpaid_credits") == [
        {
            "account_id": ledger.ids["acme"],
            "payment": origin(),
            "given": 1000,
            "taken_back": 0,
            "paid": 8900,
            "returned": 4450,
            "credits_too_many": 500,
        }
    ]


def test_credits_whose_money_all_moved_on_are_found(ledger, shop):
    change(sa.update(Purchase).values(moved_minor=8900))

    assert [facts["credits_too_many"] for facts in found(ledger, "unpaid_credits")] == [1000]


def test_a_paid_invoice_that_gave_nothing_is_found(ledger, shop):
    payment = origin()
    change(sa.delete(Purchase))

    assert found(ledger, "stripe_without_credits") == [
        {
            "account_id": ledger.ids["acme"],
            "payment": payment,
            "kept_minor": 8900,
            "currency": "USD",
            "credits_missing": 1000,
        }
    ]


def test_a_trial_is_no_payment_without_credits(stripe, ledger, shop):
    shop.settles(shop.line(shop.price(), start=APRIL, end=APRIL + 1000, amount=0))
    stripe.deliver(*shop.events)

    assert ledger.audit().agrees


def test_support_reads_the_money_beside_the_credits(stripe, ledger, shop):
    shop.refunds(shop.charges[0], 4450)
    stripe.deliver(*shop.events)

    with transaction() as ctx:
        (money,) = explain.money(ctx.at(ledger.now), "acme")

    assert (money.currency, money.price_minor, money.kept_minor) == ("USD", 8900, 4450)
    assert (money.returned_minor, money.moved_minor, money.parked_minor) == (4450, 0, 0)
    assert (money.given, money.taken_back, money.to_come) == (1000, 500, 0)
