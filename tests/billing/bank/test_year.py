"""A simulated year with known truth: no rule is wrong, and nine in ten need no reviewer."""

import pytest

from bench.bank_year import simulate


@pytest.mark.parametrize("seed", range(5))
def test_no_automatic_match_of_a_simulated_half_year_is_wrong(seed):
    year = simulate(accounts=120, months=6, seed=seed)

    assert year.wrong == []
    report = year.report()
    assert report["transfers"] > 600
    assert report["automatic_share"] >= 0.9


def test_the_same_seed_is_the_same_year():
    first, second = (simulate(accounts=30, months=3, seed=7).report() for _ in range(2))

    assert first == second
