"""Credits given for money never exceed what held money bought, and paid money gives or is asked about."""

import os
import random

import pytest

from tests.lives.life import KINDS
from tests.lives.run import run

#: In a life alone so many kinds meet that each pair of kinds is soon one of them.
SHORT, LONG = 24, 400


def told(result):
    return f"seeds of violations: {[life and life.seed for life, _ in result.violations]}"


@pytest.mark.timeout(180)
def test_what_an_account_has_is_what_its_held_money_bought(database):
    result = run(range(1, 1 + SHORT))

    assert not result.violations, told(result)
    missing = KINDS.keys() - result.reached.keys()
    assert not missing, missing
    assert result.pairs >= 300


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_what_many_accounts_have_is_what_their_held_money_bought(database):
    seed = int(os.environ.get("BILLING_LIVES_SEED", random.randrange(10**6)))
    print(f"BILLING_LIVES_SEED={seed}")
    result = run(range(seed, seed + LONG))

    assert not result.violations, told(result)
    assert min(result.reached[kind] for kind in KINDS) >= 20
    assert result.pairs >= 600
