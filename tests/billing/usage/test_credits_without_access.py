"""Holds obey access. What is debited anyway is taken, for the work is done, and flagged."""

import datetime as dt
from contextlib import closing
from itertools import product

import pytest
from sqlalchemy import select, text, update

from billing.host import accounts
from billing.ledger import balance_rows
from billing.support import explain
from billing.usage import holds, without_access
from billing_client import BillingClient, Capture, PlaceHold, Release, Reverse
from models.host import Account, Plan
from models.operations import OutboxEvent
from tests.app import DjangoConnection, connect
from worker.database import transaction

STATUSES = ("trial", "active", "pending_payment", "suspended", "cancelled", "on_hold", "")
PLANS = ("starter", "retired", None)
SLUGS = ("acme", "aws-admin")


@pytest.fixture
def acme(ledger):
    """An active account with 100 credits."""
    ledger.open_account("acme", credits=100)
    return ledger


@pytest.fixture
def client():
    return BillingClient("redis://127.0.0.1:1/0")


@pytest.fixture
def app(acme):
    with closing(connect()) as connection:
        yield DjangoConnection(connection)


def place(ledger, key="h", slug="acme"):
    with transaction() as ctx:
        return holds.place(ctx.at(ledger.now), PlaceHold(ledger.ids[slug], "clustering", key))


def sums(ledger, slug="acme"):
    with transaction() as ctx:
        return [tuple(row) for row in without_access.sums_of(ctx.session, ledger.ids[slug])]


def flags(ledger, slug="acme"):
    entries = [e for e in ledger.see(slug).entries if e.type == "deduction"]
    return [without_access.reason_of(entry) for entry in entries]


def events():
    rows = select(OutboxEvent.payload).where(OutboxEvent.type == "credits.taken_without_access")
    with transaction() as ctx:
        return list(ctx.session.scalars(rows.order_by(OutboxEvent.id)))


def explained(ledger, slug="acme"):
    with transaction() as ctx:
        lines, summary, _ = explain.of(ctx.at(ledger.now), slug)
    return [line.what for line in lines], summary


def test_the_view_the_hold_and_the_debit_agree_about_every_account(ledger):
    ledger.plan("starter")
    ledger.plan("retired")
    with transaction() as ctx:
        ctx.session.execute(update(Plan).where(Plan.slug == "retired").values(is_active=False))
    ledger.open_account("acme", credits=10**6)
    ledger.open_account("aws-admin", credits=10**6)
    plan_ids = {slug: ledger.plan(slug) for slug in PLANS if slug}
    for number, (slug, plan, status, is_deleted) in enumerate(
        product(SLUGS, PLANS, STATUSES, (False, True))
    ):
        ledger.set_host(slug, plan_id=plan_ids.get(plan), status=status, is_deleted=is_deleted)
        case = (slug, plan, status, is_deleted)
        with transaction() as ctx:
            view = text(
                "SELECT is_allowed, reason FROM billing.account_access WHERE account_id = :id"
            )
            is_allowed, reason = ctx.session.execute(view, {"id": ledger.ids[slug]}).one()
            terms = {row[0]: accounts.PlanTerms._make(row[1:]) for row in _plan_terms(ctx)}
            account = accounts.lock(ctx.session, [ledger.ids[slug]])[ledger.ids[slug]]
            ours = balance_rows.no_access_reason(account, terms.get(account.plan_id))

        placed = place(ledger, key=f"h{number}", slug=slug)

        assert ours == (None if is_allowed else reason), case
        assert (placed.outcome == "held") == is_allowed, case
        assert (placed.reason is None) == is_allowed, case


def _plan_terms(ctx):
    return ctx.session.connection().exec_driver_sql(accounts.PLAN_TERMS).all()


NAMES = [
    ({"status": "cancelled"}, None, "AccountCancelled", "cancelled"),
    ({"status": "suspended"}, None, "AccountSuspended", "suspended"),
    ({"status": "on_hold"}, None, "UnknownStatus", "unknown_status"),
    ({"is_deleted": True}, None, "AccountDeleted", "deleted"),
    ({"plan_id": None}, None, "NoPlan", "no_plan"),
    ({}, "manual", "AccountSuspended", "manual"),
    ({}, "dispute", "AccountSuspended", "dispute"),
    ({}, "payment_failed", "AccountSuspended", "payment_failed"),
    ({}, "trial_over", "AccountSuspended", "trial_over"),
]


@pytest.mark.parametrize(("fields", "suspension", "reason", "access_reason"), NAMES)
def test_a_refused_hold_names_the_state_of_the_account_and_the_cause(
    acme, app, client, fields, suspension, reason, access_reason
):
    if suspension:
        acme.change_status("acme", "suspended", reason=suspension)
    if fields:
        acme.set_host("acme", **fields)

    with app.atomic():
        held = client.place_hold(app, acme.ids["acme"], "clustering", key="h")

    assert (held.is_held, held.reason, held.access_reason) == (False, reason, access_reason)
    assert acme.see("acme").held == 0


def test_a_plan_that_is_no_longer_offered_gets_no_hold(acme, app, client):
    with transaction() as ctx:
        ctx.session.execute(update(Plan).values(is_active=False))

    held = client.place_hold(app, acme.ids["acme"], "clustering", key="h")

    assert (held.reason, held.access_reason) == ("PlanInactive", "plan_inactive")


def test_a_hold_that_lack_of_access_refused_is_placed_under_its_key_once_access_is_back(acme):
    acme.change_status("acme", "suspended", reason="payment_failed")
    assert place(acme).reason == "AccountSuspended"
    acme.change_status("acme", "active", reason="payment_failed")

    assert place(acme).outcome == "held"
    assert acme.see("acme").refusals == []


@pytest.mark.parametrize("status", ["trial", "pending_payment"])
def test_an_account_in_grace_or_with_a_transfer_on_its_way_gets_its_hold(acme, status):
    acme.set_host("acme", status=status)
    acme.pass_time(days=16)

    assert place(acme).outcome == "held"


@pytest.mark.parametrize("status", ["suspended", "cancelled", "on_hold"])
def test_a_hold_placed_before_is_captured_released_and_repeated_without_access(acme, status):
    for key in ("a", "b"):
        place(acme, key=key)
    acme.set_host("acme", status=status)

    assert place(acme, key="a").outcome == "held"
    captured, released = acme.debit_all(
        [Capture(acme.ids["acme"], "a"), Release(acme.ids["acme"], "b")]
    )

    assert (captured.outcome, released.outcome) == ("taken", "released")
    assert (acme.see("acme").credits, acme.see("acme").held) == (90, 0)
    assert (flags(acme), sums(acme), events()) == ([None], [], [])


def test_a_refused_hold_by_message_is_an_answer_and_no_dead_letter(acme):
    acme.set_host("acme", status="cancelled")

    message = PlaceHold(acme.ids["acme"], "clustering", "h")
    assert holds.error_of(place(acme), message) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "suspended"}, "suspended"),
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "on_hold"}, "unknown_status"),
        ({"plan_id": None}, "no_plan"),
    ],
)
def test_a_debit_without_access_is_taken_and_flagged(acme, fields, reason):
    acme.set_host("acme", **fields)

    answer = acme.debit("acme", "clustering", key="d", metadata={"job": 7})

    assert (answer.outcome, acme.see("acme").credits) == ("taken", 90)
    assert answer.entry.details == {"job": 7, "billing:without_access": reason}
    assert (flags(acme), sums(acme)) == ([reason], [(reason, 1, 10)])
    assert events() == [{"reason": reason, "debits": 1, "credits": 10}]
    what, summary = explained(acme)
    assert what[-1] == f"clustering (taken without access: {reason})"
    assert summary[-1] == f"taken without access ({reason}): 10 credits in 1 debits"
    assert [name for name, found in acme.audit().findings.items() if found] == ["without_access"]


@pytest.mark.parametrize("status", ["trial", "active", "pending_payment"])
def test_a_debit_with_access_is_not_flagged(acme, status):
    acme.set_host("acme", status=status)

    answer = acme.debit("acme", key="d", metadata={"job": 7})

    assert answer.entry.details == {"job": 7}
    assert (sums(acme), events()) == ([], [])


def test_debits_without_access_are_summed_up_and_told_once_a_day_and_reason(acme):
    acme.set_host("acme", status="suspended")
    for key in "abc":
        acme.debit("acme", key=key)
        acme.debit("acme", key=key)
    acme.set_host("acme", status="cancelled")
    acme.debit("acme", key="d")
    acme.pass_time(days=1)
    acme.debit("acme", key="e")

    assert sums(acme) == [("cancelled", 2, 4), ("suspended", 3, 6)]
    assert [event["reason"] for event in events()] == ["suspended", "cancelled", "cancelled"]
    what, _ = explained(acme)
    assert "3 x image_prompt_extraction (taken without access: suspended)" in what


def test_the_audit_forgets_a_debit_without_access_after_a_day(acme):
    acme.set_host("acme", status="suspended")
    acme.debit("acme", key="d")
    assert not acme.audit().agrees

    acme.now += dt.timedelta(days=1, seconds=1)

    assert acme.audit().agrees


def test_one_batch_flags_only_the_accounts_without_access(acme):
    acme.open_account("other", credits=100)
    acme.set_host("acme", status="suspended")
    messages = [acme.debit("other", key="a").message, acme.debit("acme", key="b").message]
    acme.debit_all([m.__class__(m.account_id, m.operation, m.key + "2") for m in messages])

    assert (flags(acme, "other"), flags(acme)) == ([None, None], ["suspended"] * 2)


def test_a_flagged_debit_is_reversed_as_any_other(acme):
    acme.set_host("acme", status="suspended")
    acme.debit("acme", "clustering", key="d")

    (answer,) = acme.debit_all([Reverse(acme.ids["acme"], "d")])

    assert (answer.outcome, acme.see("acme").credits) == ("given", 100)


def test_a_debit_of_a_deleted_account_is_refused_and_recorded(acme):
    with transaction() as ctx:
        ctx.session.execute(update(Account).values(is_deleted=True))

    assert acme.debit("acme", key="d").error.name == "AccountDeleted"
    assert [refusal.reason for refusal in acme.see("acme").refusals] == ["AccountDeleted"]
