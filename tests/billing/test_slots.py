"""Two beats are as good as one."""

import datetime as dt

from billing import slots
from tests.story import NOON
from worker.database import transaction

HOUR = dt.timedelta(hours=1)


def claim(moment):
    with transaction() as session:
        return slots.claim(session, "audit", every=HOUR, now=moment)


def test_one_slot_is_claimed_once(database):
    assert [claim(NOON), claim(NOON + dt.timedelta(minutes=59))] == [True, False]


def test_the_next_slot_is_another(database):
    assert [claim(NOON), claim(NOON + HOUR)] == [True, True]
