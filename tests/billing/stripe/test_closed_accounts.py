"""Of a closed account Stripe's words are blanked, and what they meant for the money stays."""

import datetime as dt

import pytest
from sqlalchemy import select, update

from billing import closing, dead_letters
from billing.dead_letters import Letter
from billing.policy import POLICY, Policy
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
def gone(stripe, books):
    """A customer who has paid, waited for something, and is deleted for good; and another."""
    for slug, customer in (("acme", "cus_1"), ("other", "cus_2")):
        books.open_account(slug, status="trial")
        shop = stripe.shop(slug, customer=customer)
        charge = shop.charge(8900, **SAID, **BY_CARD)
        strange = shop.event("payment_method.attached", payment_method(customer=customer))
        stripe.deliver(shop.event("charge.succeeded", charge), strange)
        stripe.deliver(shop.event("charge.refunded", shop.charge(50, customer="cus_9", **SAID)))
    books.now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    with transaction() as session:
        session.execute(
            update(Account)
            .where(Account.slug == "acme")
            .values(is_deleted=True, deleted_at=books.now - day, restore_until=books.now - day)
        )
    return stripe


def close(stripe):
    with transaction() as session:
        session.info[POLICY] = Policy(closes_deleted=True)
        return closing.sweep(session, now=stripe.books.now)


def payloads(customer):
    rows = select(StripeEvent.state, StripeEvent.payload).where(StripeEvent.customer == customer)
    with transaction() as session:
        return [
            (state, payload is not None)
            for state, payload in session.execute(rows.order_by(StripeEvent.id))
        ]


def test_its_events_are_blanked_and_no_one_elses(gone):
    before = gone.payments()

    close(gone)

    assert payloads("cus_1") == [("applied", False)] * 2
    assert payloads("cus_2") == [("applied", True)] * 2
    assert gone.payments() == before
    assert gone.books.audit().agrees


def test_what_still_waited_is_done_with(gone, books):
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
        Letter(
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
    with transaction() as session:
        dead_letters.keep(session, letters, now=gone.books.now)

    close(gone)

    with transaction() as session:
        assert dead_letters.count_open(session) == 1


def test_nothing_of_ours_says_any_more_who_it_was(stripe, books):
    books.open_account("acme", status="trial", is_deleted=False)
    shop = stripe.shop("acme")
    stripe.deliver(
        shop.event("charge.succeeded", shop.charge(8900, **SAID, **BY_CARD)),
        shop.event("payment_method.attached", payment_method()),
    )
    books.now = dt.datetime.now(dt.UTC)
    books.set_host("acme", is_deleted=True, restore_until=books.now - dt.timedelta(days=1))
    words = (OWNER, "Jane", CARD)
    before = tables_that_say(*words)

    close(stripe)

    assert before == {"stripe_events"}
    assert tables_that_say(*words) == set()
