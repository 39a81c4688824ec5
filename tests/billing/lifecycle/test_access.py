"""Access control: one answer for the middleware and the API key, from one indexed read."""

import re
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import insert

from billing.lifecycle import status, transitions
from billing_client import access
from billing_client.access import Access
from models.host import Plan, Site
from tests.app import DjangoConnection, connect
from worker.database import engine, transaction

SQL = Path(__file__).parents[3] / "migrations/sql/0008_up.sql"


@pytest.fixture
def app(database):
    """The main app's connection, as Django has it."""
    with closing(connect()) as connection:
        yield DjangoConnection(connection)


def suspend(ledger, slug, *reasons):
    with transaction() as ctx:
        for reason in reasons:
            operator = ctx.at(ledger.now).by("operator:test")
            status.suspend(operator, ledger.ids[slug], reason=reason)


def site(account_id, key, *, is_active=True, slug="blog"):
    with transaction() as ctx:
        values = {"account_id": account_id, "name": slug, "slug": slug, "wp_api_key": key}
        ctx.session.execute(insert(Site).values(**values, is_active=is_active))


@pytest.mark.parametrize(
    ("account", "reasons", "answer"),
    [
        pytest.param({"status": "trial"}, [], (True, 200, "trial"), id="in its trial"),
        pytest.param({"status": "active"}, [], (True, 200, "active"), id="active"),
        pytest.param(
            {"status": "pending_payment"}, [], (True, 200, "pending_payment"), id="a transfer comes"
        ),
        pytest.param({}, ["trial_over"], (False, 402, "trial_over"), id="the trial is over"),
        pytest.param({}, ["payment_failed"], (False, 402, "payment_failed"), id="not paid"),
        pytest.param({}, ["dispute"], (False, 403, "dispute"), id="in dispute"),
        pytest.param({}, ["manual"], (False, 403, "manual"), id="by hand"),
        pytest.param(
            {},
            ["trial_over", "payment_failed", "manual"],
            (False, 403, "manual"),
            id="of several reasons the one that money does not cure",
        ),
        pytest.param(
            {"status": "suspended"}, [], (False, 403, "suspended"), id="suspended by the main app"
        ),
        pytest.param({"status": "cancelled"}, [], (False, 403, "cancelled"), id="cancelled"),
        pytest.param({"plan": None}, [], (False, 402, "no_plan"), id="without a plan"),
        pytest.param({"is_deleted": True}, [], (False, 403, "deleted"), id="deleted"),
        pytest.param({"status": "???"}, [], (False, 403, "unknown_status"), id="of unknown status"),
        pytest.param(
            {"slug": "aws-admin", "status": "suspended"},
            [],
            (True, 200, "system"),
            id="the main app's own",
        ),
    ],
)
def test_an_account_is_allowed_in_or_gets_a_reason(ledger, app, account, reasons, answer):
    slug = account.pop("slug", "acme")
    account_id = ledger.open_account(slug, **{"status": "active", **account})
    suspend(ledger, slug, *reasons)

    given = access(app, account_id)

    assert (bool(given), given.http_status, given.reason) == answer
    assert given.words.endswith(".")
    assert given.account_id == account_id


def test_an_account_on_a_plan_that_is_no_longer_offered_is_asked_to_choose(ledger, app):
    account_id = ledger.open_account("acme")
    with transaction() as ctx:
        ctx.session.execute(sa.update(Plan).values(is_active=False))

    assert access(app, account_id).reason == "plan_inactive"


def test_a_lifted_suspension_counts_no_more(ledger, app):
    account_id = ledger.open_account("acme")
    suspend(ledger, "acme", "dispute")
    ledger.change_status("acme", "active", reason="dispute")

    assert access(app, account_id)


def test_an_unknown_account_is_not_allowed_in(app):
    assert access(app, 404) == Access(False, 403, "unknown_account", "No such account.")


def test_a_suspended_account_does_not_get_in_through_its_api_key(ledger, app):
    account_id = ledger.open_account("acme")
    site(account_id, "secret-key")
    before = access(app, api_key="secret-key")
    suspend(ledger, "acme", "payment_failed")

    after = access(app, api_key="secret-key")

    assert before
    assert before.site_id == 1
    assert (after.is_allowed, after.http_status, after.account_id) == (False, 402, account_id)


@pytest.mark.parametrize("key", ["", "wrong", "nul\x00", "ключ", "k" * 5000])
def test_a_key_that_opens_nothing_is_no_error(ledger, app, key):
    site(ledger.open_account("acme"), "")

    given = access(app, api_key=key)

    assert (given.is_allowed, given.http_status, given.reason) == (False, 401, "unknown_key")


def test_the_key_of_a_site_that_is_not_active_opens_nothing(ledger, app):
    site(ledger.open_account("acme"), "key", is_active=False)

    assert access(app, api_key="key").reason == "unknown_key"


def test_a_key_that_two_accounts_have_opens_neither(ledger, app):
    site(ledger.open_account("acme"), "key")
    site(ledger.open_account("other"), "key")

    assert access(app, api_key="key").reason == "ambiguous_key"


def test_a_key_that_two_sites_of_one_account_have_opens_it(ledger, app):
    account_id = ledger.open_account("acme")
    site(account_id, "key")
    site(account_id, "key", slug="shop")

    assert access(app, api_key="key").account_id == account_id


@pytest.mark.parametrize("asked", [{}, {"account_id": 1, "api_key": "k"}])
def test_one_question_is_asked_at_a_time(app, asked):
    with pytest.raises(TypeError):
        access(app, **asked)


MANY = 20_000
FILLS = (
    """INSERT INTO igny8_tenants (id, name, slug, plan_id, status)
    SELECT n, 'n', 's' || n, 1, 'suspended' FROM generate_series(1, :many) AS n""",
    """INSERT INTO igny8_sites (tenant_id, name, slug, wp_api_key)
    SELECT n, 'n', 's', 'key-' || n FROM generate_series(1, :many) AS n""",
    """INSERT INTO billing.suspensions (account_id, reason, actor, status_before, since)
    SELECT n, 'manual', 'x', 'active', now() FROM generate_series(1, :many) AS n""",
)


@pytest.mark.parametrize(
    ("question", "index"),
    [
        pytest.param(
            "billing.account_access WHERE account_id = 777", "igny8_tenants_pkey", id="id"
        ),
        pytest.param(
            "billing.site_access WHERE wp_api_key = 'key-777'",
            "igny8_sites_wp_api_key_billing_idx",
            id="API key",
        ),
    ],
)
def test_the_answer_is_found_by_an_index_and_no_table_of_accounts_is_read_through(
    ledger, question, index
):
    ledger.plan()
    with engine().begin() as connection:
        fill = {"many": MANY}
        for statement in FILLS:
            connection.execute(sa.text(statement), fill)
        for table in ("igny8_tenants", "igny8_sites", "billing.suspensions"):
            connection.execute(sa.text(f"ANALYZE {table}"))
        plan = "\n".join(
            connection.scalars(sa.text(f"EXPLAIN (COSTS OFF) SELECT * FROM {question}"))
        )

    assert f"using {index}" in plan
    assert "using suspensions_open_idx" in plan
    assert re.findall(r"Seq Scan on (\w+)", plan) in ([], ["igny8_plans"]), plan


def test_every_reason_has_an_answer_and_every_status_a_reason():
    view = SQL.read_text().partition("CREATE VIEW billing.account_access")[2].partition(";\n\n")[0]
    answers = set(re.findall(r"^    \('(\w+)', (?:true|false), \d{3}", view, flags=re.MULTILINE))

    assert answers >= transitions.SUSPENSION_REASONS
    assert answers == transitions.SUSPENSION_REASONS | {
        *("trial", "active", "pending_payment", "system"),
        *("suspended", "cancelled", "deleted", "no_plan", "plan_inactive", "unknown_status"),
    }


def test_the_views_name_the_systems_own_accounts():
    from billing.host.accounts import SYSTEM_SLUGS

    named = re.findall(r"slug (?:NOT )?IN \(([^)]+)\)", SQL.read_text())

    assert len(named) == 3
    assert all({slug.strip(" '") for slug in each.split(",")} == SYSTEM_SLUGS for each in named)
