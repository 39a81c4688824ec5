"""Every setting without which Celery on Redis loses, doubles or leaks has its value; queues, routes and ticks fit."""

import runpy
import ssl

import pytest

import celeryconfig
from billing_client.messages import MESSAGES
from worker.app import app
from worker.settings import settings

OPTIONS = celeryconfig.broker_transport_options


@pytest.fixture(scope="module")
def tasks():
    app.loader.import_default_modules()
    return app.tasks


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("task_acks_late", True, id="a killed worker's message comes back"),
        pytest.param("task_retry_on_worker_lost", True, id="a killed child's task is bounded"),
        pytest.param("task_reject_on_worker_lost", False, id="and does not loop for ever"),
        pytest.param("broker_connection_retry_on_startup", True, id="a worker waits for Redis"),
        pytest.param("broker_connection_max_retries", None, id="for as long as it takes"),
        pytest.param("broker_channel_error_retry", True, id="and outlives a Redis that is full"),
        pytest.param(
            "worker_cancel_long_running_tasks_on_connection_loss",
            True,
            id="what another worker will do is not done here as well",
        ),
        pytest.param("worker_prefetch_multiplier", 1, id="no worker hoards messages"),
        pytest.param("worker_disable_prefetch", True, id="not even one beyond its children"),
        pytest.param("worker_eta_task_limit", 100, id="waiting retries do not fill its memory"),
        pytest.param("task_ignore_result", True, id="an answer is a row"),
        pytest.param("result_backend", None, id="no results are stored"),
        pytest.param("accept_content", ["json"], id="no message runs code of its own"),
        pytest.param("result_accept_content", ["json"], id="nor does a result"),
        pytest.param("task_serializer", "json", id="and we send none that could"),
        pytest.param("broker_transport", "worker.transport.transport:Transport", id="our channel"),
        pytest.param("beat_sync_every", 1, id="a restarted beat sends nothing twice"),
        pytest.param("enable_utc", True, id="times are UTC"),
        pytest.param("worker_hijack_root_logger", False, id="one form of log lines"),
    ],
)
def test_a_setting_that_must_be(name, value):
    assert getattr(app.conf, name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("socket_timeout", 5, id="a half-open connection is noticed"),
        pytest.param("socket_connect_timeout", 3, id="a host that does not answer is given up"),
        pytest.param("socket_keepalive", True, id="a silent connection is probed"),
        pytest.param("health_check_interval", 10, id="and asked before use"),
        pytest.param("unacked_restore_interval", 1, id="what a dead worker held comes back soon"),
        pytest.param("unacked_restore_throttle", 1, id="at every look"),
    ],
)
def test_an_option_of_the_broker_that_must_be(name, value):
    assert OPTIONS[name] == value


def test_the_time_limits_are_below_the_visibility_timeout():
    soft, hard = app.conf.task_soft_time_limit, app.conf.task_time_limit

    assert soft < hard < OPTIONS["visibility_timeout"] == settings().visibility_timeout_s


def test_no_setting_changes_what_celery_acknowledges_on_a_failure_or_a_timeout():
    assert app.conf.task_acks_on_failure_or_timeout is True


def test_no_prefix_is_put_before_the_keys():
    assert "global_keyprefix" not in OPTIONS


def test_a_certificate_is_checked_where_there_is_one(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "rediss://redis/0")
    settings.cache_clear()
    try:
        configured = runpy.run_path(celeryconfig.__file__)
    finally:
        settings.cache_clear()

    assert configured["broker_use_ssl"] == {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
    }


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_every_message_has_its_task_and_goes_to_a_queue_that_is_there(tasks, name):
    assert tasks[name].message is MESSAGES[name]
    assert celeryconfig.task_routes[name]["queue"] in celeryconfig.QUEUES


def test_every_route_leads_to_a_queue_that_is_there(tasks):
    routed = {route["queue"] for route in celeryconfig.task_routes.values()}

    assert routed <= set(celeryconfig.QUEUES)
    assert celeryconfig.task_default_queue in celeryconfig.QUEUES


@pytest.mark.parametrize("entry", celeryconfig.beat_schedule.values(), ids=lambda e: e["task"])
def test_every_tick_has_a_task_that_is_not_tried_again_and_ends_when_the_next_one_comes(
    tasks, entry
):
    task = tasks[entry["task"]]

    assert task.is_tick
    assert entry["options"]["expires"] <= entry["schedule"]


@pytest.mark.parametrize("name", [entry["task"] for entry in celeryconfig.beat_schedule.values()])
def test_a_tick_that_comes_twice_changes_no_more_than_one(tasks, ledger, redis_client, name):
    ledger.open_account("acme", credits=100)
    ledger.grant("acme", 10, key="g")
    once = tasks[name]()
    before = ledger.history("acme"), ledger.lots("acme")

    again = tasks[name]()

    assert (ledger.history("acme"), ledger.lots("acme")) == before
    assert once is not None
    assert again is not None


def test_an_audit_that_is_done_is_not_done_again_within_the_hour(tasks, ledger):
    audit = tasks["upkeep.audit_books"]
    audit()

    assert audit() == {"why_not": "this hour's audit is done"}
