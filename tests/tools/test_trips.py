"""A job goes from its task to its commit by few files, and few changes between them."""

import pytest

from tests.tools.trips import NAMES, trip_of

#: Files and changes of file that each trip may have at most.
BOUNDS = {
    "debit": (15, 42),
    "debit-task": (14, 40),
    "invoice-paid": (42, 138),
    "invoice-paid-task": (46, 146),
    "bank-match": (37, 100),
    "bank-match-task": (39, 103),
    "bank-import": (18, 75),
    "bank-import-task": (33, 190),
    "trial-end": (15, 28),
    "trial-end-task": (19, 58),
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
