"""What a subscription's state means for its account: status, plan, period, and the mirror."""

import datetime as dt

import pytest
from sqlalchemy import select

from billing.lifecycle.trials import sweeps as trial_sweeps
from models.stripe import StripeEvent
from tests.billing.stripe.writing import seconds
from worker.database import transaction

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)


@pytest.fixture
def shop(stripe, ledger):
    ledger.open_account("acme", status="trial", plan="free")
    ledger.plan("starter")
    ledger.plan("growth", included_credits=2000)
    return stripe.shop("acme")


@pytest.fixture
def subscribe(stripe, shop):
    """Delivers a state of the subscription, a minute after the last; returns what became of it."""

    def subscribe(status, *, plan="starter", what="updated", **changed):
        shop.now += 60
        state = shop.subscription(
            shop.price(plan), start=MARCH, end=APRIL, status=status, **changed
        )
        return stripe.deliver(shop.event(f"customer.subscription.{what}", state))[0]

    return subscribe


@pytest.mark.parametrize(
    ("before", "stripes", "after"),
    [
        pytest.param("trial", "incomplete", "trial", id="nothing is paid yet"),
        pytest.param("trial", "incomplete_expired", "trial", id="nothing was paid in time"),
        pytest.param("trial", "trialing", "trial", id="a trial goes on"),
        pytest.param("trial", "active", "active", id="it is paid for"),
        pytest.param("trial", "paused", "suspended trial_over", id="a trial without a card"),
        pytest.param("trial", "canceled", "cancelled", id="a trial is given up"),
        pytest.param("active", "past_due", "active", id="stripe still tries"),
        pytest.param("active", "unpaid", "suspended payment_failed", id="stripe has given up"),
        pytest.param("active", "canceled", "cancelled", id="it is over"),
        pytest.param("cancelled", "active", "active", id="somebody comes back"),
        pytest.param("cancelled", "unpaid", "cancelled", id="who has left is not suspended"),
        pytest.param("pending_payment", "active", "active", id="a card instead of a transfer"),
        pytest.param("pending_payment", "canceled", "pending_payment", id="a transfer instead"),
        pytest.param("active", "quantum", "active", id="a status that stripe has added since"),
    ],
)
def test_the_accounts_status_follows(stripe, ledger, subscribe, before, stripes, after):
    ledger.set_host("acme", status=before)

    assert subscribe(stripes) == "applied"
    assert stripe.status("acme") == after
    assert stripe.subscription("acme").status == stripes


def test_a_suspension_for_want_of_money_ends_with_the_money(stripe, ledger, subscribe):
    ledger.set_host("acme", status="active")

    subscribe("unpaid")
    subscribe("active")

    assert stripe.status("acme") == "active"
    assert stripe.told()[-2:] == ["account.suspended", "account.reactivated"]


@pytest.mark.parametrize("reason", ["manual", "dispute"])
def test_a_suspension_by_a_person_does_not_end_with_money(stripe, ledger, subscribe, reason):
    ledger.set_host("acme", status="active")
    ledger.change_status("acme", "suspended", reason=reason)

    subscribe("active")

    assert stripe.status("acme") == f"suspended {reason}"


def test_the_first_payment_ends_the_trial_and_its_credits(stripe, ledger, shop, subscribe):
    ledger.plan("trial-plan", included_credits=300)
    ledger.change_plan("acme", "trial-plan")
    ledger.seed("acme")
    subscribe("trialing")
    before = stripe.status("acme"), ledger.lots("acme")

    shop.now += 60
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))
    stripe.deliver(*shop.events)

    assert before == ("trial", {"trial": 300})
    assert (stripe.status("acme"), ledger.lots("acme")) == ("active", {"plan": 1000})


def test_a_cancellation_at_the_periods_end_changes_nothing_until_then(stripe, ledger, subscribe):
    subscribe("active", cancel_at_period_end=True)
    planned = stripe.subscription("acme").cancel_at_period_end, stripe.status("acme")

    subscribe("canceled", what="deleted", ended_at=APRIL)

    assert planned == (True, "active")
    assert stripe.status("acme") == "cancelled"


def test_the_mirror_shows_the_running_period(stripe, ledger, subscribe):
    subscribe("active")

    mirrored = stripe.subscription("acme")
    assert (mirrored.stripe_subscription_id, mirrored.payment_method) == ("sub_1", "stripe")
    assert mirrored.current_period_start == dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    assert mirrored.current_period_end == dt.datetime(2026, 4, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("status", "plan"),
    [
        ("trialing", "starter"),
        ("active", "starter"),
        ("past_due", "starter"),
        ("incomplete", "free"),
        ("unpaid", "free"),
        ("canceled", "free"),
    ],
)
def test_a_plan_is_the_accounts_while_its_subscription_goes_on(
    stripe, ledger, subscribe, status, plan
):
    subscribe(status)

    assert stripe.end_state("acme")["plan"] == ledger.plan(plan)


def test_another_plan_follows_the_subscription(stripe, ledger, subscribe):
    subscribe("active")
    subscribe("active", plan="growth")

    assert stripe.end_state("acme")["plan"] == ledger.plan("growth")


def test_an_older_state_undoes_nothing(stripe, ledger, shop, subscribe):
    subscribe("active", plan="growth")
    shop.now -= 3600

    subscribe("canceled", what="deleted")

    assert stripe.status("acme") == "active"
    assert stripe.end_state("acme")["plan"] == ledger.plan("growth")


def test_of_two_subscriptions_the_one_that_goes_on_counts(stripe, ledger, subscribe):
    subscribe("active", plan="growth", id="sub_2", created=APRIL)
    subscribe("canceled", what="deleted", id="sub_1", created=MARCH)

    assert stripe.status("acme") == "active"
    assert stripe.subscription("acme").stripe_subscription_id == "sub_2"


def test_of_two_that_go_on_the_newer_counts(stripe, ledger, subscribe):
    subscribe("active", plan="growth", id="sub_2", created=APRIL)
    subscribe("past_due", id="sub_1", created=MARCH)

    assert stripe.end_state("acme")["plan"] == ledger.plan("growth")


def test_when_both_are_over_the_account_is_cancelled(stripe, ledger, subscribe):
    subscribe("active", id="sub_2", created=APRIL)
    for name in ("sub_1", "sub_2"):
        subscribe("canceled", what="deleted", id=name)

    assert stripe.status("acme") == "cancelled"


def test_a_system_account_keeps_its_status_and_plan(stripe, ledger, shop, subscribe):
    ledger.open_account("aws-admin", status="active", plan="free", stripe_customer_id="cus_sys")

    outcome = subscribe("canceled", what="deleted", customer="cus_sys")

    assert outcome == "applied"
    assert stripe.status("aws-admin") == "active"
    assert stripe.end_state("aws-admin")["plan"] == ledger.plan("free")


def test_a_deleted_accounts_subscription_waits_until_it_is_restored(stripe, ledger, subscribe):
    ledger.delete_account("acme")
    parked = subscribe("active")

    ledger.set_host("acme", is_deleted=False)
    ledger.pass_time(minutes=1)
    stripe.sweep()

    assert parked == "parked: AccountDeleted"
    assert stripe.status("acme") == "active"


@pytest.mark.parametrize("status", ["active", "past_due", "paused", "trialing"])
def test_while_a_subscription_goes_on_no_calendar_gives_anything(stripe, ledger, subscribe, status):
    ledger.set_host("acme", status="active")
    subscribe(status)
    ledger.set_host("acme", status="active")

    ledger.repair()
    ledger.go_to(2026, 5, 2)
    ledger.repair()
    ledger.sweep()

    assert ledger.see("acme").entries == []


def test_no_payment_no_credits(stripe, ledger, shop, subscribe):
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))
    stripe.deliver(*shop.events)
    subscribe("past_due")

    ledger.go_to(2026, 4, 2)
    stripe.drip()
    ledger.repair()
    ledger.sweep()

    assert ledger.see("acme").credits == 0


def test_who_cancels_and_is_let_in_by_a_person_lives_on_a_calendar_again(stripe, ledger, subscribe):
    subscribe("active")
    subscribe("canceled", what="deleted")
    ledger.change_status("acme", "active", reason="manual")

    ledger.pass_time(days=40)
    ledger.repair()

    assert ledger.lots("acme") == {"plan": 1000}


@pytest.mark.parametrize("worse", ["unpaid", "paused", "trialing", "incomplete", "past_due"])
def test_a_newer_subscription_of_worse_standing_locks_no_payer_out(
    stripe, ledger, subscribe, worse
):
    subscribe("active", plan="growth", id="sub_1", created=MARCH)
    subscribe(worse, id="sub_2", created=APRIL)

    assert stripe.status("acme") == "active"
    assert stripe.end_state("acme")["plan"] == ledger.plan("growth")
    assert stripe.subscription("acme").stripe_subscription_id == "sub_1"


def test_a_payment_for_one_subscription_lets_in_while_another_is_unpaid(
    stripe, ledger, shop, subscribe
):
    subscribe("active", id="sub_1", created=MARCH)
    subscribe("unpaid", id="sub_2", created=APRIL)
    shop.events.clear()

    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL, subscription="sub_1"))
    stripe.deliver(*shop.events)

    assert stripe.status("acme") == "active"


def test_when_the_better_of_two_ends_the_other_decides(stripe, ledger, subscribe):
    subscribe("active", id="sub_1", created=MARCH)
    subscribe("unpaid", id="sub_2", created=APRIL)

    subscribe("canceled", what="deleted", id="sub_1", created=MARCH)

    assert stripe.status("acme") == "suspended payment_failed"


FOREIGN = {"id": "price_of_another_shop", "product": "prod_of_another_shop", "metadata": {}}


@pytest.mark.parametrize(
    "price",
    [
        pytest.param(FOREIGN, id="nobody linked the price"),
        pytest.param(
            {"id": "price_named_only", "product": None, "type": None}, id="it is only named"
        ),
    ],
)
def test_a_subscription_that_turned_foreign_is_followed_to_its_end(stripe, shop, subscribe, price):
    subscribe("active")
    item = {"id": "si_1", "object": "subscription_item", "price": shop.price() | price}
    items = {"object": "list", "data": [item]}

    subscribe("active", items=items)
    between = stripe.status("acme")
    subscribe("canceled", what="deleted", items=items)

    assert (between, stripe.status("acme")) == ("active", "cancelled")


def test_a_subscription_that_never_was_ours_does_nothing(stripe, shop, subscribe):
    items = {"object": "list", "data": [{"id": "si_1", "price": shop.price() | FOREIGN}]}

    outcome = subscribe("canceled", what="deleted", items=items)

    assert outcome == "ignored: ForeignProduct"
    assert stripe.status("acme") == "trial"


def trial_until(stripe, subscribe, end):
    """A trial at Stripe begins; returns the decision about it."""
    subscribe("trialing", id="sub_9", created=APRIL, trial_end=end)
    with transaction() as ctx:
        rows = select(StripeEvent.facts).order_by(StripeEvent.id)
        return list(ctx.session.scalars(rows))[-1].get("trial")


@pytest.mark.parametrize(
    ("policy", "decision", "after"),
    [("allow", "granted", "trial"), ("refuse", "refused", "cancelled")],
)
def test_a_new_trial_of_a_customer_who_left_follows_the_rule_for_repeated_trials(
    stripe, ledger, subscribe, configure, policy, decision, after
):
    configure(BILLING_REPEATED_TRIALS=policy)
    ledger.sweep(trial_sweeps.begin_missing)
    subscribe("canceled", what="deleted")

    assert trial_until(stripe, subscribe, MAY) == decision
    assert stripe.status("acme") == after
    assert "trial.repeated" in stripe.told()


def test_a_first_trial_of_a_customer_who_left_is_granted_whatever_the_rule(
    stripe, ledger, subscribe, configure
):
    configure(BILLING_REPEATED_TRIALS="refuse")
    ledger.set_host("acme", status="cancelled")

    assert trial_until(stripe, subscribe, MAY) == "granted"
    assert stripe.status("acme") == "trial"
    assert "trial.repeated" not in stripe.told()


@pytest.mark.parametrize(
    ("reason", "decision", "after"),
    [
        ("trial_over", "granted", "trial"),
        ("payment_failed", "granted", "trial"),
        ("manual", "refused", "suspended manual"),
        ("dispute", "refused", "suspended dispute"),
    ],
)
def test_a_new_trial_lifts_a_suspension_for_want_of_money_alone(
    stripe, ledger, subscribe, reason, decision, after
):
    ledger.change_status("acme", "suspended", reason=reason)

    assert trial_until(stripe, subscribe, MAY) == decision
    assert stripe.status("acme") == after


@pytest.mark.parametrize("reason", ["manual", "dispute"])
def test_a_new_trial_of_a_suspended_customer_who_was_cancelled_is_refused(
    stripe, ledger, subscribe, reason
):
    ledger.change_status("acme", "suspended", reason=reason)
    subscribe("canceled", what="deleted")

    assert trial_until(stripe, subscribe, MAY) == "refused"
    assert stripe.status("acme") == f"cancelled {reason}"
    assert {outcome.partition(":")[0] for outcome in stripe.outcomes()} == {"applied"}


def test_a_trial_that_is_over_by_now_is_no_new_trial(stripe, ledger, subscribe):
    ledger.set_host("acme", status="cancelled")

    assert trial_until(stripe, subscribe, seconds(2020, 1, 1)) is None
    assert stripe.status("acme") == "cancelled"
