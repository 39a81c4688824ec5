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


def cap(ledger, credits) -> None:
    with transaction() as ctx:
        ctx.session.execute(insert(SpendCap).values(account_id=ledger.ids["acme"], credits=credits))


def place(ledger, units, *, key):
    with transaction() as ctx:
        message = PlaceHold(ledger.ids["acme"], "idea_generation", key, units=units)
        return holds.place(ctx.at(ledger.now), message)


def test_an_open_dispute_freezes_all_that_is_unspent(stripe, ledger, dispute):
    spend(ledger, 300, key="debit:1")

    dispute()

    assert state(ledger) == (700, 0, 700, 0)
    assert spend(ledger, 2, key="debit:2") == "refused"
    assert place(ledger, 1, key="hold:1").reason == "InsufficientCredits"
    assert stripe.payments() == [("disputed", "USD", 8900)]
    assert stripe.told().count("dispute.opened") == 1


def test_a_dispute_over_a_part_freezes_that_part(ledger, dispute):
    dispute(4450)

    assert state(ledger) == (1000, 0, 500, 500)
    assert spend(ledger, 500, key="debit:1") == "taken"


def test_an_inquiry_freezes_nothing(ledger, dispute):
    dispute(status="warning_needs_response")

    assert state(ledger) == (1000, 0, 0, 1000)


def test_other_credits_stay_free(ledger, dispute):
    ledger.grant("acme", 300, "goodwill", key="grant:1")

    dispute()

    assert state(ledger) == (1300, 0, 1000, 300)


def test_won_all_is_free_again_and_the_ledger_shows_nothing(stripe, ledger, dispute):
    close = dispute()

    close("won")

    assert state(ledger) == (1000, 0, 0, 1000)
    assert ledger.history("acme") == "plan  +1000  1000"
    assert stripe.payments() == [("succeeded", "USD", 8900)]


def test_lost_what_was_frozen_is_taken(stripe, ledger, dispute):
    close = dispute()

    close("lost")

    assert (
        ledger.history("acme")
        == """
        plan                +1000   1000
        plan taken back     -1000      0
    """
    )
    assert stripe.payments() == [("refunded", "USD", 8900)]


def test_lost_what_was_spent_becomes_debt(ledger, dispute):
    spend(ledger, 300, key="debit:1")
    close = dispute()

    close("lost")

    assert state(ledger) == (-300, 300, 0, 0)
    assert ledger.audit().agrees


def test_a_dispute_won_after_it_was_lost_gives_all_back(ledger, dispute):
    spend(ledger, 300, key="debit:1")
    close = dispute()
    close("lost")

    close("won")

    assert state(ledger) == (700, 0, 0, 700)


def test_a_dispute_that_opens_again_freezes_again(ledger, dispute):
    close = dispute()
    close("won")

    close("under_review")

    assert state(ledger) == (1000, 0, 1000, 0)


def test_a_refund_of_what_is_disputed_takes_it_from_what_is_frozen(ledger, dispute, refund):  # noqa: F811
    close = dispute()

    refund(4450)
    while_open = state(ledger)
    close("lost")

    assert while_open == (500, 0, 500, 0)
    assert state(ledger) == (0, 0, 0, 0)


@pytest.mark.parametrize("refund_first", [True, False])
def test_refund_and_dispute_end_the_same_in_either_order(
    stripe,
    ledger,
    shop,  # noqa: F811
    refund_first,
):
    shop.refunds(shop.charge_of_it, 6000)
    refunded, shop.events = shop.events, []
    shop.opens_dispute(shop.charge_of_it, amount=5000)
    disputed = shop.events

    stripe.deliver(*(refunded + disputed if refund_first else disputed + refunded))

    assert state(ledger) == (1000 - 674, 0, 326, 0)


def test_two_disputes_of_one_payment_freeze_each_its_part(ledger, dispute):
    close = dispute(2225)
    dispute(2225)
    both = state(ledger)

    close("won")

    assert both == (1000, 0, 500, 500)
    assert state(ledger) == (1000, 0, 250, 750)


def test_a_lot_that_is_frozen_outlives_its_time_until_the_bank_decides(ledger, dispute):
    close = dispute()
    ledger.go_to(2026, 4, 20)
    ledger.sweep()
    frozen = state(ledger)

    close("won")
    ledger.sweep()

    assert frozen == (1000, 0, 1000, 0)
    assert state(ledger) == (0, 0, 0, 0), "its time was over"
    assert ledger.audit().agrees


def test_a_lot_that_is_frozen_and_lost_is_taken_though_its_time_is_over(ledger, dispute):
    close = dispute()
    ledger.go_to(2026, 4, 20)
    ledger.sweep()

    close("lost")

    assert state(ledger) == (0, 0, 0, 0)
    assert ledger.see("acme").entries[-1].type == "take_back"


def test_no_time_ends_a_freeze(ledger, dispute):
    dispute()

    ledger.go_to(2036, 1, 1)
    ledger.sweep(holds.sweep)

    assert state(ledger)[2] == 1000


@pytest.mark.parametrize("message", [Capture, Release])
def test_the_main_app_can_not_end_a_freeze(ledger, shop, dispute, message):  # noqa: F811
    dispute(id="dp_1")
    with transaction() as ctx:
        (hold,) = holds.open_of(ctx.session, ledger.ids["acme"], count=9)

    (answer,) = ledger.debit_all([message(ledger.ids["acme"], hold.key_text)])

    assert answer.error.name == "UnknownHold"
    assert state(ledger) == (1000, 0, 1000, 0)


def test_the_main_app_can_not_ask_to_reverse_a_freeze():
    with pytest.raises(InvalidField):
        Reverse(1, "billing:dispute:dp_1:stripe:in_1:il_1:price_1")


def test_what_is_frozen_does_not_count_against_the_months_cap(ledger, dispute):
    dispute(4450)
    cap(ledger, 100)

    assert spend(ledger, 60, key="debit:1") == "taken"
    assert place(ledger, 20, key="hold:1").outcome == "held"
    assert place(ledger, 1, key="hold:2").reason == "SpendCapReached"
    assert spend(ledger, 2, key="debit:2") == "refused"


def test_while_a_dispute_is_open_no_months_come_and_won_they_are_caught_up(stripe, ledger, shop):  # noqa: F811
    line = shop.line(shop.price(unit=120_000), start=1772323200, end=1803859200)
    charge = shop.pays(shop.invoice([line], subscription="sub_1", status="open"))
    made = shop.opens_dispute(charge)
    stripe.deliver(*shop.events)

    ledger.go_to(2026, 4, 2)
    stripe.drip()
    while_open = [each.amount for each in ledger.see("acme").entries if each.type == "grant"]
    shop.now += 60
    shop.closes_dispute(made, "won")
    stripe.deliver(shop.events[-1])

    granted = [each.amount for each in ledger.see("acme").entries if each.type == "grant"]
    assert (while_open, granted) == ([1000] * 2, [1000] * 3)


def test_a_won_dispute_lets_an_annual_plan_go_on_whose_credits_were_spent(stripe, ledger):
    ledger.go_to(2026, 3, 1)
    ledger.open_account("acme", status="trial", plan="starter")
    annual = stripe.shop("acme")
    line = annual.line(
        annual.price(unit=89_000), start=seconds(2026, 3, 1), end=seconds(2027, 3, 1)
    )
    charge = annual.pays(annual.invoice([line], subscription="sub_1", status="open"))
    stripe.deliver(*annual.events)
    ledger.debit("acme", "idea_generation", key="all", units=500)
    annual.events.clear()

    annual.now += 3600
    dispute = annual.opens_dispute(charge)
    annual.now += 3600
    annual.closes_dispute(dispute, "won")
    stripe.deliver(*annual.events)
    ledger.go_to(2026, 4, 2)
    stripe.drip()

    assert ledger.see("acme").credits == 1000


def test_a_dispute_is_told_when_it_opens_and_with_each_new_status_alone(stripe, shop):  # noqa: F811
    inquiry = shop.opens_dispute(shop.charge_of_it, status="warning_needs_response")
    opened = shop.opens_dispute(shop.charge_of_it)
    stripe.deliver(*shop.events)
    shop.now += 60
    stripe.deliver(
        shop.event("charge.dispute.updated", opened | {"amount": 8000}),
        shop.event("charge.dispute.updated", inquiry | {"status": "warning_closed"}),
    )
    shop.now += 60
    stripe.deliver(shop.event("charge.dispute.updated", opened | {"status": "under_review"}))

    told = [name for name in stripe.told() if name.startswith("dispute")]
    assert told == ["dispute.changed", "dispute.opened", "dispute.changed", "dispute.changed"]
