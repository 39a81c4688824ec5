"""`billing demo`: the five jobs on real servers; it ends with 0 if every outcome is the expected one."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest
import redis
import sqlalchemy as sa
from click.testing import CliRunner

from billing_client import BillingClient
from cli.demo import accounts, command, demo, report, runner, servers
from cli.demo.runner import SECTIONS, Section
from cli.demo.set_up import set_up
from cli.demo.stage import Outcome, Stage
from devstack.folder import DataFolder
from devstack.guard import Guard
from worker.database import transaction

NOBODY_LISTENS = "http://127.0.0.1:1/"


def run_demo(**environment):
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "demo"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def databases(database):
    def names():
        with database.connect() as connection:
            return set(connection.scalars(sa.text("SELECT datname FROM pg_database")))

    return names


def keys():
    """Of all databases of the suite's Redis."""
    address = sa.make_url(os.environ["REDIS_URL"])
    urls = [address.set(database=str(n)).render_as_string(hide_password=False) for n in range(16)]
    return [key for url in urls for key in redis.Redis.from_url(url).scan_iter()]


@pytest.fixture
def unattended(database, redis_client):
    """A stage on the suite's servers, with neither a worker nor a relay."""
    with transaction() as ctx:
        assert set_up(ctx)
    return Stage(BillingClient(os.environ["REDIS_URL"]), NOBODY_LISTENS, "whsec_1", wait_s=0)


@pytest.fixture
def demo_on(monkeypatch):
    """Runs the command on a stage that is there; gives its exit code and output."""

    def call(stage, *words):
        @contextmanager
        def running(_folder):
            yield stage

        monkeypatch.setattr(command, "running", running)
        answer = CliRunner().invoke(demo, [*words])
        return answer.exit_code, answer.stdout

    return call


# --- on real servers --------------------------------------------------------------------------------


def test_on_servers_that_are_named_it_does_all_five_jobs_in_a_database_of_its_own(
    databases, redis_client
):
    redis_client.set("somebody's", 1)
    before = databases()

    shown = run_demo(BILLING_INVOICE_CURRENCY="EUR", BILLING_STRIPE_API_KEY="rk_test_nobody's")

    assert shown.returncode == 0, shown.stdout + shown.stderr
    headings = [f"{number} {section.title}" for number, section in enumerate(SECTIONS, start=1)]
    assert re.findall(r"^\d .+", shown.stdout, re.MULTILINE) == headings
    assert "the ledger agrees" in shown.stdout
    assert re.search(r"\n(\d+) of \1 outcomes as expected", shown.stdout)
    assert "7,950  +8,000 opening balance, -40 idea_generation, -10 clustering\n" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= report.WIDTH
    assert databases() == before
    assert keys() == [b"somebody's"]


def test_without_any_it_brings_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("REDIS_URL")

    with Guard() as guard, servers.own_or_named(guard, DataFolder(tmp_path / "data")) as urls:
        with sa.create_engine(urls.database_url).connect() as connection:
            assert connection.scalar(sa.text("SELECT 1")) == 1
        assert redis.Redis.from_url(urls.redis_url).ping()


def test_a_server_that_is_away_is_said_in_a_sentence():
    shown = run_demo(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")

    assert shown.returncode == 1
    assert re.fullmatch("Error: postgres: .*Connection refused\n", shown.stderr)


# --- where the outcome is another one ---------------------------------------------------------------


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_a_section_is_not_as_expected_where_no_worker_does_its_job(unattended, section):
    outcomes = section.run(unattended)

    assert not all(outcome.is_expected for outcome in outcomes)


def test_the_demo_fails_where_no_worker_does_its_jobs(unattended, demo_on):
    exit_code, shown = demo_on(unattended)

    assert exit_code == 1
    assert "UNEXPECTED" in shown
    assert "the ledger agrees" in shown
    assert max(map(len, shown.splitlines())) <= report.WIDTH


def test_one_outcome_that_is_not_as_expected_fails_the_demo(unattended, demo_on, monkeypatch):
    outcomes = [Outcome("a", "taken 1", "taken"), Outcome("b", "taken 2", "refused")]
    monkeypatch.setattr(runner, "SECTIONS", [Section("Any", "", lambda _stage: outcomes)])

    exit_code, shown = demo_on(unattended, "--json")

    assert exit_code == 1
    shown_json = json.loads(shown)
    assert not shown_json["is_as_expected"]
    assert [one["is_expected"] for one in shown_json["sections"][0]["outcomes"]] == [True, False]


def test_a_ledger_that_does_not_agree_fails_the_demo(unattended, demo_on, monkeypatch, ledger):
    monkeypatch.setattr(runner, "SECTIONS", [])
    assert demo_on(unattended)[0] == 0
    ledger.ids = accounts.IDS
    ledger.seed(accounts.NEW_CUSTOMER)
    ledger.set_host(accounts.NEW_CUSTOMER, credits=1)

    exit_code, shown = demo_on(unattended)

    assert exit_code == 1
    assert "THE LEDGER DOES NOT AGREE" in shown


def test_a_database_takes_one_demo(unattended):
    with transaction() as ctx:
        assert not set_up(ctx)
