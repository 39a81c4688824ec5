"""Settings come from the environment, hold each other, and say in words what is wrong with them."""

import pytest

from worker.settings import BadSettings, settings

SERVERS = {"DATABASE_URL": "postgresql://u:p@db/app", "REDIS_URL": "redis://redis/0"}


@pytest.fixture
def read(monkeypatch):
    """The settings of an environment that holds nothing else of ours; not those of this process."""

    def read(**environment):
        for name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return settings.__wrapped__()

    return read


@pytest.fixture
def wrong(read):
    def problems(**environment):
        with pytest.raises(BadSettings) as caught:
            read(**environment)
        return caught.value

    return problems


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        pytest.param("SOFT_TIME_LIMIT_S", "HARD_TIME_LIMIT_S", id="a task is told before killed"),
        pytest.param(
            "HARD_TIME_LIMIT_S", "VISIBILITY_TIMEOUT_S", id="no other app takes what still runs"
        ),
        pytest.param("MAX_BACKOFF_S", "VISIBILITY_TIMEOUT_S", id="nor what waits for its retry"),
        pytest.param("LEASE_S", "VISIBILITY_TIMEOUT_S", id="a lease is shorter than the timeout"),
        pytest.param(
            "STATEMENT_TIMEOUT_S", "SOFT_TIME_LIMIT_S", id="Postgres gives up before the task"
        ),
        pytest.param("LOCK_TIMEOUT_S", "STATEMENT_TIMEOUT_S", id="a lock before its statement"),
    ],
)
def test_a_limit_is_less_than_the_one_that_holds_it(read, wrong, shorter, longer):
    usual = getattr(read(**SERVERS), longer.lower())

    error = wrong(**SERVERS, **{f"BILLING_{shorter}": str(usual)})

    expected = f"BILLING_{shorter} ({usual}) must be less than BILLING_{longer} ({usual})"
    assert expected in str(error)


def test_the_defaults_hold_each_other(read):
    assert read(**SERVERS).debit_reader == "sets"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@db/app", "postgresql+psycopg2://u:p@db/app"),
        ("postgresql://u:p@db/app", "postgresql+psycopg2://u:p@db/app"),
        ("postgresql+psycopg2://u:p@db/app", "postgresql+psycopg2://u:p@db/app"),
    ],
)
def test_every_form_of_a_postgres_url_means_psycopg2(read, given, used):
    assert read(**SERVERS | {"DATABASE_URL": given}).database_url == used


def test_the_servers_may_be_named_with_our_prefix(read):
    config = read(**{f"BILLING_{name}": url for name, url in SERVERS.items()})

    assert config.redis_url == SERVERS["REDIS_URL"]


def test_missing_variables_are_named(wrong):
    error = wrong()

    assert error.problems == ("DATABASE_URL: is not set", "REDIS_URL: is not set")
    assert error.no_servers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BILLING_LEASE_S", "soon"),
        ("BILLING_LEASE_S", "1"),
        ("BILLING_DEBIT_READER", "both"),
        ("BILLING_LOG_FORMAT", "xml"),
        ("BILLING_DEBIT_SET_SIZE", "0"),
        ("BILLING_MAX_RETRIES", "-1"),
    ],
)
def test_a_value_out_of_bounds_is_named_by_its_variable(wrong, name, value):
    error = wrong(**SERVERS, **{name: value})

    assert [problem.split(":")[0] for problem in error.problems] == [name]
    assert not error.no_servers


def test_what_is_wrong_is_said_without_the_passwords(wrong):
    error = wrong(
        **SERVERS | {"DATABASE_URL": "postgresql://u:hunter2@db/app"}, BILLING_LEASE_S="x"
    )

    assert "hunter2" not in str(error)
    assert error.__cause__ is None
