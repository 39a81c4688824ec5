"""Each check of the walk notices what it is there for."""

import pytest
import sqlalchemy as sa

from billing.usage import holds
from billing_client import PlaceHold, Reverse
from tests.billing.stripe.story import Stripe
from tests.machine import checks, seams
from worker.database import engine, transaction

#: What breaks -> how.
BREAKS = {
    "fell to -": "UPDATE igny8_credit_transactions SET lots_used = '[[1, -5000]]' WHERE type = 'deduction'",
    "which had expired": "UPDATE billing.lots SET expires_at = '2020-01-01' WHERE source = 'top_up'",
    "was reversed to": "UPDATE igny8_credit_transactions SET amount = amount + 1 WHERE type = 'reversal'",
    "charges": """UPDATE igny8_credit_transactions
                  SET metadata = metadata || '{"debt": 900}' WHERE type = 'take_back'""",
    "its holds reserve": "UPDATE billing.lots SET held = held - 1 WHERE held > 0",
    "the balance is": "UPDATE billing.books SET credits = credits + 1",
    "is paid for until": """
        UPDATE igny8_tenants SET status = 'suspended';
        INSERT INTO billing.suspensions (account_id, reason, status_before, actor, since)
        VALUES (1, 'payment_failed', 'active', 'bank', now());
        UPDATE billing.purchases SET origin = 'billing:invoice:1', starts_at = '2020-01-01',
               ends_at = '2030-01-01', taken_back = 0""",
}


@pytest.fixture
def acme(ledger):
    """An account that bought two packs, used the first, reversed, holds some, and got one refunded."""
    ledger.open_account("acme", status="active")
    stripe = Stripe(ledger)
    shop = stripe.shop("acme")
    shop.buys(2500, credits=500)
    charge = shop.buys(2500, credits=500)
    stripe.deliver(*shop.events)
    ledger.debit("acme", "idea_generation", key="kept", units=100)
    ledger.debit("acme", "idea_generation", key="undone", units=10)
    ledger.debit_all([Reverse(ledger.ids["acme"], "undone")])
    with transaction() as ctx:
        message = PlaceHold(ledger.ids["acme"], "idea_generation", "hold", units=10)
        holds.place(ctx.at(ledger.now), message)
    shop.events.clear()
    shop.refunds(charge, 2500)
    stripe.deliver(*shop.events)
    return ledger


def wrong(ledger):
    return [what for _, what in checks.wrong(ledger.now, [ledger.ids["acme"]])]


def test_nothing_is_wrong_with_an_account_that_nobody_touched(acme):
    assert wrong(acme) == []


@pytest.mark.parametrize("what", BREAKS)
def test_a_check_names(what, acme):
    with engine().begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text(BREAKS[what]))

    assert any(what in line for line in wrong(acme)), wrong(acme)


def test_what_one_account_reached_is_not_another_s(acme):
    other = acme.open_account("other", status="active")

    found = seams.reached([acme.ids["acme"], other])

    assert found["a bought lot meets a reversal"] == set()
    assert found["a refund meets a hold"] == set()
    acme.debit("acme", "idea_generation", key="again", units=1)
    assert seams.reached([acme.ids["acme"], other])["a bought lot meets a reversal"] == {
        acme.ids["acme"]
    }
