"""The code that README and docs/how-to show for Django and Django REST framework, run as it stands there.

Neither is a dependency: the Python of an environment that has both is named in TEST_DJANGO_PYTHON
(CONTRIBUTING.md), else these tests are skipped.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from billing.lifecycle import status
from models.credits import Hold, InboxRow
from models.host import Site, User
from worker.database import engine, transaction

PYTHON = os.environ.get("TEST_DJANGO_PYTHON")
ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/how-to/django.md", "docs/how-to/events-and-webhooks.md"]
pytestmark = pytest.mark.skipif(PYTHON is None, reason="TEST_DJANGO_PYTHON names no Python")
OWNER = "jane@acme.test"


@pytest.fixture
def app(ledger, redis_client):
    """Asks the main app; two customers have a site each, `key-acme` and `key-lost`."""
    ledger.open_account("acme", credits=100)
    ledger.open_account("lost", credits=100)
    with transaction() as ctx:
        values = {"email": OWNER, "role": "owner", "account_id": ledger.ids["acme"]}
        owner = ctx.session.execute(insert(User).values(**values).returning(User.id)).scalar_one()
        for slug, account_id in ledger.ids.items():
            site = {"account_id": account_id, "name": slug, "slug": slug}
            ctx.session.execute(insert(Site).values(**site, wp_api_key=f"key-{slug}"))
    ledger.set_host("acme", owner_id=owner)
    url = engine().url.set(drivername="postgresql").render_as_string(hide_password=False)
    told = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "REDIS_URL": os.environ["REDIS_URL"]}
    child = Path(__file__).with_name("django_child.py")
    command = [PYTHON, "-W", "error", str(child), *[str(ROOT / page) for page in PAGES]]
    with subprocess.Popen(
        command, env=told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(path, *, account=None, key=None, headers=(), **asked):
            headers = dict(headers)
            headers |= {"X-Account": str(account)} if account else {}
            headers |= {"Authorization": f"Bearer {key}"} if key else {}
            process.stdin.write(json.dumps({"path": path, "headers": headers, **asked}) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


def suspend(ledger, slug, reason):
    with transaction() as ctx:
        operator = ctx.at(ledger.now).by("operator:test")
        status.suspend(operator, ledger.ids[slug], reason=reason)


def test_the_middleware_lets_a_customer_in_and_a_suspended_one_to_the_way_to_pay(app, ledger):
    acme = ledger.ids["acme"]
    before = app("/page/", account=acme)
    suspend(ledger, "acme", "payment_failed")

    after = app("/page/", account=acme)

    assert (before["status"], after["status"]) == (200, 402)
    assert after["body"]["error"].endswith(".")
    assert app("/billing/pay/", account=acme)["status"] == 200
    assert app("/page/")["status"] == 200  # nobody's: what the app itself shows to strangers


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        pytest.param("trial_over", 402, id="for want of money"),
        pytest.param("manual", 403, id="by hand"),
    ],
)
def test_a_suspended_account_does_not_get_in_by_its_key(app, ledger, reason, expected):
    before = app("/bridge/", key="key-acme")
    suspend(ledger, "acme", reason)

    after = app("/bridge/", key="key-acme")

    assert before["body"] == {"account": ledger.ids["acme"], "site": 1, "user": OWNER}
    assert (after["status"], after["body"]["detail"][-1:]) == (expected, ".")


def test_a_key_that_is_none_is_told_how_to_come(app):
    answer = app("/bridge/", key="wrong")

    assert (answer["status"], answer["headers"]["WWW-Authenticate"]) == (401, "Bearer")
    assert app("/bridge/")["status"] == 401


def test_an_account_without_an_owner_gets_in_by_its_key(app, ledger):
    answer = app("/bridge/", key="key-lost")

    assert (answer["status"], answer["body"]["account"]) == (200, ledger.ids["lost"])


def test_the_throttle_counts_by_account_and_says_when_to_come_again(app):
    answers = [app("/bridge/", key="key-acme") for _ in range(3)]

    assert [one["status"] for one in answers] == [200, 200, 429]
    assert 3500 < int(answers[2]["headers"]["Retry-After"]) <= 3600
    assert app("/bridge/", key="key-lost")["status"] == 200


def test_an_account_without_a_plan_is_asked_to_choose_before_it_is_counted(app, ledger):
    ledger.set_host("acme", plan_id=None)

    assert app("/bridge/", key="key-acme")["status"] == 402


def test_a_hold_and_a_debit_commit_with_the_apps_own_transaction(app, ledger):
    acme = ledger.ids["acme"]

    done = app("/work/?key=job-1", account=acme)
    failed = app("/work/?key=job-2&fails=1", account=acme)

    assert (done["status"], done["body"]) == (200, {"held": True})
    assert (failed["status"], failed["body"]) == (500, {"held": True})
    with transaction() as ctx:
        assert ctx.session.scalar(select(func.count()).select_from(Hold)) == 2
        assert ctx.session.scalar(select(func.count()).select_from(InboxRow)) == 2


def test_the_readmes_first_debit_is_left_with_the_work(app, ledger):
    answer = app("/first-debit/", account=ledger.ids["acme"])

    assert answer["status"] == 200
    with transaction() as ctx:
        row = ctx.session.scalars(select(InboxRow)).one()
    assert (row.account_id, row.arguments["units"]) == (ledger.ids["acme"], 250)
    assert row.arguments["key"] == answer["body"]["key"]


def test_a_signed_event_is_taken_and_a_forged_one_is_not(app):
    event = {
        "id": 1,
        "type": "trial.ending",
        "account_id": 5,
        "happened_at": "2026-03-01T12:00:00+00:00",
        "recipient": None,
        "data": {},
    }
    how = {"method": "post", "data": json.dumps(event), "content_type": "application/json"}

    taken = app("/billing/events/", sign=True, **how)
    forged = app("/billing/events/", headers={"webhook-id": "evt_1"}, **how)

    assert (taken["status"], taken["taken"]) == (204, [event])
    assert (forged["status"], forged["taken"]) == (400, [event])
