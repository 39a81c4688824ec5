"""How often an account may ask, counted in a real Redis by all processes together."""

import datetime as dt
import logging
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import limits.storage.redis
import pytest

from billing_client.throttle import KEY_PREFIX, AccountThrottle


class Clock:
    """Stands where limits reads the time, and moves only when told."""

    now = 1_772_366_400.0

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(limits.storage.redis, "time", clock)
    return clock


@pytest.fixture
def throttle(redis_client, clock):
    return AccountThrottle(os.environ["REDIS_URL"], rate="3/minute")


def test_an_account_may_ask_as_often_as_its_rate_says(throttle):
    answers = [throttle.allow(5) for _ in range(4)]

    assert [bool(answer) for answer in answers] == [True, True, True, False]
    assert [answer.remaining for answer in answers] == [2, 1, 0, 0]


def test_the_window_moves_with_the_oldest_request(throttle, clock):
    first = throttle.allow(5)
    clock.now += 40
    assert throttle.allow(5, cost=2)
    assert not throttle.allow(5)

    clock.now += 21

    assert first.reset_at.timestamp() == clock.now - 1
    assert [bool(throttle.allow(5)) for _ in range(2)] == [True, False]


def test_what_is_refused_does_not_count(throttle, clock):
    for _ in range(10):
        throttle.allow(5, cost=4)

    assert throttle.allow(5, cost=3)


def test_accounts_do_not_count_for_each_other(throttle):
    assert throttle.allow(5, cost=3)

    assert throttle.allow(6, cost=3)


def test_a_plan_may_have_a_rate_of_its_own(throttle):
    assert not throttle.allow(5, cost=4)

    answer = throttle.allow(5, cost=4, rate="10 per 5 minutes")

    assert (answer.is_allowed, answer.remaining) == (True, 6)
    assert answer.reset_at == dt.datetime.fromtimestamp(Clock.now + 300, dt.UTC)


def test_processes_count_together(throttle):
    other = AccountThrottle(os.environ["REDIS_URL"], rate="3/minute")
    throttle.allow(5, cost=2)

    assert [bool(other.allow(5)) for _ in range(2)] == [True, False]


def test_threads_at_once_pass_no_more_than_the_rate(redis_client):
    throttle = AccountThrottle(os.environ["REDIS_URL"], rate="50/hour")

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: throttle.allow(5), range(100)))

    assert all(answer.is_counted for answer in answers)
    assert sum(answer.is_allowed for answer in answers) == 50


def test_every_key_has_our_prefix_and_goes_by_itself(throttle, redis_client):
    throttle.allow(5)

    (key,) = redis_client.keys("*")
    assert key.decode().startswith(f"{KEY_PREFIX}:")
    assert 0 < redis_client.ttl(key) <= 60


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        pytest.param((0,), {}, id="account 0"),
        pytest.param(("5",), {}, id="an account as text"),
        pytest.param((5, 0), {}, id="a cost of nothing"),
        pytest.param((5, -1), {}, id="a cost that gives back"),
        pytest.param((5,), {"rate": "often"}, id="a rate that is none"),
    ],
)
def test_what_can_not_be_meant_is_an_error(throttle, arguments, options):
    with pytest.raises(ValueError):
        throttle.allow(*arguments, **options)


def test_a_bad_rate_is_said_at_once():
    with pytest.raises(ValueError):
        AccountThrottle("redis://127.0.0.1:1/0", rate="often")


class TestWhenRedisIsAway:
    def test_every_request_passes_and_the_log_says_so_once(self, caplog):
        throttle = AccountThrottle("redis://127.0.0.1:1/0", rate="1/hour")

        with caplog.at_level(logging.WARNING):
            answers = [throttle.allow(5) for _ in range(3)]

        assert [(a.is_allowed, a.is_counted) for a in answers] == [(True, False)] * 3
        assert [r.message for r in caplog.records] == [
            "throttle allows all requests, Redis failed: ConnectionError"
        ]

    def test_a_redis_that_hangs_is_asked_once_and_then_left_alone(self, caplog):
        with socket.create_server(("127.0.0.1", 0)) as hangs:
            throttle = AccountThrottle(f"redis://127.0.0.1:{hangs.getsockname()[1]}/0")

            with caplog.at_level(logging.WARNING):
                answers = [throttle.allow(5) for _ in range(20)]

            hangs.setblocking(False)
            hangs.accept()[0].close()
            with pytest.raises(BlockingIOError):
                hangs.accept()
        assert all(answers)
        assert [r.message for r in caplog.records] == [
            "throttle allows all requests, Redis failed: TimeoutError"
        ]

    def test_a_redis_that_answers_with_an_error_lets_all_pass(self, throttle, redis_client):
        redis_client.set(f"{KEY_PREFIX}:LIMITER/5/3/1/minute", "no list of requests")

        assert (throttle.allow(5).is_allowed, throttle.allow(5).is_counted) == (True, False)


def python(script):
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )


def test_the_client_itself_does_not_import_what_the_throttle_needs():
    done = python("import billing_client, sys; sys.exit('limits' in sys.modules)")

    assert done.returncode == 0, done.stderr


def test_a_missing_extra_is_named():
    done = python("import sys; sys.modules['limits'] = None; import billing_client.throttle")

    assert "ImportError: billing_client.throttle needs its extra: pip install" in done.stderr
    assert "billing-client[throttle]" in done.stderr
