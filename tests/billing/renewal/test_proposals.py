"""The sweeps' queries propose exactly the accounts that are due, in order, and no more than asked for."""

import datetime as dt

import pytest
from sqlalchemy import insert, text, update

from billing.renewal import due
from models.calendar import CreditCalendar
from models.credits import Lot
from models.host import Plan
from models.purchases import Purchase
from tests.story import NOON
from worker.database import transaction

AN_HOUR = dt.timedelta(hours=1)


def proposed(ledger, query, **words):
    """The slugs that a query proposes, in its order."""
    slugs = {account_id: slug for slug, account_id in ledger.ids.items()}
    with transaction() as ctx:
        context = ctx.session if query is due.plan_changes else ctx.at(ledger.now)
        return [slugs[account_id] for account_id in query(context, **{"limit": 10} | words)]


def give(ledger, slug, **lot):
    account_id = ledger.ids[slug]
    lot = {"granted": 10, "remaining": 10, "source": "top_up", "priority": 40} | lot
    lot = {"is_promotional": False, "key": f"lot:{slug}", "recorded_at": NOON} | lot
    with transaction() as ctx:
        ctx.session.execute(insert(Lot).values(account_id=account_id, **lot))


def cycle(ledger, slug, **fields):
    with transaction() as ctx:
        rows = update(CreditCalendar).where(CreditCalendar.account_id == ledger.ids[slug])
        ctx.session.execute(rows.values(**fields))


@pytest.fixture
def running(ledger):
    """Accounts of this name with a running cycle of the plan starter."""

    def begin(slug, **fields):
        ledger.open_account(slug)
        begin_cycle(ledger, slug, ledger.plan(), **fields)

    return begin


def begin_cycle(ledger, slug, plan_id, **fields):
    values = {"anchor_at": NOON - 24 * AN_HOUR, "next_due_at": NOON + AN_HOUR, "plan_id": plan_id}
    values |= {"period_number": 1, "first_period": 1, "recorded_at": NOON} | fields
    with transaction() as ctx:
        ctx.session.execute(insert(CreditCalendar).values(account_id=ledger.ids[slug], **values))


def test_an_account_is_due_from_the_moment_its_period_ends_the_longest_overdue_first(
    ledger, running
):
    running("now", next_due_at=NOON)
    running("long-ago", next_due_at=NOON - AN_HOUR)
    running("later", next_due_at=NOON + AN_HOUR)
    running("ended", next_due_at=NOON - AN_HOUR, ended_at=NOON - AN_HOUR)

    assert proposed(ledger, due.renewals) == ["long-ago", "now"]
    assert proposed(ledger, due.renewals, limit=1) == ["long-ago"]


def test_accounts_due_at_one_moment_come_in_the_order_of_their_ids(ledger, running):
    for slug in ("first", "second", "third"):
        running(slug, next_due_at=NOON)

    assert proposed(ledger, due.renewals, limit=2) == ["first", "second"]


def test_a_lot_is_due_from_its_moment_on_while_it_has_credits_that_no_hold_has(ledger):
    cases = {
        "now": {"expires_at": NOON},
        "long-ago": {"expires_at": NOON - AN_HOUR},
        "partly-held": {"expires_at": NOON, "held": 9},
        "later": {"expires_at": NOON + AN_HOUR},
        "never": {"expires_at": None},
        "spent": {"expires_at": NOON, "remaining": 0},
        "held": {"expires_at": NOON, "held": 10},
        "deleted": {"expires_at": NOON},
        min(due.SYSTEM_SLUGS): {"expires_at": NOON},
    }
    for slug, lot in cases.items():
        ledger.open_account(slug)
        give(ledger, slug, **lot)
    ledger.delete_account("deleted")

    assert sorted(proposed(ledger, due.expiries)) == ["long-ago", "now", "partly-held"]
    assert proposed(ledger, due.expiries, limit=1) == ["long-ago"]


def test_an_account_is_proposed_once_however_many_of_its_lots_are_over(ledger):
    ledger.open_account("acme")
    for number in range(3):
        give(ledger, "acme", expires_at=NOON, key=f"lot:{number}")

    assert proposed(ledger, due.expiries) == ["acme"]


def test_a_change_of_plan_is_proposed_for_active_accounts_on_an_active_plan_alone(ledger, running):
    cases = ("changed", "another", "same", "announced", "taken-back", "ended", "suspended")
    for slug in (*cases, "deleted", "closed-plan"):
        running(slug)
    for slug in set(cases) - {"same", "taken-back"} | {"deleted"}:
        ledger.change_plan(slug, "scale")
    scale = ledger.plan("scale")
    ledger.change_plan("closed-plan", "closed")
    with transaction() as ctx:
        ctx.session.execute(update(Plan).where(Plan.slug == "closed").values(is_active=False))
    cycle(ledger, "announced", next_plan_id=scale)
    cycle(ledger, "taken-back", next_plan_id=scale)
    cycle(ledger, "ended", ended_at=NOON)
    ledger.set_host("suspended", status="suspended")
    ledger.delete_account("deleted")

    assert proposed(ledger, due.plan_changes) == ["changed", "another", "taken-back"]
    assert proposed(ledger, due.plan_changes, limit=1) == ["changed"]


REPAIRED = {
    "no-cycle": {},
    "ended-cycle": {"cycle": {"ended_at": NOON}},
    "no-lot": {"cycle": {}},
    "first-period-is-ours": {"cycle": {"period_number": 3, "first_period": 3}},
    "trial": {"status": "trial"},
}
LEFT_ALONE = {
    "has-its-lot": {"cycle": {}, "lot": {"period_number": 1}},
    "is-due-anyway": {"cycle": {"next_due_at": NOON}},
    "the-app-granted-it": {"cycle": {"period_number": 2, "first_period": 3}},
    "another-plan": {"cycle": {}, "plan": "scale"},
    "empty-plan": {"cycle": {}, "empty": True},
    "suspended": {"status": "suspended"},
    "no-plan": {"status": "trial", "plan": None},
    "trial-with-credits": {"status": "trial", "credits": 5},
    "trial-with-a-lot": {"status": "trial", "lot": {"remaining": 0}},
    "trial-with-an-entry": {"status": "trial", "entry": True},
    "trial-on-an-empty-plan": {"status": "trial", "plan": "empty"},
    "deleted": {"deleted": True},
}


def test_a_repair_is_proposed_for_what_lacks_credits_or_a_cycle_and_for_nothing_else(ledger):
    ledger.plan("empty", included_credits=0)
    for slug, case in (REPAIRED | LEFT_ALONE).items():
        status, plan = case.get("status", "active"), case.get("plan", "starter")
        begin = "empty" if case.get("empty") else "starter"
        ledger.open_account(slug, status=status, plan=begin, credits=case.get("credits", 0))
        if "cycle" in case:
            begin_cycle(ledger, slug, ledger.plan(begin), **case["cycle"])
        if plan != "starter":
            ledger.set_host(slug, plan_id=plan and ledger.plan(plan))
        if "lot" in case:
            give(ledger, slug, **case["lot"])
        if "entry" in case:
            ledger.app_writes_entry(slug, -1)
    ledger.delete_account("deleted")

    everything = proposed(ledger, due.repairs, after=0, limit=99)
    assert everything == list(REPAIRED)
    assert proposed(ledger, due.repairs, after=0, limit=2) == everything[:2]
    after = ledger.ids[everything[1]]
    assert proposed(ledger, due.repairs, after=after) == everything[2:]


def test_the_monthly_lots_of_a_purchase_are_due_from_their_moment_on(ledger):
    cases = {"now": NOON, "long-ago": NOON - AN_HOUR, "later": NOON + AN_HOUR, "given": None}
    for slug, at in (cases | {"deleted": NOON}).items():
        buy(ledger, slug, next_due_at=at)
    ledger.delete_account("deleted")

    assert proposed(ledger, due.purchases) == ["now", "long-ago"]  # by id
    assert proposed(ledger, due.purchases, limit=1) == ["long-ago"]


def buy(ledger, slug, **fields):
    account_id = ledger.open_account(slug)
    values = {"key": slug, "origin": slug, "source": "plan", "plan_id": ledger.plan(), "lots": 12}
    values |= {"credits": 10, "starts_at": NOON - 24 * AN_HOUR, "ends_at": NOON + 9999 * AN_HOUR}
    with transaction() as ctx:
        rows = insert(Purchase).values(account_id=account_id, recorded_at=NOON, **values, **fields)
        ctx.session.execute(rows)


def test_the_counts_are_those_of_the_proposals(ledger, running):
    running("cycle", next_due_at=NOON)
    running("ended", next_due_at=NOON, ended_at=NOON)
    buy(ledger, "purchase", next_due_at=NOON)
    buy(ledger, "later", next_due_at=NOON + AN_HOUR)
    for slug in ("one", "two", "three"):
        ledger.open_account(slug)
        give(ledger, slug, expires_at=NOON)

    with transaction() as ctx:
        assert due.count(ctx.at(NOON)) == (2, 3)


def test_a_renewal_that_another_sweep_has_claimed_is_left_to_it(ledger, running):
    running("first", next_due_at=NOON)
    running("second", next_due_at=NOON)

    with transaction() as ctx:
        ctx.session.execute(
            text("SELECT FROM billing.credit_calendars WHERE account_id = :id FOR UPDATE"),
            {"id": ledger.ids["first"]},
        )
        assert proposed(ledger, due.renewals) == ["second"]
