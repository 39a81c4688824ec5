"""Credits given for money never exceed what held money bought, and paid money gives or is asked about."""

import os
import random

import pytest

from tests.lives.life import KINDS
from tests.lives.run import run

#: In a life alone so many kinds meet that each pair of kinds is soon one of them.
SHORT, LONG = 24, 400


def live(first, count):
    """Live these lives; a violation fails the test with the life as a list."""
    violations = []
    result = run(range(first, first + count), tell=violations.append)
    assert not result.violations, "\n".join(violations)
    return result


@pytest.mark.timeout(180)
def test_what_an_account_has_is_what_its_held_money_bought(database):
    result = live(1, SHORT)

    missing = KINDS.keys() - result.reached.keys()
    assert not missing, missing
    assert result.pairs >= 300


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_what_many_accounts_have_is_what_their_held_money_bought(database):
    seed = int(os.environ.get("BILLING_LIVES_SEED", random.randrange(10**6)))
    result = live(seed, LONG)

    assert min(result.reached[kind] for kind in KINDS) >= 20
    assert result.pairs >= 600
