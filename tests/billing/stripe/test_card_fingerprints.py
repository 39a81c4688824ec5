"""Cards that customers show: one trial for each, known by a digest of what Stripe calls its fingerprint."""

import pytest
from sqlalchemy import select

from billing.lifecycle.trials import fingerprints
from billing.lifecycle.trials import sweeps as trial_sweeps
from models.life import TrialIdentity
from models.operations import OutboxEvent
from models.stripe import StripeObject
from tests.stripe_objects import payment_method
from worker.database import transaction

FINGERPRINT = "Xt5EWLLDS7FJjR1c"
CARD = {"payment_method_details": {"type": "card", "card": {"fingerprint": FINGERPRINT}}}
OLD_CARD = {"source": {"id": "card_1", "object": "card", "fingerprint": FINGERPRINT}}


@pytest.fixture
def shop(stripe, ledger):
    ledger.open_account("acme", status="trial")
    return stripe.shop("acme")


def cards(ledger):
    """Who has shown which card."""
    slugs = {account_id: slug for slug, account_id in ledger.ids.items()}
    with transaction() as ctx:
        rows = ctx.session.execute(
            select(TrialIdentity.account_id, TrialIdentity.digest)
            .where(TrialIdentity.kind == "card")
            .order_by(TrialIdentity.account_id)
        ).all()
    return [(slugs[account_id], bytes(digest)) for account_id, digest in rows]


SEEN = fingerprints.of_card(FINGERPRINT).digest


@pytest.mark.parametrize(
    "card", [pytest.param(CARD, id="today"), pytest.param(OLD_CARD, id="before 2018")]
)
def test_the_card_of_a_charge_is_known(stripe, ledger, shop, card):
    charge = shop.charge(8900, **card)

    outcomes = stripe.deliver(
        shop.event("charge.succeeded", charge), shop.event("charge.updated", charge)
    )

    assert outcomes == ["applied", "applied"]
    assert cards(ledger) == [("acme", SEEN)]


def test_so_is_one_that_was_refused(stripe, ledger, shop):
    stripe.deliver(shop.event("charge.failed", shop.charge(8900, status="failed", **CARD)))

    assert cards(ledger) == [("acme", SEEN)]


def test_so_is_one_that_was_attached_for_the_end_of_a_trial(stripe, ledger, shop):
    outcomes = stripe.deliver(shop.event("payment_method.attached", payment_method()))

    assert outcomes == ["applied"]
    assert cards(ledger) == [("acme", SEEN)]


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        pytest.param({"type": "sepa_debit", "card": None}, "applied", id="that is no card"),
        pytest.param({"customer": None}, "ignored: DetachedMethod", id="that is nobody's any more"),
        pytest.param(
            {"card": {"fingerprint": None}}, "applied", id="whose fingerprint Stripe does not say"
        ),
        pytest.param(
            {"card": {"fingerprint": 5}}, "failed: BadObject", id="whose fingerprint is none"
        ),
    ],
)
def test_nothing_is_known_of_a_method(stripe, ledger, shop, changes, outcome):
    outcomes = stripe.deliver(shop.event("payment_method.attached", payment_method(**changes)))

    assert outcomes == [outcome]
    assert cards(ledger) == []


def test_a_method_of_a_customer_that_nobody_knows_waits_for_him(stripe, ledger, shop):
    outcomes = stripe.deliver(
        shop.event("payment_method.attached", payment_method(customer="cus_9"))
    )

    assert outcomes == ["parked: UnknownCustomer"]


def test_who_never_tried_leaves_no_card(stripe, ledger, shop):
    ledger.set_host("acme", status="active")

    stripe.deliver(shop.event("charge.succeeded", shop.charge(8900, **CARD)))

    assert cards(ledger) == []


def test_the_fingerprint_itself_is_in_no_state_that_we_keep(stripe, ledger, shop):
    stripe.deliver(
        shop.event("charge.succeeded", shop.charge(8900, **CARD)),
        shop.event("payment_method.attached", payment_method()),
    )

    with transaction() as ctx:
        kept = [str(facts) for facts in ctx.session.scalars(select(StripeObject.facts))]
    assert len(kept) == 2
    assert not any(FINGERPRINT in each for each in kept)


def test_a_second_trial_with_one_card_is_told(stripe, ledger, shop):
    ledger.open_account("acme2", status="trial")
    other = stripe.shop("acme2", customer="cus_2")
    stripe.deliver(
        shop.event("payment_method.attached", payment_method()),
        other.event("payment_method.attached", payment_method("pm_2", customer="cus_2")),
    )

    with transaction() as ctx:
        trial_sweeps.begin_missing(ctx.at(ledger.now))

    with transaction() as ctx:
        rows = select(OutboxEvent.account_id, OutboxEvent.payload)
        ((account_id, said),) = ctx.session.execute(
            rows.where(OutboxEvent.type == "trial.repeated")
        )
    assert account_id == ledger.ids["acme2"]
    assert said == {"kinds": ["card"], "accounts": [ledger.ids["acme"]], "is_refused": False}
