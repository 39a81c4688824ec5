"""A dispute freezes what is unspent until the bank decides; then it is free again, or taken."""

import pytest
from sqlalchemy import insert

from billing.usage import holds
from billing_client import Capture, InvalidField, PlaceHold, Release, Reverse
from models.credits import SpendCap
from tests.billing.stripe.test_clawbacks import refund, shop, spend, state  # noqa: F401 - fixtures
from tests.billing.stripe.writing import seconds
from worker.database import transaction


@pytest.fixture
def dispute(stripe, shop):  # noqa: F811
    """Opens a dispute of so many cents, and delivers it; returns what closes it."""

    def opens(cents=8900, status="needs_response", **changed):
        made = shop.opens_dispute(shop.charge_of_it, amount=cents, status=status, **changed)
        deliver()
        return lambda status: (shop.closes_dispute(made, status), deliver())

    def deliver():
        stripe.deliver(*shop.events)
        shop.events.clear()
        shop.now += 60

    return opens


def cap(books, credits) -> None:
    with transaction() as session:
        session.execute(insert(SpendCap).values(account_id=books.ids["acme"], credits=credits))


def place(books, units, *, key):
    with transaction() as session:
        message = PlaceHold(books.ids["acme"], "idea_generation", key, units=units)
        return holds.place(session, message, now=books.now)


def test_an_open_dispute_freezes_all_that_is_unspent(stripe, books, dispute):
    spend(books, 300, key="debit:1")

    dispute()

    assert state(books) == (700, 0, 700, 0)
    assert spend(books, 2, key="debit:2") == "refused"
    assert place(books, 1, key="hold:1").reason == "InsufficientCredits"
    assert stripe.payments() == [("disputed", "USD", 8900)]
    assert stripe.told().count("dispute.opened") == 1


def test_a_dispute_over_a_part_freezes_that_part(books, dispute):
    dispute(4450)

    assert state(books) == (1000, 0, 500, 500)
    assert spend(books, 500, key="debit:1") == "taken"


def test_an_inquiry_freezes_nothing(books, dispute):
    dispute(status="warning_needs_response")

    assert state(books) == (1000, 0, 0, 1000)


def test_other_credits_stay_free(books, dispute):
    books.grant("acme", 300, "goodwill", key="grant:1")

    dispute()

    assert state(books) == (1300, 0, 1000, 300)


def test_won_all_is_free_again_and_the_ledger_shows_nothing(stripe, books, dispute):
    close = dispute()

    close("won")

    assert state(books) == (1000, 0, 0, 1000)
    assert books.history("acme") == "plan  +1000  1000"
    assert stripe.payments() == [("succeeded", "USD", 8900)]


def test_lost_what_was_frozen_is_taken(stripe, books, dispute):
    close = dispute()

    close("lost")

    assert (
        books.history("acme")
        == """
        plan                +1000   1000
        plan taken back     -1000      0
    """
    )
    assert stripe.payments() == [("refunded", "USD", 8900)]


def test_lost_what_was_spent_becomes_debt(books, dispute):
    spend(books, 300, key="debit:1")
    close = dispute()

    close("lost")

    assert state(books) == (-300, 300, 0, 0)
    assert books.audit().agrees


def test_a_dispute_won_after_it_was_lost_gives_all_back(books, dispute):
    spend(books, 300, key="debit:1")
    close = dispute()
    close("lost")

    close("won")

    assert state(books) == (700, 0, 0, 700)


def test_a_dispute_that_opens_again_freezes_again(books, dispute):
    close = dispute()
    close("won")

    close("under_review")

    assert state(books) == (1000, 0, 1000, 0)


def test_a_refund_of_what_is_disputed_takes_it_from_what_is_frozen(books, dispute, refund):  # noqa: F811
    close = dispute()

    refund(4450)
    while_open = state(books)
    close("lost")

    assert while_open == (500, 0, 500, 0)
    assert state(books) == (0, 0, 0, 0)


@pytest.mark.parametrize("refund_first", [True, False])
def test_refund_and_dispute_end_the_same_in_either_order(
    stripe,
    books,
    shop,  # noqa: F811
    refund_first,
):
    shop.refunds(shop.charge_of_it, 6000)
    refunded, shop.events = shop.events, []
    shop.opens_dispute(shop.charge_of_it, amount=5000)
    disputed = shop.events

    stripe.deliver(*(refunded + disputed if refund_first else disputed + refunded))

    assert state(books) == (1000 - 674, 0, 326, 0)


def test_two_disputes_of_one_payment_freeze_each_its_part(books, dispute):
    close = dispute(2225)
    dispute(2225)
    both = state(books)

    close("won")

    assert both == (1000, 0, 500, 500)
    assert state(books) == (1000, 0, 250, 750)


def test_a_lot_that_is_frozen_outlives_its_time_until_the_bank_decides(books, dispute):
    close = dispute()
    books.go_to(2026, 4, 20)
    books.sweep()
    frozen = state(books)

    close("won")
    books.sweep()

    assert frozen == (1000, 0, 1000, 0)
    assert state(books) == (0, 0, 0, 0), "its time was over"
    assert books.audit().agrees


def test_a_lot_that_is_frozen_and_lost_is_taken_though_its_time_is_over(books, dispute):
    close = dispute()
    books.go_to(2026, 4, 20)
    books.sweep()

    close("lost")

    assert state(books) == (0, 0, 0, 0)
    assert books.see("acme").entries[-1].type == "take_back"


def test_no_time_ends_a_freeze(books, dispute):
    dispute()

    books.go_to(2036, 1, 1)
    books.sweep(holds.sweep)

    assert state(books)[2] == 1000


@pytest.mark.parametrize("message", [Capture, Release])
def test_the_main_app_can_not_end_a_freeze(books, shop, dispute, message):  # noqa: F811
    dispute(id="dp_1")
    with transaction() as session:
        (hold,) = holds.open_of(session, books.ids["acme"], count=9)

    (answer,) = books.debit_all([message(books.ids["acme"], hold.key_text)])

    assert answer.error.name == "UnknownHold"
    assert state(books) == (1000, 0, 1000, 0)


def test_the_main_app_can_not_ask_to_reverse_a_freeze():
    with pytest.raises(InvalidField):
        Reverse(1, "billing:dispute:dp_1:stripe:in_1:il_1:price_1")


def test_what_is_frozen_does_not_count_against_the_months_cap(books, dispute):
    dispute(4450)
    cap(books, 100)

    assert spend(books, 60, key="debit:1") == "taken"
    assert place(books, 20, key="hold:1").outcome == "held"
    assert place(books, 1, key="hold:2").reason == "SpendCapReached"
    assert spend(books, 2, key="debit:2") == "refused"


def test_while_a_dispute_is_open_no_months_come_and_won_they_are_caught_up(stripe, books, shop):  # noqa: F811
    line = shop.line(shop.price(unit=120_000), start=1772323200, end=1803859200)
    charge = shop.pays(shop.invoice([line], subscription="sub_1", status="open"))
    made = shop.opens_dispute(charge)
    stripe.deliver(*shop.events)

    books.go_to(2026, 4, 2)
    stripe.drip()
    while_open = [each.amount for each in books.see("acme").entries if each.type == "grant"]
    shop.now += 60
    shop.closes_dispute(made, "won")
    stripe.deliver(shop.events[-1])

    granted = [each.amount for each in books.see("acme").entries if each.type == "grant"]
    assert (while_open, granted) == ([1000] * 2, [1000] * 3)


def test_a_won_dispute_lets_an_annual_plan_go_on_whose_credits_were_spent(stripe, books):
    books.go_to(2026, 3, 1)
    books.open_account("acme", status="trial", plan="starter")
    annual = stripe.shop("acme")
    line = annual.line(
        annual.price(unit=89_000), start=seconds(2026, 3, 1), end=seconds(2027, 3, 1)
    )
    charge = annual.pays(annual.invoice([line], subscription="sub_1", status="open"))
    stripe.deliver(*annual.events)
    books.debit("acme", "idea_generation", key="all", units=500)
    annual.events.clear()

    annual.now += 3600
    dispute = annual.opens_dispute(charge)
    annual.now += 3600
    annual.closes_dispute(dispute, "won")
    stripe.deliver(*annual.events)
    books.go_to(2026, 4, 2)
    stripe.drip()

    assert books.see("acme").credits == 1000
