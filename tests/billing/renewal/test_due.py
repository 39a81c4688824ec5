"""The work that waits for the sweeps is counted, for `billing status`."""

import datetime as dt

from billing.renewal import due
from tests.story import NOON
from worker.database import transaction


def counted(ledger):
    with transaction() as ctx:
        return due.count(ctx.at(ledger.now))


def test_a_period_and_the_lots_whose_time_is_over_are_due_until_the_sweeps_have_run(ledger):
    ledger.open_account("acme")
    ledger.seed("acme")
    ledger.grant("acme", 50, key="gift", expires_at=NOON + dt.timedelta(days=1))
    assert counted(ledger) == (0, 0)

    ledger.pass_time(days=2)
    assert counted(ledger) == (0, 1)
    ledger.pass_time(days=40)
    assert counted(ledger)[0] == 1

    ledger.sweep()
    assert counted(ledger) == (0, 0)


def test_what_no_sweep_may_touch_is_not_due(ledger):
    ledger.open_account("acme")
    ledger.grant("acme", 50, key="gift", expires_at=NOON + dt.timedelta(days=1))
    ledger.delete_account("acme")

    ledger.pass_time(days=2)

    assert counted(ledger) == (0, 0)
