"""A job goes from its task to its commit by few files, and few changes between them."""

import pytest

from tests.tools.tracer import trace
from tests.tools.trips import TRIPS, trip_of

#: Files and changes of file that each trip may have at most.
BOUNDS = {
    "debit": (31, 93),
    "debit-task": (26, 73),
    "invoice-paid": (55, 249),
    "invoice-paid-task": (59, 256),
    "bank-match": (47, 197),
    "bank-match-task": (49, 199),
    "bank-import": (30, 345),
    "bank-import-task": (51, 627),
    "trial-end": (15, 48),
    "trial-end-task": (21, 92),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_trip_is_no_longer_than_its_bounds(name, database, redis_client):
    files, changes = BOUNDS[name]

    trip = trip_of(name)

    assert trip.files <= files
    assert trip.changes <= changes, "\n".join(f"{n:4} {file}" for file, n in trip.entries.items())


def test_every_trip_has_bounds():
    assert BOUNDS.keys() == TRIPS.keys()
