"""The continuity of an account's statements: each opens where the one before it closed."""

import datetime as dt
import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.bank.intake.continuity import Link, check

DAY = dt.date(2026, 1, 1)


def link(opening, closing, day, *, opening_day=None, **more):
    named = {"digest": f"{opening}-{closing}-{day}-{more.get('sequence')}", "identity": None} | more
    named["identity"] = named["identity"] or named["digest"]
    return Link(
        opening=opening,
        closing=closing,
        opening_day=None if opening_day is None else DAY + dt.timedelta(days=opening_day),
        day=DAY + dt.timedelta(days=day),
        **named,
    )


def chain(movements, *, numbered=True, days=None):
    balances = list(accumulate(movements, initial=0))
    return [
        link(
            balances[place],
            balances[place + 1],
            days[place] if days else place,
            sequence=str(place + 1) if numbered else None,
        )
        for place in range(len(movements))
    ]


def reasons(links):
    return [hold.reason for hold in check(links)]


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_a_complete_sequence_has_no_gap_in_whatever_order_it_came(movements, chance, numbered):
    links = chain(movements, numbered=numbered)
    chance.shuffle(links)

    assert check(links) == []


@given(st.data())
def test_one_statement_left_out_of_a_numbered_chain_is_exactly_one_gap(data):
    movements = data.draw(st.lists(st.integers(-3, 3), min_size=12, max_size=30))
    links = chain(movements)
    left_out = data.draw(st.integers(1, len(links) - 2))
    after = links[left_out + 1]
    del links[left_out]
    data.draw(st.randoms(use_true_random=False)).shuffle(links)

    [gap] = check(links)

    assert (gap.reason, gap.digest) == ("gap", after.digest)


def test_several_statements_of_one_day_link_without_a_number():
    links = chain([5, -3, 0, 7], numbered=False, days=[0, 0, 0, 0])

    assert check(links) == []


def test_a_gap_names_the_missing_amount():
    [gap] = check([link(0, 100, 0), link(150, 200, 1)])

    assert gap.difference_minor == 50
    assert "opens with 150" in gap.says


def test_a_statement_that_sums_up_others_is_no_gap():
    daily = chain([5, -3, 7, 1])

    assert check([*daily, link(0, 10, 3, sequence="100", opening_day=0)]) == []


@pytest.mark.parametrize("seed", range(3))
def test_two_gaps_are_two(seed):
    links = [link(0, 1, 0), link(2, 3, 1), link(9, 10, 2)]
    random.Random(seed).shuffle(links)

    assert reasons(links) == ["gap", "gap"]


def test_numbers_that_skip_everywhere_say_nothing():
    links = [link(0, 0, place, sequence=str(place * 7)) for place in range(6)]

    assert check(links) == []


def test_a_new_year_begins_the_numbers_again():
    before = [link(0, 0, place, sequence=str(250 + place)) for place in range(5)]
    after = [link(0, 0, 10 + place, sequence=str(1 + place)) for place in range(5)]

    assert check([*before, *after]) == []
