"""Of a closed account Stripe's words are blanked, and what they meant for the money stays."""

import datetime as dt
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from billing import closing
from billing.context import Policy
from billing.operations import dead_letters
from billing.operations.dead_letters import DeadMessage
from models.host import Account
from models.stripe import StripeEvent
from tests.billing.lifecycle.conftest import tables_that_say
from tests.billing.stripe.door import body_of
from tests.stripe_objects import payment_method
from worker.database import transaction

OWNER, CARD = "jane@acme.test", "Xt5EWLLDS7FJjR1c"
SAID = {"billing_details": {"email": OWNER, "name": "Jane"}}
BY_CARD = {"payment_method_details": {"card": {"fingerprint": CARD}}}


@pytest.fixture
def gone(stripe, ledger):
    """A customer who has paid, waited for something, and is deleted for good; and another."""
    for slug, customer in (("acme", "cus_1"), ("other", "cus_2")):
        ledger.open_account(slug, status="trial")
        shop = stripe.shop(slug, customer=customer)
        charge = shop.charge(8900, **SAID, **BY_CARD)
        strange = shop.event("payment_method.attached", payment_method(customer=customer))
        stripe.deliver(shop.event("charge.succeeded", charge), strange)
        stripe.deliver(shop.event("charge.refunded", shop.charge(50, customer="cus_9", **SAID)))
    ledger.now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    with transaction() as ctx:
        ctx.session.execute(
            update(Account)
            .where(Account.slug == "acme")
            .values(is_deleted=True, deleted_at=ledger.now - day, restore_until=ledger.now - day)
        )
    return stripe


def close(stripe):
    with transaction() as ctx:
        return closing.sweep(replace(ctx.at(stripe.ledger.now), policy=Policy(closes_deleted=True)))


def payloads(customer):
    rows = select(StripeEvent.state, StripeEvent.payload).where(StripeEvent.customer == customer)
    with transaction() as ctx:
        return [
            (state, payload is not None)
            for state, payload in ctx.session.execute(rows.order_by(StripeEvent.id))
        ]


def test_its_events_are_blanked_and_no_one_elses(gone):
    before = gone.payments()

    close(gone)

    assert payloads("cus_1") == [("applied", False)] * 2
    assert payloads("cus_2") == [("applied", True)] * 2
    assert gone.payments() == before
    assert gone.ledger.audit().agrees


def test_what_still_waited_is_done_with(gone, ledger):
    late = gone.shop(customer="cus_1")
    gone.deliver(late.event("charge.succeeded", late.charge(8900, **SAID)))
    before = gone.outcomes()[-1]

    close(gone)

    assert (before, gone.outcomes()[-1]) == ("parked: AccountDeleted", "ignored: AccountClosed")
    gone.sweep()
    assert gone.outcomes()[-1] == "ignored: AccountClosed"


def test_a_webhook_among_the_dead_letters_is_blanked(gone):
    late = gone.shop(customer="cus_1")
    bodies = [
        body_of(late.event("charge.succeeded", late.charge(1, customer=customer, **SAID)))
        for customer in ("cus_1", "cus_11")
    ]
    letters = [
        DeadMessage(
            message_id=f"m{number}",
            error="Crash",
            reason="",
            queue="stripe",
            task="stripe.receive_webhook",
            arguments={"body": body.decode()},
            attempts=1,
        )
        for number, body in enumerate(bodies)
    ]
    with transaction() as ctx:
        dead_letters.keep(ctx.at(gone.ledger.now), letters)

    close(gone)

    with transaction() as ctx:
        assert dead_letters.count_open(ctx.session) == 1


def test_nothing_of_ours_says_any_more_who_it_was(stripe, ledger):
    ledger.open_account("acme", status="trial", is_deleted=False)
    shop = stripe.shop("acme")
    stripe.deliver(
        shop.event("charge.succeeded", shop.charge(8900, **SAID, **BY_CARD)),
        shop.event("payment_method.attached", payment_method()),
    )
    ledger.now = dt.datetime.now(dt.UTC)
    ledger.set_host("acme", is_deleted=True, restore_until=ledger.now - dt.timedelta(days=1))
    words = (OWNER, "Jane", CARD)
    before = tables_that_say(*words)

    close(stripe)

    assert before == {"stripe_events"}
    assert tables_that_say(*words) == set()
