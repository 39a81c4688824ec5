"""All jobs on one account, in any order: what must hold holds after every act, and every seam is reached."""

import pytest

from tests.lives.world import told
from tests.machine.seams import SEAMS
from tests.machine.walk import Walk
from tests.seeds import SEED, seeds

#: Stories of a walk: one for each seam. A long run walks so often.
STORIES, LONG = len(SEAMS), 40


def walk(chosen):
    """Walk with a story of each seed; a violation fails the test with the story as a list."""
    walked = Walk(list(chosen)).live()
    assert not walked.violations, "\n".join(told(*violation) for violation in walked.violations)
    return walked


def not_reached(walked):
    """The seams that no account of the walk shows."""
    return [name for name, accounts in walked.found.items() if not accounts]


@pytest.mark.timeout(600)
def test_every_seam_of_two_jobs_is_reached_and_what_must_hold_holds(database):
    walked = walk(range(1, 1 + STORIES))

    assert not_reached(walked) == []


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_many_walks_over_all_seams_hold_what_must_hold(database):
    chosen = list(seeds(STORIES * LONG))
    starts = range(0, len(chosen), STORIES)
    missing = [not_reached(walk(chosen[start : start + STORIES])) for start in starts]

    if SEED is None:
        assert max(map(len, missing)) <= 3, missing
