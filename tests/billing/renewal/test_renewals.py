"""Each month a renewable account gets its plan's credits, once, whenever the sweep comes."""

import threading

import pytest

from billing.renewal import renewals
from billing.usage import holds
from billing_client.messages import PlaceHold
from tests.billing.usage.test_debits_at_once import run_together
from tests.story import NOON
from worker.database import transaction


@pytest.fixture
def acme(ledger):
    """An account with a signup grant of the 31st of January."""
    ledger.go_to(2027, 1, 31)
    ledger.open_account("acme")
    ledger.seed("acme")
    return ledger


def renewals_of(ledger, slug):
    """The times at which the periods' lots were given."""
    return [
        e.happened_at.strftime("%Y-%m-%d")
        for e in ledger.see(slug).entries
        if e.type == "grant" and e.description == "plan"
    ]


def test_at_the_end_of_the_period_what_is_left_expires_and_the_next_lot_comes(acme):
    acme.debit("acme", "clustering", key="1")
    acme.go_to(2027, 2, 28)

    acme.sweep()

    assert (
        acme.history("acme")
        == """
        plan           +1000   1000
        clustering       -10    990
        plan expired    -990      0
        plan           +1000   1000
    """
    )


def test_a_moment_before_the_boundary_nothing_is_due(acme):
    acme.go_to(2027, 2, 28, 11)

    assert acme.sweep() == []


def test_the_31st_is_remembered_through_shorter_months(acme):
    for month in (2, 3, 4, 5):
        acme.go_to(2027, month, {2: 28, 4: 30}.get(month, 31))
        acme.sweep()

    assert renewals_of(acme, "acme") == [
        "2027-01-31",
        "2027-02-28",
        "2027-03-31",
        "2027-04-30",
        "2027-05-31",
    ]


def test_a_sweep_run_twice_changes_nothing_more(acme):
    acme.go_to(2027, 3, 1)
    acme.sweep()
    before = acme.history("acme")

    assert acme.sweep() == []
    assert acme.history("acme") == before


def test_missed_periods_are_caught_up_once_as_if_each_sweep_had_been_on_time(acme):
    acme.go_to(2027, 4, 15)

    acme.sweep()

    assert (
        acme.history("acme")
        == """
        plan           +1000   1000
        plan expired   -1000      0
        plan           +1000   1000
        plan expired   -1000      0
        plan           +1000   1000
    """
    )
    assert renewals_of(acme, "acme") == ["2027-01-31", "2027-02-28", "2027-03-31"]
    assert acme.audit().agrees


def test_the_lot_of_a_period_can_be_spent_until_its_last_moment(acme):
    acme.go_to(2027, 2, 28)
    acme.pass_time(microseconds=-1)
    assert acme.debit("acme", "clustering", key="1").outcome == "taken"

    acme.pass_time(microseconds=1)

    assert acme.see("acme").available == 0


@pytest.mark.parametrize(
    ("spent_words", "rolled"),
    [
        pytest.param(90_000, 100, id="less than the cap is left: all of it"),
        pytest.param(80_000, 200, id="as much as the cap"),
        pytest.param(100, 200, id="more than the cap: the cap"),
    ],
)
def test_up_to_the_cap_rolls_over(ledger, spent_words, rolled):
    ledger.plan("starter", rollover_cap=200)
    ledger.open_account("acme")
    ledger.seed("acme")
    ledger.debit("acme", "content_generation", units=spent_words, key="1")
    ledger.go_to(2026, 4, 1)

    ledger.sweep()

    assert ledger.lots("acme") == {"rollover": rolled, "plan": 1000}
    assert ledger.see("acme").credits == 1000 + rolled
    assert ledger.audit().agrees


def test_what_has_rolled_over_burns_first_and_counts_against_the_next_cap(ledger):
    ledger.plan("starter", rollover_cap=200)
    ledger.open_account("acme")
    ledger.seed("acme")
    ledger.go_to(2026, 4, 1)
    ledger.sweep()
    ledger.debit("acme", "clustering", key="1")
    assert ledger.lots("acme") == {"rollover": 190, "plan": 1000}
    ledger.go_to(2026, 5, 1)

    ledger.sweep()

    assert ledger.lots("acme") == {"rollover": 200, "plan": 1000}
    assert (
        ledger.history("acme")
        == """
        plan              +1000    1000
        plan expired       -800     200
        200 rolled over      +0     200
        plan              +1000    1200
        clustering          -10    1190
        plan expired       -990     200
        200 rolled over      +0     200
        plan              +1000    1200
    """
    )


def test_credits_that_roll_over_into_a_plan_without_credits_are_kept_and_hashed(ledger):
    ledger.plan("starter", rollover_cap=5000)
    ledger.plan("bare", included_credits=0)
    ledger.open_account("acme")
    ledger.seed("acme")
    ledger.change_plan("acme", "bare")
    ledger.go_to(2026, 4, 1)

    ledger.sweep()

    assert ledger.lots("acme") == {"rollover": 1000}
    assert ledger.audit().agrees


def test_credits_that_were_bought_are_not_touched_by_a_renewal(acme):
    acme.grant("acme", 50, "top_up", key="order:1")
    acme.go_to(2027, 2, 28)

    acme.sweep()

    assert acme.lots("acme") == {"plan": 1000, "top_up": 50}


def test_a_renewal_pays_the_debt_first(ledger):
    ledger.plan("generous", included_credits=100, debt_limit=30)
    ledger.open_account("acme", plan="generous")
    ledger.seed("acme")
    ledger.debit("acme", "image_generation", units=26, key="1")
    assert ledger.see("acme").credits == -30
    ledger.go_to(2026, 4, 1)

    ledger.sweep()

    assert (ledger.see("acme").credits, ledger.see("acme").debt) == (70, 0)
    assert ledger.audit().agrees


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"status": "suspended"}, id="suspended"),
        pytest.param({"status": "cancelled"}, id="cancelled"),
        pytest.param({"status": "pending_payment"}, id="not yet paid"),
        pytest.param({"is_deleted": True}, id="deleted"),
        pytest.param({"plan_id": None}, id="without a plan"),
    ],
)
def test_an_account_that_is_not_renewable_is_not_renewed_and_its_cycle_ends(acme, fields):
    acme.set_host("acme", **fields)
    acme.go_to(2027, 3, 1)

    (ended,) = acme.sweep(renewals.sweep_due)

    assert ended.what == "ended"
    assert acme.cycle("acme").ended_at.day == 28
    assert renewals_of(acme, "acme") == ["2027-01-31"]


def test_a_balance_that_cannot_hold_the_lot_goes_without_until_it_can(acme):
    acme.debit("acme", "content_generation", units=100_000, key="1")
    acme.set_host("acme", credits=2**31 - 1)
    acme.go_to(2027, 2, 28)
    acme.sweep()
    assert (acme.cycle("acme").period_number, acme.lots("acme")) == (2, {})
    assert acme.audit().findings["period_lots"]

    acme.set_host("acme", credits=0)
    acme.repair()

    assert acme.lots("acme") == {"plan": 1000}
    assert acme.audit().agrees


def test_two_sweeps_at_once_renew_each_account_once(ledger):
    slugs = [f"a{n}" for n in range(30)]
    for slug in slugs:
        ledger.open_account(slug)
        ledger.seed(slug)
    ledger.go_to(2026, 6, 15)
    barrier = threading.Barrier(3)

    def sweep(_):
        barrier.wait()
        while True:
            with transaction() as ctx:
                if not renewals.sweep_due(ctx.at(ledger.now), limit=7):
                    break

    run_together(sweep, 3)

    ledger.sweep()
    for slug in slugs:
        assert len(renewals_of(ledger, slug)) == 4
        assert ledger.lots(slug) == {"plan": 1000}
    assert ledger.audit().agrees


def test_a_sweep_passes_an_account_that_is_at_work_and_takes_it_next_time(ledger):
    for slug in ("acme", "busy"):
        ledger.open_account(slug)
        ledger.seed(slug)
    ledger.go_to(2026, 4, 1)

    from billing.host import accounts

    with transaction() as at_work:
        accounts.lock(at_work.session, [ledger.ids["busy"]])
        first = ledger.sweep()
    then = ledger.sweep()

    assert [one.account_id for one in first] == [ledger.ids["acme"]]
    assert [one.account_id for one in then] == [ledger.ids["busy"]]


def test_the_anchor_is_the_moment_of_signup(ledger):
    ledger.open_account("acme")
    ledger.pass_time(minutes=3)

    ledger.seed("acme")

    assert ledger.cycle("acme").anchor_at == NOON


def test_a_debit_that_comes_before_the_sweep_finds_the_new_lot(acme):
    acme.debit("acme", "content_generation", units=100_000, key="1")
    acme.go_to(2027, 2, 28)

    answer = acme.debit("acme", "clustering", key="2")

    assert answer.outcome == "taken"
    assert acme.lots("acme") == {"plan": 990}
    assert acme.sweep() == []


def test_a_hold_that_comes_before_the_sweep_finds_the_new_lot(acme):
    acme.debit("acme", "content_generation", units=100_000, key="1")
    acme.go_to(2027, 2, 28)

    with transaction() as ctx:
        placed = holds.place(ctx.at(acme.now), PlaceHold(acme.ids["acme"], "clustering", "hold:1"))

    assert placed.outcome == "held"
