"""Refunds beside renewals, rollover, reversals and holds: the order does not matter."""

import pytest

from tests.billing.seams.conftest import APRIL, MAY


def test_a_refund_of_the_month_before_owes_what_was_spent_and_no_more(acme):
    charge = acme.subscribes()
    acme.uses(200, "march")
    acme.goes_on(days=31)
    acme.subscribes(APRIL, MAY)

    acme.is_refunded(charge)

    assert acme.left() == [("plan", 800)]
    assert acme.agrees()


def test_a_refund_takes_the_pack_and_no_credits_that_rolled_over(acme):
    acme.policy_of("starter", rollover_cap=300)
    acme.begins_cycle()
    charge = acme.buys_pack()
    acme.goes_on(days=31)

    acme.is_refunded(charge)

    assert acme.left() == [("rollover", 300), ("plan", 1000)]
    assert acme.agrees()


@pytest.mark.parametrize("debt_limit", [None, 0, 50], ids="debt limit {}".format)
@pytest.mark.parametrize("expires", [False, True], ids=["while it lasts", "after it expired"])
@pytest.mark.parametrize("way", ["debit", "hold"])
@pytest.mark.parametrize("refund_comes", ["first", "last"])
def test_a_refund_and_credits_that_come_back_end_the_same_in_any_order(
    acme, debt_limit, expires, way, refund_comes
):
    acme.policy_of("starter", take_back_debt_limit=debt_limit)
    charge = acme.subscribes()
    acme.goes_on(days=30, hours=22)
    if way == "debit":
        acme.uses(200, "work")
    else:
        acme.holds(200, "work")
    if expires:
        acme.goes_on(hours=4)
    give_back = acme.reverses if way == "debit" else acme.releases

    if refund_comes == "first":
        acme.is_refunded(charge)
        give_back("work")
    else:
        give_back("work")
        acme.is_refunded(charge)
    acme.goes_on(minutes=1)

    assert acme.left() == []
    assert acme.agrees()


def test_half_a_refund_keeps_half_once_written_off_credits_come_back(acme):
    acme.policy_of("starter", take_back_debt_limit=0)
    charge = acme.subscribes()
    acme.uses(800, "work")
    acme.is_refunded(charge, 4450)

    acme.reverses("work")

    assert acme.left() == [("plan", 500)]
    assert acme.agrees()


def test_a_later_month_that_paid_for_spent_credits_gets_them_back_with_the_reversal(acme):
    charge = acme.subscribes()
    acme.uses(200, "work")
    acme.goes_on(days=31)
    acme.is_refunded(charge)
    acme.subscribes(APRIL, MAY)
    assert acme.left() == [("plan", 800)]

    acme.reverses("work")
    acme.goes_on(minutes=1)

    assert acme.left() == [("plan", 800), ("reversal", 200)]
    assert acme.agrees()


def test_a_hold_that_expires_by_itself_leaves_no_debt_of_a_refund(acme):
    charge = acme.subscribes()
    acme.goes_on(days=30, hours=22)
    acme.holds(200, "work")
    acme.is_refunded(charge)
    assert acme.left() == [("plan", 200), ("debt", 200)]

    acme.goes_on(days=2)

    assert acme.left() == []
    assert acme.agrees()


def test_what_was_captured_during_a_refund_is_owed(acme):
    charge = acme.buys_pack()
    acme.holds(200, "work")
    acme.is_refunded(charge)

    acme.captures("work", 150)

    assert acme.left() == [("debt", 150)]
    assert acme.agrees()


def test_a_reversal_told_twice_corrects_a_refund_once(acme):
    acme.policy_of("starter", take_back_debt_limit=0)
    charge = acme.subscribes()
    acme.uses(200, "work")
    acme.is_refunded(charge)

    acme.reverses("work")
    entries = len(acme.see("acme").entries)
    acme.reverses("work")

    assert len(acme.see("acme").entries) == entries
    assert acme.left() == []


def test_a_refund_that_fails_after_its_correction_gives_all_credits_back(acme):
    charge = acme.subscribes()
    acme.uses(200, "work")
    refund = acme.at_stripe().refunds(charge, 8900)
    acme.deliver()
    acme.reverses("work")
    assert acme.left() == []

    acme.pass_time(minutes=1)
    acme.at_stripe().event("refund.failed", refund | {"status": "failed"})
    acme.shop.event("charge.refund.updated", refund | {"status": "failed"})
    acme.deliver()

    assert sum(credits for _, credits in acme.left()) == 1000
    assert acme.agrees()
