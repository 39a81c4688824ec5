"""Expired credits leave the ledger; held ones stay until their hold ends."""

import datetime as dt

import pytest

from billing.renewal import expiry
from billing.usage import holds, post
from billing_client.messages import Capture, PlaceHold, Release, Reverse
from tests.story import NOON
from worker.database import transaction


@pytest.fixture
def acme(ledger):
    """An account with 10 credits that expire in a day, and 100 that do not."""
    ledger.open_account("acme", credits=100, status="trial")
    ledger.grant("acme", 10, "goodwill", key="gift", expires_at=NOON + dt.timedelta(days=1))
    return ledger


def hold(ledger, slug, *, key):
    message = PlaceHold(ledger.ids[slug], "image_prompt_extraction", key)
    with transaction() as ctx:
        assert holds.place(ctx.at(ledger.now), message).outcome == "held"


def act(ledger, message):
    with transaction() as ctx:
        post.apply(ctx.at(ledger.now), [message])


def test_an_expired_lot_leaves_the_ledger_by_an_entry_at_the_time_of_its_expiry(acme):
    acme.pass_time(days=3)

    acme.sweep(expiry.sweep)

    assert (
        acme.history("acme")
        == """
        opening balance      +100   100
        goodwill              +10   110
        goodwill expired      -10   100
    """
    )
    assert acme.see("acme").entries[-1].happened_at == NOON + dt.timedelta(days=1)
    assert acme.audit().agrees


def test_until_its_moment_nothing_expires(acme):
    acme.pass_time(days=1, microseconds=-1)

    assert acme.sweep() == []


def test_sweeping_twice_changes_nothing_more(acme):
    acme.pass_time(days=1)
    acme.sweep()

    assert acme.sweep() == []
    assert acme.see("acme").credits == 100


def test_a_lot_that_expires_leaves_what_is_held(acme):
    hold(acme, "acme", key="hold:1")
    acme.pass_time(minutes=1)
    acme.now += dt.timedelta(days=1)

    acme.sweep()

    assert (acme.see("acme").credits, acme.see("acme").held) == (102, 2)
    assert acme.audit().agrees


def test_a_hold_that_is_captured_after_the_expiry_is_paid_from_the_expired_lot(acme):
    hold(acme, "acme", key="hold:1")
    acme.pass_time(days=1)
    acme.sweep()

    act(acme, Capture(acme.ids["acme"], "hold:1"))

    assert acme.see("acme").credits == 100
    assert acme.sweep() == []


def test_what_later_holds_give_back_expires_each_with_a_key_of_its_own(acme):
    for number in range(4):
        hold(acme, "acme", key=f"hold:{number}")
    acme.pass_time(days=1)
    acme.sweep()
    lot_id = acme.see("acme").lots[0].id

    for number in range(4):
        act(acme, Release(acme.ids["acme"], f"hold:{number}"))
        acme.sweep()

    expiries = [e.key for e in acme.see("acme").entries if e.type == "expiry"]
    assert expiries == [f"billing:expiry:{lot_id}{n}" for n in ("", ":2", ":3", ":4", ":5")]
    assert acme.see("acme").credits == 100
    assert acme.audit().agrees


def test_what_a_reversal_gives_back_to_an_expired_lot_expires_again(acme):
    acme.debit("acme", key="debit:1")
    acme.pass_time(days=1)
    acme.sweep()
    act(acme, Reverse(acme.ids["acme"], "debit:1"))

    acme.sweep()

    assert acme.see("acme").credits == 100
    assert acme.audit().agrees


@pytest.mark.parametrize(
    ("slug", "fields"),
    [
        pytest.param("aws-admin", {"is_deleted": False}, id="the system's"),
        pytest.param("gone", {"is_deleted": True}, id="deleted"),
    ],
)
def test_some_accounts_are_left_out_by_the_sweep(ledger, slug, fields):
    ledger.open_account(slug)
    ledger.grant(slug, 10, key="gift", expires_at=NOON + dt.timedelta(days=1))
    ledger.set_host(slug, **fields)
    ledger.pass_time(days=2)

    assert ledger.sweep() == []
    assert ledger.audit().agrees


def test_many_lots_expire_in_bounded_batches(ledger):
    for number in range(7):
        ledger.open_account(f"a{number}")
        ledger.grant(f"a{number}", 10, key=f"{number}", expires_at=NOON + dt.timedelta(days=1))
    ledger.pass_time(days=1)
    sets = []

    def in_threes(ctx):
        sets.append(expiry.sweep(ctx, limit=3))
        return sets[-1]

    ledger.sweep(in_threes)

    assert [len(done) for done in sets] == [3, 3, 1, 0]


def test_an_expiry_that_comes_before_the_renewal_lets_credits_roll_over_all_the_same(ledger):
    ledger.plan("starter", rollover_cap=200)
    ledger.open_account("acme")
    ledger.seed("acme")
    ledger.go_to(2026, 4, 1)

    ledger.sweep(expiry.sweep)

    assert ledger.lots("acme") == {"rollover": 200, "plan": 1000}


def test_what_is_held_over_a_renewal_does_not_roll_over(ledger):
    ledger.plan("starter", rollover_cap=5000)
    ledger.open_account("acme")
    ledger.seed("acme")
    ledger.go_to(2026, 4, 1)
    ledger.pass_time(minutes=-1)
    hold(ledger, "acme", key="hold:1")
    ledger.pass_time(minutes=1)
    ledger.sweep()
    assert (ledger.see("acme").credits, ledger.see("acme").available) == (2000, 1998)

    act(ledger, Release(ledger.ids["acme"], "hold:1"))
    ledger.sweep()

    assert ledger.see("acme").credits == 1998
    assert ledger.audit().agrees


def test_a_lot_that_nobody_sweeps_for_a_day_is_a_finding(acme):
    acme.pass_time(days=2, seconds=1)

    assert [facts for _, facts in acme.audit().findings["expired_lots"]] == [
        {"account_id": acme.ids["acme"], "credits": 10}
    ]


def test_trial_credits_and_no_others_can_be_ended(acme):
    acme.grant("acme", 50, "trial", key="trial")

    with transaction() as ctx:
        expired = expiry.end_trial_credits(ctx.at(acme.now), [acme.ids["acme"]])

    assert (expired, acme.lots("acme")) == (50, {"goodwill": 10, "opening_balance": 100})
