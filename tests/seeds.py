"""How much of a long test runs: all of it, or a part that the seed of `make test-long SEED=N` chooses."""

import os

SEED = int(os.environ["TEST_LONG_SEED"]) if "TEST_LONG_SEED" in os.environ else None
#: One part of so many.
PARTS = 50
#: Seconds after which a part begins no further test: those that are left have another seed's turn.
PART_S = 60


def part(count):
    """How many of `count` examples, accounts or turns."""
    return count if SEED is None else -(-count // PARTS)


def seeds(count):
    """The seeds of a test that has one for each of its turns."""
    first = 0 if SEED is None else SEED * part(count)
    return range(first, first + part(count))
