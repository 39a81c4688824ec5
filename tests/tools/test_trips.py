"""A job goes from its task to its commit by few files, and few changes between them."""

import pytest

from tests.tools.trips import NAMES, trip_of

#: Files and changes of file that each trip may have at most.
BOUNDS = {
    "debit": (16, 44),  # accounts that are locked are passed over first
    "debit-task": (13, 30),
    "invoice-paid": (31, 109),
    "invoice-paid-task": (35, 113),
    "bank-match": (33, 93),
    "bank-match-task": (35, 96),
    "bank-import": (20, 88),
    "bank-import-task": (38, 243),
    "trial-end": (13, 34),
    "trial-end-task": (17, 65),
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
