"""Credits given for money never exceed what held money bought, and paid money gives or is asked about."""

import pytest

from tests.lives.life import KINDS
from tests.lives.run import run
from tests.seeds import SEED, seeds

#: Lives of `make test`, and of a long run.
SHORT, LONG = 12, 2000
#: What the short lives, whose seeds do not change, must have reached at least.
KINDS_REACHED, PAIRS_REACHED = 24, 100


def live(chosen, **more):
    """Live these lives; a violation fails the test with the life as a list."""
    violations = []
    result = run(chosen, tell=violations.append, **more)
    assert not result.violations, "\n".join(violations)
    return result


@pytest.mark.timeout(240)
def test_what_an_account_has_is_what_its_held_money_bought(database):
    result = live(range(1, 1 + SHORT), days=60)

    kinds = {kind for kind in KINDS if result.reached[kind]}
    assert len(kinds) >= KINDS_REACHED, sorted(KINDS.keys() - kinds)
    assert result.pairs >= PAIRS_REACHED


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_what_many_accounts_have_is_what_their_held_money_bought(database):
    result = live(seeds(LONG))

    if SEED is None:
        assert min(result.reached[kind] for kind in KINDS) >= 50
        assert result.pairs >= 600
