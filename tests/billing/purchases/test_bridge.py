"""The bridge over a renewal: who gets it, what the payment makes of it, and how it ends."""

import datetime as dt

import pytest

from billing.errors import BalanceTooLarge
from billing.ledger.ledger import MAX_BALANCE
from tests.billing.purchases.conftest import APRIL, MARCH, MAY, day

HOUR, SECOND = dt.timedelta(hours=1), dt.timedelta(seconds=1)
#: A second more than a renewal may be off.
LONGER = 24 * HOUR + SECOND
#: Three days, of the default setting.
BRIDGE = 72 * HOUR


@pytest.fixture
def renewing(till, ledger):
    """Acme has paid for March; it is half an hour into April, and March's credits have expired."""
    till.buys()
    ledger.now = APRIL + HOUR / 2
    ledger.sweep()
    return till


@pytest.mark.parametrize(
    ("since", "changed", "credits"),
    [
        pytest.param(dt.timedelta(0), {}, 250, id="from its first moment on"),
        pytest.param(-SECOND, {}, 0, id="not before it begins"),
        pytest.param(BRIDGE - SECOND, {}, 250, id="as long as a bridge lasts"),
        pytest.param(BRIDGE, {}, 0, id="not when it would be over"),
        pytest.param(HOUR, {"credits": 4}, 1, id="a part that is one credit"),
        pytest.param(HOUR, {"credits": 3}, 0, id="a part that is less than a credit"),
    ],
)
def test_a_period_that_is_not_paid_has_its_bridge_in_time(till, ledger, since, changed, credits):
    till.buys(starts_at=day(2, 1), ends_at=MARCH)
    ledger.now = APRIL + since
    ledger.sweep()

    till.bridges(is_first=True, **changed)

    expected = [("bridge", credits, 0, APRIL + BRIDGE)] if credits else []
    assert till.lots() == expected


@pytest.mark.parametrize(
    ("bought", "is_first", "has_bridge"),
    [
        pytest.param({"ends_at": APRIL}, False, True, id="the old period ends as it begins"),
        pytest.param({"ends_at": APRIL - 24 * HOUR}, False, True, id="a day before"),
        pytest.param({"ends_at": APRIL - LONGER}, False, False, id="longer before: a new start"),
        pytest.param({"ends_at": MAY}, False, False, id="what was paid runs on"),
        pytest.param({"ends_at": MAY}, True, False, id="it is the first, and is paid"),
        pytest.param({"ends_at": day(2, 1), "starts_at": day(1, 1)}, True, True, id="a trial ends"),
        pytest.param({"plan": None, "ends_at": APRIL}, False, False, id="only a pack has ended"),
        pytest.param({"plan": None, "ends_at": MAY}, True, True, id="only a pack runs on"),
    ],
)
def test_a_bridge_leads_from_a_paid_plan_or_a_trial_to_a_period_that_is_not_paid(
    till, ledger, bought, is_first, has_bridge
):
    till.buys(**bought)
    ledger.open_account("other")
    till.buys("other", key="theirs", **bought)
    ledger.now = APRIL

    till.bridges(is_first=is_first)

    assert ("bridge", 250, 0, APRIL + BRIDGE) in till.lots() or not has_bridge
    assert has_bridge or "bridge" not in ledger.lots("acme")
    assert "bridge" not in ledger.lots("other")


@pytest.mark.parametrize(("late", "credits"), [(24 * HOUR, 250), (LONGER, None)])
def test_an_old_period_that_ended_up_to_a_day_late_is_renewed(till, ledger, late, credits):
    till.buys(ends_at=APRIL + late)
    ledger.now = APRIL + 26 * HOUR

    till.bridges()

    assert ledger.lots("acme").get("bridge") == credits


def test_a_batch_gives_a_bridge_to_each_that_waits_and_once(renewing, ledger):
    ledger.now = MARCH
    ledger.open_account("paid")
    renewing.buys("paid", key="two", ends_at=MAY)
    ledger.open_account("full", credits=MAX_BALANCE)
    ledger.open_account("third")
    ledger.now = APRIL

    for _ in range(2):
        renewing.bridges("full", "paid", "acme", "third", is_first=True)

    bridges = {slug: ledger.lots(slug).get("bridge") for slug in ledger.ids}
    assert bridges == {"acme": 250, "paid": None, "full": None, "third": 250}
    assert ledger.audit().agrees


def test_a_bridge_whose_payment_failed_expires_and_nothing_else_does(renewing, ledger):
    ledger.grant("acme", 40, key="gift")
    renewing.bridges()
    renewing.spends(50)
    renewing.holds(20)

    renewing.ends_bridge()
    renewing.ends_bridge()

    assert renewing.lots() == [("bridge", 20, 20, APRIL + BRIDGE), ("goodwill", 40, 0, None)]
    assert ledger.see("acme").entries[-1].amount == -180
    assert ledger.see("acme").entries[-1].happened_at == ledger.now


def pays(till, **changed):
    till.buys(key="april", starts_at=APRIL, ends_at=MAY, **changed)


def test_the_payment_makes_the_bridge_its_first_lot_and_gives_the_rest(renewing, ledger):
    renewing.bridges()
    renewing.spends(50)

    pays(renewing)

    assert renewing.lots() == [("plan", 950, 0, MAY)]
    entry = ledger.see("acme").entries[-1]
    assert (entry.amount, entry.details["bridge"]) == (750, 250)
    assert ledger.audit().agrees


def test_a_bridge_becomes_the_first_lot_alone_where_several_are_due_at_once(renewing, ledger):
    renewing.bridges()
    ledger.now = day(5, 2)

    renewing.buys(key="april", starts_at=APRIL, ends_at=day(6, 1))

    assert [e.amount for e in ledger.see("acme").entries if e.type == "grant"][1:] == [
        250,
        750,
        1000,
    ]


def test_a_pack_of_the_same_moment_leaves_the_bridge_to_the_plan(renewing, ledger):
    renewing.bridges()

    renewing.buys(key="pack", plan=None, credits=100, starts_at=APRIL)
    pays(renewing)

    assert renewing.lots() == [("plan", 1000, 0, MAY), ("top_up", 100, 0, None)]


def test_a_payment_that_comes_late_gives_what_the_bridge_did_not(renewing, ledger):
    renewing.bridges()
    renewing.spends(50)
    renewing.holds(20)
    renewing.ends_bridge()
    renewing.releases()
    renewing.ends_bridge()

    pays(renewing)

    assert renewing.lots() == [("plan", 950, 0, MAY)]
    assert ledger.audit().agrees


def test_a_payment_of_less_than_the_bridge_gives_nothing_more_and_takes_nothing(renewing, ledger):
    renewing.bridges()

    pays(renewing, credits=100)

    assert renewing.lots() == [("plan", 250, 0, MAY)]
    assert ledger.see("acme").credits == 250
    assert ledger.audit().agrees


@pytest.mark.parametrize("debt", [30, 900])
def test_a_debt_is_repaid_from_what_the_payment_still_gives(till, ledger, debt):
    ledger.plan("owing", debt_limit=2000)
    ledger.open_account("late", plan="owing")
    ledger.now = APRIL
    till.bridges("late", is_first=True)
    till.holds(250, "late")
    till.spends(debt, "late")

    till.buys("late", plan="owing", starts_at=APRIL, ends_at=MAY)

    seen = ledger.see("late")
    assert (seen.credits, seen.debt) == (1000 - debt, max(debt - 750, 0))
    assert till.lots("late") == [("plan", 1000 - min(debt, 750), 250, MAY)]
    ((_, given),) = seen.entries[-1].lots
    assert (seen.entries[-1].type, given) == ("grant", max(750 - debt, 0))
    assert ledger.audit().agrees


def test_a_payment_whose_rest_does_not_fit_is_refused(till, ledger):
    ledger.open_account("rich", credits=MAX_BALANCE - 999)
    ledger.now = APRIL
    till.bridges("rich", is_first=True)
    ledger.grant("rich", 1, key="one")

    with pytest.raises(BalanceTooLarge):
        till.buys("rich", starts_at=APRIL, ends_at=MAY)
