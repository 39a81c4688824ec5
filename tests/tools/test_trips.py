"""A job goes from its task to its commit by few files, and few changes between them."""

import pytest

from tests.tools.trips import NAMES, trip_of

#: Files and changes of file that each trip may have at most.
BOUNDS = {
    "debit": (15, 42),
    "debit-task": (13, 31),
    "invoice-paid": (39, 112),
    "invoice-paid-task": (43, 120),
    "bank-match": (42, 130),
    "bank-match-task": (44, 133),
    "bank-import": (18, 73),
    "bank-import-task": (38, 229),
    "trial-end": (14, 32),
    "trial-end-task": (18, 63),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_trip_is_no_longer_than_its_bounds(name, database, redis_client):
    files, changes = BOUNDS[name]

    trip = trip_of(name)

    entries = "\n".join(f"{count:4} {file}" for file, count in trip.entries.items())
    assert trip.files <= files, entries
    assert trip.changes <= changes, entries


def test_every_trip_has_bounds():
    assert list(BOUNDS) == NAMES
