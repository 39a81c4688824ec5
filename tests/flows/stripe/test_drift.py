"""What differs between our books of Stripe and Stripe is found, said, and mended by the command that it names."""

import datetime as dt
import json

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from billing.stripe import drift
from billing.stripe.errors import LivemodeMismatch
from cli.main import main
from flows.stripe import backfill as stripe_backfill
from flows.stripe import fetch as stripe_fetch
from flows.stripe import reconcile as stripe_reconcile
from models.host import Invoice, Subscription
from models.operations import Finding
from tasks import stripe as stripe_tasks
from tests import stripe_objects as objects
from worker import clock
from worker.database import transaction


@pytest.fixture
def known(acme):
    """Acme has bought, and all of it has come here."""
    acme.invoice = acme.buys(hours=2)
    acme.event("customer.created", objects.customer(), hours=3)
    acme.event("customer.subscription.created", acme.subscription, hours=2)
    acme.event("invoice.paid", acme.invoice, hours=2)
    stripe_backfill.fill(stripe_fetch.gateway())
    return acme


def look():
    """What differs, as `object: what, ours, Stripe's`."""
    report = stripe_reconcile.look(stripe_fetch.gateway())
    with transaction() as ctx:
        drift.keep(ctx, report)
    return [(each.id, each.what, each.ours, each.stripe) for each in report.differences]


def billing(*words, exit_code=0):
    answer = CliRunner().invoke(main, [*words])
    assert answer.exit_code == exit_code, (answer.output, answer.exception)
    return answer.output


def mend():
    """Run each command that the open findings name; what is found after that."""
    with transaction() as ctx:
        commands = [row.facts["command"] for row in open_findings(ctx.session)]
    for command in commands:
        billing(*command.split()[1:])
    return look()


def open_findings(session):
    rows = select(Finding).where(Finding.closed_at.is_(None)).order_by(Finding.id)
    return list(session.scalars(rows))


def test_where_nothing_differs_nothing_is_found(known):
    report = stripe_reconcile.look(stripe_fetch.gateway())

    assert report.differences == []
    assert report.compared == {"customer": 1, "subscription": 1, "invoice": 1}


# --- what differs, and what mends it --------------------------------------------------------------


def test_a_payment_that_never_came_is_found_and_mended(acme, ledger):
    acme.buys(hours=2)

    found = look()

    assert [(name, what) for name, what, _, _ in found] == [
        ("sub_1", "missing here"),
        ("in_1", "missing here"),
    ]
    assert mend() == []
    assert ledger.see("acme").credits == 1000
    assert acme.status == "active"


def test_a_cancellation_that_never_came_is_found_and_mended(known):
    known.fake.keep(known.subscription | {"status": "canceled"})

    assert look() == [("sub_1", "differs", {"status": "active"}, {"status": "canceled"})]
    assert mend() == []


def test_a_plan_with_another_quantity_is_found_and_mended(known):
    items = [known.subscription["items"]["data"][0] | {"quantity": 3}]
    known.fake.keep(known.subscription | {"items": objects.listed("/v1/x", *items)})

    (name, what, ours, theirs), *others = look()

    assert (name, what, others) == ("sub_1", "differs", [])
    assert (ours, theirs) == ({"items": [["price_1", 1]]}, {"items": [["price_1", 3]]})
    assert mend() == []


def test_an_invoice_that_was_voided_is_found_and_mended(known):
    known.fake.keep(known.invoice | {"status": "void"})

    assert look() == [("in_1", "differs", {"status": "paid"}, {"status": "void"})]
    assert mend() == []


def test_a_draft_that_stripe_has_deleted_is_found_and_mended(known):
    draft = objects.invoice("in_2", created=known.at(hours=1), status="draft", amount_paid=0)
    known.fake.keep(draft | {"payments": objects.listed("/v1/invoice_payments")})
    billing("stripe", "sync", "invoice", "in_2")
    del known.fake.objects["/v1/invoices"]["in_2"]

    assert [(name, what) for name, what, _, _ in look()] == [("in_2", "unknown to Stripe")]
    assert mend() == []


def test_a_customer_that_stripe_has_deleted_is_found_and_mended(known):
    known.fake.keep(objects.deleted("customer", "cus_1"))

    assert look() == [("cus_1", "differs", {"is_deleted": False}, {"is_deleted": True})]
    assert mend() == []


def test_a_customer_that_names_its_account_and_is_not_linked_is_found_and_linked(known, ledger):
    globex = ledger.open_account("globex")
    known.fake.keep(objects.customer("cus_2", metadata={"account_id": str(globex)}))

    assert [(name, what) for name, what, _, _ in look()] == [("cus_2", "missing here")]
    assert mend() == []


def test_a_row_of_the_main_app_that_somebody_changed_is_found_and_mended(known):
    with transaction() as ctx:
        ctx.session.execute(update(Invoice).values(paid_minor=1))
        ctx.session.execute(update(Subscription).values(status="canceled"))

    assert look() == [
        ("sub_1", "differs", {"app.status": "canceled"}, {"app.status": "active"}),
        ("in_1", "differs", {"app.paid_minor": 1}, {"app.paid_minor": 8900}),
    ]
    assert mend() == []


# --- what only a person can mend ------------------------------------------------------------------


def test_a_subscription_that_stripe_does_not_know_has_no_command(known):
    del known.fake.objects["/v1/subscriptions"]["sub_1"]

    report = stripe_reconcile.look(stripe_fetch.gateway())

    (found,) = report.differences
    assert (found.id, found.what, found.command) == ("sub_1", "unknown to Stripe", None)


def test_an_account_whose_customer_stripe_does_not_know_is_found(known, ledger):
    ledger.open_account("globex", stripe_customer_id="cus_typo")

    assert look() == [("cus_typo", "unknown to Stripe", {"account_id": ledger.ids["globex"]}, {})]


def test_an_invoice_that_makes_no_sense_is_found(known):
    known.fake.keep(known.invoice | {"currency": "xxx"})

    assert look() == [("in_1", "unreadable", {}, {"error": "UnknownCurrency", "field": "currency"})]


# --- what is no drift -----------------------------------------------------------------------------


def test_what_is_none_of_ours_is_no_drift(known):
    known.fake.keep(
        objects.customer("cus_shop"),
        objects.subscription("sub_shop", customer="cus_shop", created=known.at(hours=1)),
        objects.invoice("in_shop", customer="cus_shop", created=known.at(hours=1)),
    )

    assert look() == []


def test_another_product_that_our_customer_buys_is_no_drift(known):
    known.fake.keep(objects.price("price_book", product="prod_book"), objects.product("prod_book"))
    pricing = {"price_details": {"price": "price_book", "product": "prod_book"}}
    line = objects.line("il_book", pricing={"type": "price_details", **pricing})
    known.fake.keep(objects.invoice("in_book", lines=[line], created=known.at(hours=1)))

    assert look() == []


def test_an_invoice_of_long_ago_is_not_asked_for(known):
    known.buys("old", days=drift.INVOICES_FOR.days + 1)
    known.fake.keep(known.subscription | {"status": "canceled"})

    assert "in_old" not in {name for name, _, _, _ in look()}


def test_what_changed_while_the_lists_were_read_is_no_drift(known):
    known.fake.keep(known.subscription | {"status": "canceled"})

    def the_event_comes(report):
        if report.compared.get("subscription"):
            billing("stripe", "sync", "subscription", "sub_1")

    report = stripe_reconcile.look(stripe_fetch.gateway(), watch=the_event_comes)

    assert report.differences == []


def test_a_key_of_the_other_mode_is_an_error_and_not_a_thousand_findings(known):
    known.fake.keep(objects.customer(livemode=True))

    with pytest.raises(LivemodeMismatch):
        look()


# --- findings -------------------------------------------------------------------------------------


def test_a_difference_is_an_open_finding_until_it_is_gone(known):
    known.fake.keep(known.invoice | {"status": "void"})
    look()
    with transaction() as ctx:
        (found,) = open_findings(ctx.session)
    assert (found.check, found.subject) == ("stripe_invoices", "invoice in_1")
    assert found.facts["command"] == "billing stripe sync invoice in_1"

    mend()

    with transaction() as ctx:
        assert open_findings(ctx.session) == []


def test_the_night_looks_once(known, monkeypatch):
    night = clock.now().replace(hour=4)
    monkeypatch.setattr(clock, "now", lambda: night)
    known.fake.keep(known.invoice | {"status": "void"})

    answers = [stripe_tasks.report_drift.run() for _ in range(2)]

    assert answers == [
        {"compared": 3, "findings": 1},
        {"why_not": "this night's report is done"},
    ]


def test_before_the_night_it_waits(known, monkeypatch):
    evening = clock.now().replace(hour=0)
    monkeypatch.setattr(clock, "now", lambda: evening)

    assert stripe_tasks.report_drift.run() == {"why_not": "it is not yet time"}


# --- the commands ---------------------------------------------------------------------------------


def test_the_command_shows_what_differs_and_ends_with_1(known):
    known.fake.keep(known.invoice | {"status": "void"})

    shown = billing("stripe", "drift", exit_code=1)
    told = json.loads(billing("stripe", "drift", "--json", exit_code=1))

    for words in ('status "paid"', 'status "void"', "billing stripe sync invoice in_1"):
        assert words in " ".join(shown.split())
    assert told["differences"][0]["command"] == "billing stripe sync invoice in_1"
    assert told["compared"] == {"customer": 1, "subscription": 1, "invoice": 1}


def test_where_nothing_differs_the_command_says_so(known):
    assert "nothing differs" in billing("stripe", "drift")


def test_a_dry_run_of_the_sync_says_what_it_would_do_and_does_nothing(acme, ledger):
    acme.buys(hours=2)

    shown = billing("stripe", "sync", "invoice", "in_1", "--dry-run")
    told = json.loads(billing("stripe", "sync", "invoice", "in_1", "--dry-run", "--json"))

    for words in (
        "would be synced",
        "1,000 credits would be given",
        "0 -> 1,000",
        "trial -> active",
    ):
        assert words in shown
    assert told["synced"]["after"]["credits"] == 1000
    assert acme.status == "trial"
    assert look() != []


def test_the_sync_does_what_its_dry_run_said(acme, ledger):
    acme.buys(hours=2)
    said = json.loads(billing("stripe", "sync", "invoice", "in_1", "--dry-run", "--json"))

    done = json.loads(billing("stripe", "sync", "invoice", "in_1", "--json"))

    assert done["synced"] == said["synced"]
    assert (ledger.see("acme").credits, acme.status) == (1000, "active")


def test_a_sync_a_second_time_gives_nothing_more(acme, ledger):
    acme.buys(hours=2)

    for _ in range(2):
        told = billing("stripe", "sync", "invoice", "in_1")

    assert "0 credits given" in told
    assert ledger.see("acme").credits == 1000


@pytest.mark.parametrize(
    ("words", "error"),
    [
        pytest.param(("invoice", "in_9"), "StripeKnowsNone", id="what Stripe does not know"),
        pytest.param(("customer", "cus_9"), "UnknownCustomer", id="nobody's customer"),
        pytest.param(("price", "../x"), "StripeKnowsNone", id="no id"),
    ],
)
def test_what_can_not_be_synced_is_named(acme, words, error):
    acme.fake.keep(objects.customer("cus_9"))

    assert error in billing("stripe", "sync", *words, exit_code=1)


def test_without_an_api_key_the_commands_say_what_to_set(acme, configure):
    configure(BILLING_STRIPE_API_KEY="")

    for words in (("drift",), ("sync", "invoice", "in_1"), ("backfill",)):
        assert "BILLING_STRIPE_API_KEY" in billing("stripe", *words, exit_code=1)


def test_the_command_fills_gaps(acme, ledger):
    acme.event("invoice.paid", acme.buys(hours=2), hours=2)

    would = billing("stripe", "backfill", "--dry-run")
    did = billing("stripe", "backfill")
    since = (acme.now - dt.timedelta(hours=4)).isoformat()
    again = json.loads(billing("stripe", "backfill", "--since", since, "--json"))

    assert "1 of them new and would be stored" in would
    assert "1 of them new and stored" in did
    assert "1 applied" in did
    assert (again["listed"], again["new"]) == (1, [])
    assert ledger.see("acme").credits == 1000


@pytest.mark.parametrize("since", ["yesterday", "2099-01-01"])
def test_a_time_that_is_none_or_still_to_come_is_refused(acme, since):
    assert "--since" in billing("stripe", "backfill", "--since", since, exit_code=2)


def test_stripe_that_says_no_ends_the_command_with_its_reason(acme):
    acme.fake.fail(401, code="api_key_expired")

    assert "StripeRefused" in billing("stripe", "backfill", exit_code=1)


def test_the_old_name_of_the_backfill_still_works_and_names_the_new_one(acme, ledger):
    acme.event("invoice.paid", acme.buys(hours=2), hours=2)

    assert "billing stripe backfill" in billing("stripe", "fill-gaps")

    assert ledger.see("acme").credits == 1000
