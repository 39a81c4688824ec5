"""A status that the main app writes, noticed by a real worker."""

import json

from celeryconfig import beat_schedule
from tests.worker.conftest import wait_until
from worker.app import app


def answers(worker):
    lines = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]
    return [line["answer"] for line in lines if line["event"] == "task_done"]


def test_a_worker_applies_a_status_that_the_main_app_wrote(ledger, redis_client, start):
    ledger.open_account("acme", status="trial")
    ledger.seed("acme")
    ledger.set_host("acme", status="active")
    worker = start("general", "-Q", "maintenance", "--concurrency", "1")

    app.send_task("accounts.follow_status", queue="maintenance")

    assert wait_until(lambda: answers(worker)) == [{"status_followed": 1}]
    assert ledger.lots("acme") == {"plan": 1000}


def test_a_status_that_the_main_app_writes_is_noticed_within_a_minute():
    assert beat_schedule["accounts.follow_status"]["schedule"] <= 60
