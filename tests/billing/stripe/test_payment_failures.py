"""A charge that failed is asked for, with what Stripe says of it, until the invoice is settled."""

import pytest
from sqlalchemy import select

from billing.lifecycle.dunning import sweep as dunning_sweep
from models.life import DunningCase
from models.operations import OutboxEvent
from tests.billing.stripe.writing import seconds
from worker.database import transaction

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)


@pytest.fixture(params=["before basil", "since basil"])
def shop(request, stripe, ledger):
    """A shop whose customer has paid for March."""
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme", basil=request.param == "since basil")
    stripe.deliver(shop.event("price.created", shop.price()))
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))
    stripe.deliver(*shop.events)
    shop.events.clear()
    return shop


def cases():
    with transaction() as ctx:
        return list(ctx.session.scalars(select(DunningCase).order_by(DunningCase.id)))


def fails(shop, *, code="card_declined", attempts=1, next_attempt=MAY):
    """The charge of April's invoice fails; returns the invoice."""
    shop.now += 60
    invoice = shop.bills(shop.price(), start=APRIL, end=MAY)
    shop.now += 60
    invoice |= {"attempt_count": attempts, "next_payment_attempt": next_attempt}
    failed = shop.charge(8900, invoice=invoice["id"], status="failed", failure_code=code)
    shop.event("charge.failed", failed)
    shop.event("invoice.payment_failed", invoice)
    return invoice


def test_a_failed_charge_opens_a_case_that_knows_when_stripe_tries_again(stripe, shop):
    fails(shop)

    stripe.deliver(*shop.events)

    (case,) = cases()
    assert (case.cause, case.schedule, case.outcome) == ("card_failed", "card", None)
    assert case.invoice_id is not None
    assert case.retry_at.timestamp() == MAY


def test_an_event_that_comes_three_times_opens_one_case(stripe, shop):
    fails(shop)

    stripe.deliver(*shop.events * 3)

    assert len(cases()) == 1


def test_the_case_ends_in_the_transaction_in_which_the_invoice_is_paid(stripe, shop):
    invoice = fails(shop)
    stripe.deliver(*shop.events)
    shop.events.clear()
    shop.now += 60

    shop.pays(invoice)
    stripe.deliver(*shop.events)

    assert [case.outcome for case in cases()] == ["paid"]
    assert "payment.settled" in stripe.told()


def test_a_payment_that_is_known_before_its_failure_opens_no_case(stripe, shop):
    invoice = fails(shop)
    failure = list(shop.events)
    shop.events.clear()
    shop.now += 60
    shop.pays(invoice)

    stripe.deliver(*shop.events, *failure)

    assert [case.outcome for case in cases() if case.outcome != "paid"] == []


def test_an_invoice_that_is_voided_is_not_asked_for_any_more(stripe, shop):
    invoice = fails(shop)
    stripe.deliver(*shop.events)
    shop.now += 60

    stripe.deliver(shop.event("invoice.voided", invoice | {"status": "void"}))

    assert [case.outcome for case in cases()] == ["written_off"]


def test_the_first_payment_of_a_trial_is_no_missing_money(stripe, ledger, shop):
    ledger.set_host("acme", status="trial")
    fails(shop)

    stripe.deliver(*shop.events)

    assert cases() == []


def sends(shop, *, due_at=APRIL, **changed):
    """April's invoice is sent, and nobody pays it; returns it."""
    line = shop.line(shop.price(), start=APRIL, end=MAY)
    invoice = shop.invoice([line], subscription="sub_1", status="open", due_date=due_at, **changed)
    shop.event("invoice.finalized", invoice)
    return invoice


def test_a_sent_invoice_that_is_overdue_enters_dunning(stripe, ledger, shop):
    invoice = sends(shop)
    stripe.deliver(*shop.events)
    before = len(cases())
    shop.events.clear()

    ledger.go_to(2026, 4, 2)
    shop.now = seconds(2026, 4, 2)
    shop.event("invoice.overdue", invoice)
    stripe.deliver(*shop.events)

    (case,) = cases()
    assert before == 0
    assert (case.cause, case.schedule, case.outcome) == ("invoice_overdue", "bank", None)
    assert case.invoice_id is not None


@pytest.mark.parametrize("status", ["past_due", "unpaid"])
def test_a_past_due_subscription_whose_invoices_are_sent_enters_dunning(
    stripe, ledger, shop, status
):
    shop.now += 60
    state = shop.subscription(
        shop.price(), start=APRIL, end=MAY, status=status, collection_method="send_invoice"
    )

    stripe.deliver(shop.event("customer.subscription.updated", state))

    assert [case.cause for case in cases()] == ["invoice_overdue"]


def test_who_never_pays_a_sent_invoice_is_asked_and_then_suspended(stripe, ledger, shop):
    ledger.go_to(2026, 4, 2)
    shop.now = seconds(2026, 4, 2)
    sends(shop)
    stripe.deliver(*shop.events)

    for day in range(16):
        ledger.go_to(2026, 4, 2 + day)
        ledger.sweep(dunning_sweep.step_due)

    assert stripe.status("acme") == "suspended payment_failed"
    assert "payment.missing" in stripe.told()


def test_a_sent_invoice_that_is_paid_ends_its_dunning(stripe, ledger, shop):
    ledger.go_to(2026, 4, 2)
    shop.now = seconds(2026, 4, 2)
    invoice = sends(shop)
    shop.now += 60
    shop.pays(invoice)

    stripe.deliver(*shop.events)

    assert [case.outcome for case in cases()] == ["paid"]


@pytest.fixture
def paid_for(stripe, shop):
    """The customer's subscription is active, and March is paid."""
    state = shop.subscription(shop.price(), start=MARCH, end=APRIL)
    shop.event("customer.subscription.created", state)
    stripe.deliver(*shop.events)
    shop.events.clear()
    return shop


def pack_line(shop):
    price = shop.price(unit=2500, credits="500")
    shop.event("price.created", price)
    return shop.line(price, start=MARCH, end=MARCH + 1)


@pytest.mark.parametrize("subscription", [None, "sub_2"])
def test_an_unpaid_invoice_beside_a_paid_subscription_asks_for_nothing(
    stripe, ledger, paid_for, subscription
):
    shop = paid_for
    pack = pack_line(shop)
    invoice = shop.invoice([pack], subscription=subscription, status="open", attempt_count=1)
    shop.event("invoice.payment_failed", invoice)
    stripe.deliver(*shop.events)

    ledger.pass_time(days=31)
    ledger.sweep(dunning_sweep.step_due)

    assert cases() == []
    assert stripe.status("acme") == "active"


def test_a_sent_invoice_that_is_overdue_beside_a_paid_subscription_asks_for_nothing(
    stripe, ledger, paid_for
):
    shop = paid_for
    pack = pack_line(shop)
    invoice = shop.invoice([pack], status="open", due_date=MARCH, collection_method="send_invoice")
    shop.event("invoice.overdue", invoice)
    stripe.deliver(*shop.events)

    assert cases() == []


def test_an_unpaid_pack_of_a_customer_without_a_subscription_is_asked_for(stripe, shop):
    pack = pack_line(shop)
    invoice = shop.invoice([pack], status="open", attempt_count=1)
    shop.event("invoice.payment_failed", invoice)
    stripe.deliver(*shop.events)

    assert len(cases()) == 1


def test_the_first_unpaid_attempt_of_an_overdue_invoice_opens_one_case(stripe, ledger, shop):
    ledger.go_to(2026, 4, 2)
    shop.now = seconds(2026, 4, 2)
    invoice = sends(shop, attempt_count=1)
    shop.event("invoice.payment_failed", invoice)

    stripe.deliver(*shop.events)

    assert [case.cause for case in cases()] == ["card_failed"]


@pytest.mark.parametrize("status", ["void", "uncollectible", "deleted"])
def test_what_nobody_owes_any_more_is_not_asked_for(stripe, shop, status):
    invoice = fails(shop)
    stripe.deliver(*shop.events)
    shop.now += 60
    changed = {"deleted": True} if status == "deleted" else {"status": status}

    stripe.deliver(shop.event("invoice.updated", invoice | changed))

    assert [case.outcome for case in cases()] == ["written_off"]


def test_the_case_knows_why_the_charge_failed_and_the_app_what_is_missing(stripe, shop):
    invoice = fails(shop) | {
        "payment_intent": "pi_1",
        "payments": {"data": [{"payment": {"payment_intent": "pi_1"}}]},
    }
    failed = shop.charge(8900, intent="pi_1", status="failed", failure_code="expired_card")
    pending = shop.charge(8900, intent="pi_1", status="pending", failure_code="no", id="ch_z")

    stripe.deliver(
        shop.event("charge.failed", failed),
        shop.event("charge.pending", pending),
        shop.event("invoice.payment_failed", invoice),
    )

    assert [case.decline_code for case in cases()] == ["expired_card"]
    with transaction() as ctx:
        rows = select(OutboxEvent.payload).where(OutboxEvent.type == "payment.failed")
        (payload,) = ctx.session.scalars(rows)
    assert (payload["amount_minor"], payload["currency"], payload["attempts"]) == (8900, "USD", 1)


def test_of_two_failed_charges_the_newest_says_why(stripe, shop):
    invoice = fails(shop, attempts=2) | {
        "payment_intent": "pi_1",
        "payments": {"data": [{"payment": {"payment_intent": "pi_1"}}]},
    }
    charges = [
        shop.charge(8900, intent="pi_1", status="failed", failure_code=code, id=id, created=created)
        for code, id, created in (
            ("expired_card", "ch_a", shop.now),
            ("card_declined", "ch_z", shop.now - 3600),
        )
    ]

    stripe.deliver(
        *[shop.event("charge.failed", charge) for charge in charges],
        shop.event("invoice.payment_failed", invoice),
    )

    assert [case.decline_code for case in cases()] == ["expired_card"]


def test_the_apps_own_account_is_not_asked_for_money(stripe, ledger):
    ledger.open_account("aws-admin", status="active")
    shop = stripe.shop("aws-admin")
    fails(shop)

    stripe.deliver(*shop.events)

    assert cases() == []
    assert set(stripe.outcomes()) == {"applied"}


def test_each_attempt_that_fails_is_told_once(stripe, shop):
    invoice = fails(shop)
    stripe.deliver(*shop.events)
    for attempts, number in ((1, "A-1"), (2, "A-1")):
        shop.now += 60
        changed = invoice | {"attempt_count": attempts, "number": number}
        stripe.deliver(shop.event("invoice.updated", changed))

    assert stripe.told().count("payment.failed") == 2


def test_a_paid_invoice_is_told_once_and_one_of_nothing_never(stripe, shop):
    free = shop.invoice([], subscription="sub_1", status="paid")
    before = stripe.told().count("invoice.paid")
    paid = shop.invoice([], id="in_paid", status="paid", amount_paid=8900)

    stripe.deliver(shop.event("invoice.paid", free), shop.event("invoice.paid", paid))
    shop.now += 60
    stripe.deliver(shop.event("invoice.updated", paid | {"number": "A-1"}))

    assert (before, stripe.told().count("invoice.paid")) == (1, 2)


@pytest.mark.parametrize("status", ["past_due", "unpaid"])
def test_stripe_itself_asks_for_what_it_collects(stripe, ledger, shop, status):
    shop.now += 60
    state = shop.subscription(shop.price(), start=APRIL, end=MAY, status=status)

    stripe.deliver(shop.event("customer.subscription.updated", state))

    assert cases() == []


def test_a_sent_subscription_that_is_paid_asks_for_nothing(stripe, shop):
    shop.now += 60
    state = shop.subscription(shop.price(), start=APRIL, end=MAY, collection_method="send_invoice")

    stripe.deliver(shop.event("customer.subscription.updated", state))

    assert cases() == []
