"""A slot is claimed once, however many beats tick."""

import datetime as dt

from billing.operations import slots
from tests.story import NOON
from worker.database import transaction

HOUR = dt.timedelta(hours=1)


def claim(moment):
    with transaction() as ctx:
        return slots.claim(ctx.at(moment), "audit", every=HOUR)


def test_one_slot_is_claimed_once(database):
    assert [claim(NOON), claim(NOON + dt.timedelta(minutes=59))] == [True, False]


def test_the_next_slot_is_another(database):
    assert [claim(NOON), claim(NOON + HOUR)] == [True, True]
