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
    assert read(**SERVERS).debit_reader == "batches"


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


@pytest.mark.parametrize(
    ("name", "url", "cure"),
    [
        ("DATABASE_URL", "mysql://u:hunter2@db/app", "must begin with postgresql://"),
        ("DATABASE_URL", "sqlite:///app", "must begin with postgresql://"),
        ("DATABASE_URL", "postgresql+asyncpg://u:hunter2@db/app", "must begin with postgresql://"),
        ("DATABASE_URL", "postgis://u:hunter2@db/app", "must begin with postgresql://"),
        ("DATABASE_URL", "db", "must be a URL: postgresql://"),
        ("DATABASE_URL", "postgresql://u:hunter2@db:port/app", "the port is a number"),
        ("DATABASE_URL", "postgresql://u:hunter2@db:99999/app", "the port is a number"),
        ("DATABASE_URL", "postgresql://u:hunter#2@db/app", "in a password"),
        ("DATABASE_URL", "postgresql://u:[hunter2@db/app", "in a password"),
        ("REDIS_URL", "sentinel://:hunter2@redis:26379/0", "name the primary itself"),
        ("REDIS_URL", "redis+sentinel://:hunter2@redis:26379/0", "name the primary itself"),
        ("REDIS_URL", "amqp://u:hunter2@rabbit//", "must begin with redis:// or rediss://"),
        ("REDIS_URL", "unix:///run/redis.sock", "must begin with redis:// or rediss://"),
        ("REDIS_URL", "redis", "must be a URL: redis://"),
        ("REDIS_URL", "redis:///0", "names no host"),
        ("REDIS_URL", "redis://:hunter2@redis:0/0", "the port is a number"),
        ("REDIS_URL", "redis://:hunter2@redis:99999/0", "the port is a number"),
        ("REDIS_URL", "redis://:hun[ter2@redis/0", "in a password"),
        ("REDIS_URL", "redis://:hunter#2@redis/0", "in a password"),
        ("REDIS_URL", "redis://redis:6379/billing", "must be a number"),
    ],
)
def test_a_url_that_no_library_here_can_use_is_refused_with_the_cure(wrong, name, url, cure):
    error = wrong(**SERVERS | {name: url})

    (problem,) = error.problems
    assert problem.startswith(f"{name}: It") or "database after" in problem
    assert cure in problem
    assert "hunter" not in problem


@pytest.mark.parametrize(
    ("url", "added"),
    [
        ("redis://redis", ""),
        ("redis://[::1]:6379/0", ""),
        ("rediss://:a%40b@redis:6380/3", "?ssl_cert_reqs=required&ssl_check_hostname=true"),
    ],
)
def test_a_url_of_redis_is_taken_as_it_is_and_says_how_a_certificate_is_checked(read, url, added):
    assert read(**SERVERS | {"REDIS_URL": url}).redis_url == url + added


def test_the_servers_may_be_named_with_our_prefix(read):
    config = read(**{f"BILLING_{name}": url for name, url in SERVERS.items()})

    assert config.redis_url == SERVERS["REDIS_URL"]


def test_a_variable_that_is_empty_is_not_set(read, wrong):
    assert read(**SERVERS, BILLING_STRIPE_API_KEY="", BILLING_STRIPE_LIVEMODE="").max_retries == 8
    assert wrong(**SERVERS | {"REDIS_URL": ""}).problems == ("REDIS_URL is not set.",)


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("BILLING_DEBIT_SET_SIZE", "7", "debit_batch_size", 7),
        ("BILLING_STRIPE_SET_SIZE", "7", "stripe_batch_size", 7),
        ("BILLING_DEBIT_READER", "sets", "debit_reader", "batches"),
    ],
)
def test_a_deprecated_name_or_value_still_works(read, variable, value, field, expected):
    assert getattr(read(**SERVERS, **{variable: value}), field) == expected


def test_missing_variables_are_named(wrong):
    error = wrong()

    assert error.problems == ("DATABASE_URL is not set.", "REDIS_URL is not set.")
    assert error.no_servers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BILLING_LEASE_S", "soon"),
        ("BILLING_LEASE_S", "1"),
        ("BILLING_DEBIT_READER", "both"),
        ("BILLING_LOG_FORMAT", "xml"),
        ("BILLING_DEBIT_BATCH_SIZE", "0"),
        ("BILLING_MAX_RETRIES", "-1"),
        ("BILLING_STRIPE_LIVEMODE", "sandbox"),
        ("BILLING_STRIPE_ACCOUNT", "1HJx"),
        ("BILLING_STRIPE_TOLERANCE_S", "0"),
        ("BILLING_STRIPE_RETENTION_DAYS", "30"),
        ("BILLING_STRIPE_API_BASE", "https://api.stripe.com/v1"),
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


# --- Stripe -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ("whsec_1", ("whsec_1",)),
        ("whsec_1,whsec_2", ("whsec_1", "whsec_2")),
        (" whsec_1 , whsec_2 ,", ("whsec_1", "whsec_2")),
        ("", ()),
        (",", ()),
    ],
)
def test_webhook_secrets_are_given_by_commas(read, given, secrets):
    assert read(**SERVERS, BILLING_STRIPE_WEBHOOK_SECRETS=given).stripe_secrets == secrets


def test_without_secrets_there_are_none(read):
    assert read(**SERVERS).stripe_secrets == ()


@pytest.mark.parametrize(
    ("given", "is_live"),
    [
        pytest.param({}, False, id="test mode if nothing is set"),
        pytest.param({"BILLING_STRIPE_API_KEY": "sk_test_1"}, False, id="a test key"),
        pytest.param({"BILLING_STRIPE_API_KEY": "rk_live_1"}, True, id="a live key"),
        pytest.param({"BILLING_STRIPE_LIVEMODE": "true"}, True, id="live, and no key"),
        pytest.param(
            {"BILLING_STRIPE_LIVEMODE": "true", "BILLING_STRIPE_API_KEY": "sk_live_1"},
            True,
            id="live, and a live key",
        ),
    ],
)
def test_whether_live_events_are_ours_is_said_or_follows_from_the_key(read, given, is_live):
    assert read(**SERVERS, **given).takes_live_events is is_live


@pytest.mark.parametrize(("mode", "key"), [("true", "sk_test_1"), ("false", "rk_live_1")])
def test_a_key_of_the_other_mode_is_refused_without_showing_it(wrong, mode, key):
    error = wrong(**SERVERS, BILLING_STRIPE_LIVEMODE=mode, BILLING_STRIPE_API_KEY=key)

    assert "BILLING_STRIPE_API_KEY is a" in str(error)
    assert key not in str(error)


def test_a_live_key_goes_over_https_only(read, wrong):
    base = {"BILLING_STRIPE_API_BASE": "http://127.0.0.1:12111"}

    assert read(**SERVERS, **base, BILLING_STRIPE_API_KEY="sk_test_1").stripe_api_base
    assert "must be https" in str(wrong(**SERVERS, **base, BILLING_STRIPE_API_KEY="sk_live_1"))


# --- events to the main app -----------------------------------------------------------------------

HOOK = {"BILLING_WEBHOOK_URL": "https://app.test/billing"}


def test_webhooks_of_ours_are_signed(read, wrong):
    assert read(**SERVERS, **HOOK, BILLING_WEBHOOK_SECRETS="whsec_YWJj").signing_secrets == (
        "whsec_YWJj",
    )
    assert "BILLING_WEBHOOK_SECRETS" in str(wrong(**SERVERS, **HOOK, BILLING_WEBHOOK_SECRETS=""))


@pytest.mark.parametrize("secret", ["whsec_", "whsec_a", "whsec_YWJj,whsec_"])
def test_a_secret_that_can_not_sign_is_refused_without_showing_it(wrong, secret):
    error = wrong(**SERVERS, **HOOK, BILLING_WEBHOOK_SECRETS=secret)

    assert "BILLING_WEBHOOK_SECRETS" in str(error)
    assert secret not in str(error).replace("whsec_ and base64", "")


def test_a_webhook_goes_to_a_web_address(wrong):
    assert "BILLING_WEBHOOK_URL" in str(wrong(**SERVERS, BILLING_WEBHOOK_URL="ftp://app.test"))


def test_proxies_of_the_relay_are_addresses_and_networks(read, wrong):
    proxies = read(**SERVERS, BILLING_RELAY_TRUSTED_PROXIES="192.0.2.7, 2001:db8::/32,")

    assert [str(network) for network in proxies.trusted_proxies] == [
        "192.0.2.7/32",
        "2001:db8::/32",
    ]
    (problem,) = wrong(**SERVERS, BILLING_RELAY_TRUSTED_PROXIES="proxy.example").problems
    assert problem.startswith("BILLING_RELAY_TRUSTED_PROXIES: ")
