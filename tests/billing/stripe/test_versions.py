"""Which of two states is the newer: a total order, so that any order of arrival ends in the same."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.stripe import object_rows
from billing.stripe.apply import facts_of
from billing.stripe.kinds import KINDS
from billing.stripe.object_rows import State, as_json, digest_of
from worker.database import transaction

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
A_SECOND = dt.timedelta(seconds=1)
LIVES = {name: tuple(kind.STATUSES) for name, kind in KINDS.items() if kind.STATUSES}


def a_state(kind, **fields):
    return facts_of(kind, {"id": "x_1", "status": "open", "currency": "usd", **fields})


def version(state, at=0):
    return (at, [int(each) for each in state.rank], digest_of(as_json(state)))


@pytest.mark.parametrize("kind", sorted(LIVES))
def test_of_one_second_the_later_in_life_is_the_newer(kind):
    states = [a_state(kind, status=status) for status in LIVES[kind] if status != "deleted"]

    assert sorted(states, key=version) == states


@pytest.mark.parametrize(
    ("kind", "older", "newer"),
    [
        pytest.param(
            "subscription",
            {"status": "past_due", "current_period_end": 1775000000},
            {"status": "active", "current_period_end": 1777600000},
            id="a later period outweighs a worse status",
        ),
        pytest.param(
            "subscription",
            {"status": "active", "current_period_end": 1777600000},
            {"status": "canceled", "current_period_end": 1775000000},
            id="an end outweighs any period",
        ),
        pytest.param(
            "subscription",
            {"status": "active", "cancel_at_period_end": False},
            {"status": "active", "cancel_at_period_end": True},
            id="a cancellation that is planned",
        ),
        pytest.param("invoice", {"attempt_count": 1}, {"attempt_count": 2}, id="one more attempt"),
        pytest.param(
            "charge",
            {"status": "succeeded", "amount_refunded": 100},
            {"status": "succeeded", "amount_refunded": 200},
            id="a refund more",
        ),
        pytest.param("dispute", {"status": "won"}, {"status": "lost"}, id="lost is worse than won"),
        pytest.param("refund", {"status": "succeeded"}, {"status": "failed"}, id="a refund fails"),
        pytest.param("customer", {}, {"deleted": True}, id="deleted"),
    ],
)
def test_of_one_second_the_life_of_the_object_decides(kind, older, newer):
    assert version(a_state(kind, **older)) < version(a_state(kind, **newer))


def test_a_later_second_outweighs_any_life(database):
    reopened, paid = a_state("invoice", status="open"), a_state("invoice", status="paid")

    kept = [keep(paid, NOON), keep(reopened, NOON + A_SECOND), keep(paid, NOON)]

    assert kept == [True, True, False]
    assert known() == reopened


def test_the_same_state_twice_is_no_news(database):
    paid = a_state("invoice", status="paid")

    assert [keep(paid, NOON), keep(paid, NOON)] == [True, False]


def test_a_status_that_stripe_added_since_comes_first_of_its_second(database):
    assert version(a_state("invoice", status="quantum")) < version(a_state("invoice"))


_states = st.builds(
    a_state,
    st.just("invoice"),
    status=st.sampled_from(LIVES["invoice"]),
    attempt_count=st.integers(0, 2),
    amount_paid=st.integers(0, 2),
    number=st.sampled_from(["A", "B", None]),
)
_arrivals = st.lists(st.tuples(_states, st.integers(0, 1)), min_size=1, max_size=6)


@given(_arrivals, st.randoms(use_true_random=False))
def test_the_newest_of_some_states_does_not_depend_on_their_order(arrivals, chance):
    shuffled = chance.sample(arrivals, len(arrivals))

    newest = [max(version(*each) for each in order) for order in (arrivals, shuffled)]

    assert newest[0] == newest[1]


@given(_states, _states)
def test_two_states_are_equal_or_one_is_the_newer(one, other):
    assert (version(one) == version(other)) == (one == other)


def test_postgres_orders_states_as_python_does(database):
    states = [
        (a_state("invoice", status=status, attempt_count=attempts), NOON + A_SECOND * second)
        for second in (1, 0)
        for status in LIVES["invoice"][:5]
        for attempts in (2, 10, 0)
    ]
    for state, at in states:
        keep(state, at)

    assert known() == max(states, key=lambda each: version(each[0], each[1]))[0]


def keep(state, at) -> bool:
    with transaction() as ctx:
        return object_rows.store(ctx.at(NOON), State(state, at))


def known():
    with transaction() as ctx:
        return object_rows.read(ctx.session, "x_1")
