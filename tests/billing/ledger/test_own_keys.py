"""A key of ours has the same text for ever; another would give again what an older version gave."""

import datetime as dt
from types import SimpleNamespace

import pytest

from billing.ledger import idempotency, reversals
from billing.purchases import bridge, purchases
from billing.renewal import plan_changes, renewals, rollover, signup_grant
from worker.database import transaction

APRIL = dt.datetime(2026, 4, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (idempotency.own("seed", 7), "billing:seed:7"),
        (renewals.key_of(7, 3), "billing:renewal:7:3"),
        (rollover.key_of(9, 1), "billing:expiry:9"),
        (rollover.key_of(9, 2), "billing:expiry:9:2"),
        (
            plan_changes.key_of(SimpleNamespace(account_id=7, period_number=3), 2),
            "billing:plan_change:7:3:2",
        ),
        (purchases.lot_key(SimpleNamespace(key="stripe:il_1"), 2), "billing:bought:stripe:il_1:2"),
        (bridge.key_of(7, APRIL), "billing:bridge:7:1775001600"),
        (reversals.key_of("debit:1"), "billing:reversal:debit:1"),
        (reversals.finish_key("hold:1"), "billing:finish:hold:1"),
        (reversals.uuid_of(7, "debit:1"), idempotency.as_uuid("billing:reversed_by:7:debit:1")),
    ],
)
def test_a_key_of_ours_has_the_same_text_for_ever(key, text):
    assert key == text


def test_a_restored_trial_has_a_key_of_the_account_and_of_the_end_that_is_undone(ledger):
    ledger.open_account("acme", status="trial")
    ledger.seed("acme")
    ledger.debit("acme", "idea_generation", key="d", units=500)
    with transaction() as ctx:
        in_berlin = APRIL.astimezone(dt.timezone(dt.timedelta(hours=2)))
        signup_grant.give_again(ctx.at(ledger.now), {ledger.ids["acme"]: in_berlin})

    keys = [entry.key for entry in ledger.see("acme").entries if entry.amount > 0]
    assert keys == ["billing:seed:1", "billing:trial:1:2026-04-01T00:00:00+00:00"]


def test_what_rolls_over_has_a_key_of_the_account_and_of_the_period_it_goes_to(ledger):
    ledger.plan("saver", rollover_cap=500)
    ledger.open_account("acme", plan="saver")
    ledger.seed("acme")
    ledger.go_to(2026, 4, 2)
    ledger.sweep()

    keys = {entry.type: entry.key for entry in ledger.see("acme").entries}
    assert keys["rollover"] == "billing:rollover:1:2"
