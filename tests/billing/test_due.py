"""Due work is counted for the operator's first screen: what the sweeps will do when they next run."""

import datetime as dt

from billing.renewal import due
from tests.story import NOON
from worker.database import transaction


def counted(books):
    with transaction() as session:
        return due.count(session, now=books.now)


def test_a_period_and_the_lots_whose_time_is_over_are_due_until_the_sweeps_have_run(books):
    books.open_account("acme")
    books.seed("acme")
    books.grant("acme", 50, key="gift", expires_at=NOON + dt.timedelta(days=1))
    assert counted(books) == (0, 0)

    books.pass_time(days=2)
    assert counted(books) == (0, 1)
    books.pass_time(days=40)
    assert counted(books)[0] == 1

    books.sweep()
    assert counted(books) == (0, 0)


def test_what_no_sweep_may_touch_is_not_due(books):
    books.open_account("acme")
    books.grant("acme", 50, key="gift", expires_at=NOON + dt.timedelta(days=1))
    books.delete_account("acme")

    books.pass_time(days=2)

    assert counted(books) == (0, 0)
