"""An upgrade gives its difference at once; a downgrade waits for the period's end."""

import pytest

from billing.renewal import plan_changes
from billing.renewal.plan_changes import PLAN_CHANGES
from worker.database import transaction


@pytest.fixture
def acme(ledger):
    """An account on starter, with a signup grant of the first of March."""
    ledger.plan("free", included_credits=100)
    ledger.plan("growth", included_credits=2000)
    ledger.plan("enterprise", included_credits=10_000)
    ledger.plan("starter-2", included_credits=1000)
    ledger.open_account("acme")
    ledger.seed("acme")
    ledger.go_to(2026, 3, 10)
    return ledger


def sweep(ledger):
    return ledger.sweep(plan_changes.sweep)


@pytest.mark.parametrize(
    ("to", "what", "credits", "after_the_period"),
    [
        pytest.param("growth", "upgraded", 2000, 2000, id="more: the difference at once"),
        pytest.param("enterprise", "upgraded", 10_000, 10_000, id="more, though its price is 0"),
        pytest.param("starter-2", "changed", 1000, 1000, id="as many: nothing moves"),
        pytest.param("free", "deferred", 1000, 100, id="fewer: with the next period"),
    ],
)
def test_a_change_of_plan_that_the_app_made(acme, to, what, credits, after_the_period):
    acme.change_plan("acme", to)

    (change,) = sweep(acme)

    assert (change.what, acme.see("acme").credits) == (what, credits)
    acme.go_to(2026, 4, 1)
    acme.sweep()
    assert acme.see("acme").credits == after_the_period
    assert acme.audit().agrees


def test_free_to_paid_gives_the_difference_at_once(ledger):
    ledger.plan("free", included_credits=100)
    ledger.open_account("acme", plan="free")
    ledger.seed("acme")

    ledger.change_plan("acme", "starter")
    sweep(ledger)

    assert ledger.history("acme") == "plan +100 100\nplan +900 1000"


def test_the_difference_expires_with_the_period(acme):
    acme.change_plan("acme", "growth")
    sweep(acme)
    acme.go_to(2026, 4, 1)

    acme.sweep()

    assert acme.lots("acme") == {"plan": 2000}


def test_a_plan_change_is_applied_once_by_two_sweeps(acme):
    acme.change_plan("acme", "growth")
    sweep(acme)

    assert sweep(acme) == []
    assert acme.see("acme").credits == 2000


def test_going_down_and_up_again_within_a_period_gives_nothing_twice(acme):
    for plan in ("growth", "starter", "growth", "free", "growth", "starter-2", "growth"):
        acme.change_plan("acme", plan)
        sweep(acme)

    assert acme.see("acme").credits == 2000
    assert acme.cycle("acme").next_plan_id is None


def test_two_upgrades_in_a_period_give_each_its_difference(acme):
    acme.change_plan("acme", "growth")
    sweep(acme)
    acme.change_plan("acme", "enterprise")
    sweep(acme)

    assert acme.see("acme").credits == 10_000


def test_a_downgrade_that_is_taken_back_never_happened(acme):
    acme.change_plan("acme", "free")
    sweep(acme)
    assert acme.cycle("acme").next_plan_id == acme.plan("free")

    acme.change_plan("acme", "starter")
    sweep(acme)
    acme.go_to(2026, 4, 1)
    acme.sweep()

    assert acme.see("acme").credits == 1000


def test_a_change_seen_with_a_boundary_takes_effect_at_the_boundary(acme):
    """Whether the change came before the boundary or after, no account gets both lots."""
    acme.change_plan("acme", "growth")
    acme.go_to(2026, 4, 1)

    sweep(acme)

    assert (
        acme.history("acme")
        == """
        plan             +1000   1000
        plan expired     -1000      0
        plan             +2000   2000
    """
    )


def test_from_a_plan_without_credits_the_whole_lot_is_the_periods(ledger):
    ledger.plan("bare", included_credits=0)
    ledger.open_account("acme", plan="bare")
    ledger.seed("acme")

    ledger.change_plan("acme", "starter")
    sweep(ledger)
    ledger.repair()

    assert ledger.lots("acme") == {"plan": 1000}
    assert ledger.audit().agrees


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"status": "suspended"}, id="suspended"),
        pytest.param({"is_deleted": True}, id="deleted"),
    ],
)
def test_an_account_that_is_not_renewable_gets_no_difference(acme, fields):
    acme.change_plan("acme", "growth")
    acme.set_host("acme", **fields)

    assert sweep(acme) == []


def test_a_plan_that_is_not_active_changes_nothing(acme):
    from sqlalchemy import update

    from models.host import Plan

    acme.change_plan("acme", "growth")
    with transaction() as ctx:
        ctx.session.execute(update(Plan).where(Plan.slug == "growth").values(is_active=False))

    assert sweep(acme) == []


def test_one_account_s_plan_change_can_be_applied(acme):
    acme.change_plan("acme", "growth")

    with transaction() as ctx:
        (change,) = plan_changes.follow_all(ctx.at(acme.now), [acme.ids["acme"]])

    assert (change.what, change.granted) == ("upgraded", 1000)


def test_every_comparison_has_its_line_in_the_table():
    from billing.host.accounts import PlanTerms

    def terms(credits):
        return PlanTerms(credits, 0, 0, is_active=True)

    compared = {plan_changes.compare(terms(5), terms(new)) for new in (4, 5, 6)}
    compared.add(plan_changes.compare(None, terms(5)))

    assert compared == set(PLAN_CHANGES)
