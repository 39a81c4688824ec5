"""The tutorials, carried out: their files and commands as they stand there, and the outcome they promise."""

import datetime as dt
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from tasks import stripe
from tasks.bank import announce_transfer
from tests.cli.test_relay_command import PATH, running_relay
from worker.database import engine
from worker.debits.inbox_drain import InboxDrain

TUTORIALS = Path(__file__).parents[2] / "docs/tutorials"


def page(name):
    return (TUTORIALS / f"{name}.md").read_text()


def block(text, beginning):
    """The code block that begins so."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    return next(code for code in blocks if code.startswith(beginning))


def run_script(code, *arguments):
    url = engine().url.render_as_string(hide_password=False)
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.strip()


@pytest.fixture
def billing(database, redis_client):
    """Runs `billing …`; the samples are loaded, as after `make run`."""

    def call(*words):
        answer = CliRunner().invoke(main, [*map(str, words)])
        assert answer.exit_code == 0, answer.output
        return answer.output

    call("samples", "load")
    return call


def test_the_first_debit_is_taken_once_and_what_is_too_dear_is_refused(billing):
    script = block(page("first-debit"), "# first_debit.py")

    key = run_script(script)
    run_script(script, key)
    too_dear = run_script(script.replace("units=450", "units=900000"))
    InboxDrain().drain_batch()

    shown = billing("accounts", "show", "home-g8")
    assert "credits 7,995" in shown
    assert shown.count(key) == 1
    assert re.search(rf"900,000 +InsufficientCredits +{too_dear}", shown)


def test_a_webhook_that_the_tutorial_signs_becomes_credits(billing, tmp_path):
    script = block(page("stripe-test-mode"), "# webhook.py")
    (secret,) = re.findall(r'^SECRET = "(.+)"', script, flags=re.MULTILINE)

    with running_relay(tmp_path / "log", BILLING_STRIPE_WEBHOOK_SECRETS=secret) as (_, port):
        status = run_script(
            script.replace("127.0.0.1:4242/stripe/webhook", f"127.0.0.1:{port}{PATH}")
        )
    stripe.apply.apply(kwargs={"number": 1}, throw=True)

    assert status == "200"
    assert "applied" in billing("stripe", "show", 1)
    assert re.search(r"top_up +\+500 +8,500", billing("accounts", "explain", "home-g8"))


def test_a_bank_file_activates_the_account_that_announced_it(billing, tmp_path):
    today = dt.datetime.now(dt.UTC).date()
    file = block(page("first-bank-file"), ":20:NOVEMBER")
    (account,) = re.findall(r"^:25:(\w+)", file, flags=re.MULTILINE)
    billing("statements", "account", account, "--currency", "USD", "--format", "MT940")
    announce_transfer.apply(
        kwargs={"account_id": 30, "plan_id": 2, "key": "k", "months": 1}, throw=True
    )
    events = json.loads(billing("outbox", "list", "--waiting", "--json"))["events"]
    (invoice,) = [event["payload"] for event in events if event["type"] == "invoice.issued"]
    for printed, actual in (
        ("261130", f"{today:%y%m%d}"),
        ("261129", f"{today - dt.timedelta(1):%y%m%d}"),
        ("1130C", f"{today:%m%d}C"),
        ("RF74 0000 0000 01", invoice["reference"]),
    ):
        file = file.replace(printed, actual)
    (tmp_path / "november.sta").write_text(file)

    imported = billing("statements", "import", tmp_path / "november.sta")

    assert "settled: 1" in imported
    assert "tacbit  active" in billing("accounts", "show", "tacbit")
