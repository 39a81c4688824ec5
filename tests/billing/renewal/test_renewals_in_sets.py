"""Many renewals are one set of rows: the same as one by one, in a few statements, and no one waits."""

import datetime as dt
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.postgres import sql
from billing.renewal import expiry, plan_changes, renewals
from billing.sweep import all_or_each
from billing.usage import holds
from billing_client import PlaceHold
from tests.conftest import empty_database
from tests.statements import counted
from tests.story import Ledger
from worker.database import engine, transaction

#: Plans with their credits, debt limit and rollover cap.
PLANS = {"free": (100, 0, 0), "starter": (1000, 300, 150), "none": (0, 0, 50)}
_SUBSCRIPTION = """
INSERT INTO billing.stripe_objects
    (id, kind, account_id, facts, version_at, rank, digest, recorded_at)
VALUES (:id, 'subscription', :account_id, '{"status": "active"}', now(), '{1}', '', now())
"""
# All that a renewal writes, without the ids, which a sequence gives to no second one.
_WRITTEN = (
    r"""SELECT tenant_id, type, amount, balance_after, description, happened_at, created_at,
               regexp_replace(idempotency_key, 'expiry:\d+', 'expiry'), metadata FROM igny8_credit_transactions WHERE idempotency_key IS NOT NULL
       ORDER BY tenant_id, id""",
    """SELECT account_id, source, priority, is_promotional, granted, remaining, held, is_open,
              starts_at, expires_at, key, period_number, recorded_at FROM billing.lots
       ORDER BY account_id, id""",
    "SELECT account_id, credits, debt, debt_limit, held FROM billing.books ORDER BY 1",
    "SELECT id, credits FROM igny8_tenants ORDER BY 1",
    "SELECT * FROM billing.credit_calendars ORDER BY account_id",
    "SELECT count(*) FROM billing.keys",
    "SELECT account_id, type, payload FROM billing.outbox ORDER BY account_id, id",
)


class Undone(Exception):
    """The renewals are rolled back, so that they can be done in another way."""


@st.composite
def accounts(draw):
    return {
        "plan": draw(st.sampled_from(sorted(PLANS))),
        "spent": draw(st.sampled_from((0, 30, 990, 1200))),
        "held": draw(st.booleans()),
        "later": draw(st.sampled_from((None, *sorted(PLANS)))),
        "state": draw(st.sampled_from(("active", "active", "suspended", "subscribed", "deleted"))),
    }


def open_account(ledger, slug, account):
    credits, debt_limit, cap = PLANS[account["plan"]]
    ledger.plan(account["plan"], included_credits=credits, debt_limit=debt_limit, rollover_cap=cap)
    ledger.open_account(slug, plan=account["plan"])
    ledger.seed(slug)
    if account["held"]:
        with transaction() as ctx:
            message = PlaceHold(ledger.ids[slug], "clustering", f"hold:{slug}")
            holds.place(ctx.at(ledger.now), message)
    if account["spent"]:
        ledger.debit(slug, "idea_generation", units=account["spent"] // 2, key=f"spent:{slug}")
    if account["later"]:
        credits, debt_limit, cap = PLANS[account["later"]]
        policy = {"debt_limit": debt_limit, "rollover_cap": cap}
        ledger.plan(account["later"], included_credits=credits, **policy)
        ledger.change_plan(slug, account["later"])
    if account["state"] == "suspended":
        ledger.set_host(slug, status="suspended")
    if account["state"] == "deleted":
        ledger.delete_account(slug)
    if account["state"] == "subscribed":
        with transaction() as ctx:
            values = {"id": f"sub_{slug}", "account_id": ledger.ids[slug]}
            ctx.session.execute(sa.text(_SUBSCRIPTION), values)


def written(ledger, *, limit):
    """Return what these renewals would write, `limit` accounts at a time."""
    rows = []
    with pytest.raises(Undone), transaction() as ctx:
        while renewals.sweep_due(ctx.at(ledger.now), limit=limit):
            pass
        rows = [sql.rows(ctx.session, statement, {}) for statement in _WRITTEN]
        raise Undone
    return rows


@settings(max_examples=15)
@given(st.lists(accounts(), min_size=2, max_size=6), st.sampled_from((31, 100)))
@pytest.mark.usefixtures("database")
def test_a_set_of_renewals_writes_what_they_write_one_by_one(described, days):
    empty_database()
    ledger = Ledger()
    for number, account in enumerate(described):
        open_account(ledger, f"account-{number}", account)
    ledger.pass_time(days=days)

    assert written(ledger, limit=200) == written(ledger, limit=1)


def statements_of(ledger, count):
    for number in range(count):
        slug = f"{count}-{number}"
        ledger.open_account(slug)
        ledger.seed(slug)
    ledger.pass_time(days=31)
    with counted() as statements, transaction() as ctx:
        done = renewals.sweep_due(ctx.at(ledger.now))
    assert [result.what for result in done] == ["renewed"] * count
    return len(statements)


@pytest.mark.parametrize(
    ("cap", "most"),
    [pytest.param(0, 20, id="the rest expires"), pytest.param(150, 21, id="it rolls over")],
)
def test_a_set_of_renewals_takes_no_more_statements_than_one(database, cap, most):
    counts = []
    for count in (1, 20):
        empty_database()
        ledger = Ledger()
        ledger.plan("starter", rollover_cap=cap)
        counts.append(statements_of(ledger, count))

    assert counts[0] == counts[1] <= most


@contextmanager
def locked(ledger, *slugs):
    """The main app keeps the rows of these accounts."""
    with engine().begin() as app:
        ids = {"ids": [ledger.ids[slug] for slug in slugs]}
        app.execute(sa.text("SELECT FROM igny8_tenants WHERE id = ANY(:ids) FOR UPDATE"), ids)
        yield


@pytest.mark.parametrize(
    ("sweep", "what"),
    [
        pytest.param(renewals.sweep_due, "renewed", id="renewals"),
        pytest.param(expiry.sweep, "expired", id="expiry"),
        pytest.param(plan_changes.sweep, "upgraded", id="changes of plan"),
        pytest.param(holds.sweep, "hold expired", id="holds"),
    ],
)
def test_locked_accounts_that_are_due_first_are_left_and_delay_no_other(ledger, sweep, what):
    slugs = ["locked-1", "locked-2", "locked-3", "free"]
    for slug in slugs:
        ledger.open_account(slug)
        ledger.seed(slug)
        prepare(ledger, slug, what)
    if what == "renewed":
        ledger.pass_time(days=31)

    with locked(ledger, *slugs[:3]), transaction() as ctx:
        done = sweep(ctx.at(ledger.now), limit=2)

    assert [(result.account_id, result.what) for result in done] == [(ledger.ids["free"], what)]
    with transaction() as ctx:
        assert len(sweep(ctx.at(ledger.now), limit=2)) == 2, "their turn comes when they are free"


def prepare(ledger, slug, what):
    if what == "expired":
        ledger.grant(slug, 50, key=f"gift:{slug}", expires_at=ledger.now + dt.timedelta(seconds=1))
        ledger.pass_time(seconds=2)
    if what == "upgraded":
        ledger.plan("scale", included_credits=5000)
        ledger.change_plan(slug, "scale")
    if what == "hold expired":
        with transaction() as ctx:
            message = PlaceHold(ledger.ids[slug], "clustering", f"hold:{slug}", ttl_s=1)
            holds.place(ctx.at(ledger.now), message)
        ledger.pass_time(seconds=2)


def test_one_account_that_breaks_costs_a_batch_a_few_more_tries_and_not_one_for_each(database):
    tries = []

    def act(_, ids):
        tries.append(ids)
        if 77 in ids:
            raise ValueError
        return list(ids)

    with transaction() as ctx:
        results = all_or_each(ctx, range(1, 201), act)

    assert [result for result in results if result in range(1, 201)] == [
        id for id in range(1, 201) if id != 77
    ]
    assert [result.error for result in results if result not in range(1, 201)] == ["ValueError"]
    assert len(tries) <= 17
