"""Before a worker starts, it checks settings, servers and the main app's tables, and names each problem."""

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from cli.migrate import migrate
from tests.conftest import FreshDatabase
from worker import database, preflight, schema
from worker.settings import settings
from worker.transport import queues


def forget():
    """The next to ask reads the environment again."""
    if database.engine.cache_info().currsize:
        database.engine().dispose()
    for cached in (settings, database.engine, queues.connection):
        cached.cache_clear()


@pytest.fixture
def elsewhere():
    """Points this process at other servers for one test."""
    with pytest.MonkeyPatch.context() as patch:

        def look_at(**environment):
            for name, value in environment.items():
                patch.setenv(name, value)
            forget()

        yield look_at
    forget()


@pytest.fixture(scope="module")
def other_database():
    """A database with our tables, for these tests to break."""
    with FreshDatabase("preflight") as url:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATABASE_URL", url)
            forget()
            schema.upgrade()
        forget()
        yield url


@pytest.fixture
def after(other_database, elsewhere):
    """Looks at the other database after some statements, which are then taken back."""
    engine = sa.create_engine(other_database)
    connection = engine.connect()

    def look(*statements):
        for statement in statements:
            connection.execute(sa.text(statement))
        return [*preflight._host_tables(connection), *preflight._schema(connection)]

    yield look
    connection.rollback()
    connection.close()
    engine.dispose()


def problems(facts):
    return [f"{fact.subject}: {fact.what}" for fact in facts if fact.level == "problem"]


def test_on_good_ground_nothing_is_wrong(database, redis_client):
    facts = preflight.check()

    assert problems(facts) == []
    assert not preflight.refuses(facts)
    assert {"settings", "postgres", "host tables", "schema", "rights", "redis"} == {
        f.subject for f in facts
    }


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        pytest.param(
            "DROP TABLE igny8_plans CASCADE", "host tables: igny8_plans is missing.", id="no table"
        ),
        pytest.param(
            "ALTER TABLE igny8_tenants DROP COLUMN credits CASCADE",
            "host tables: igny8_tenants: column credits is missing.",
            id="a column missing",
        ),
        pytest.param(
            "ALTER TABLE igny8_plans ALTER name TYPE bytea USING name::bytea",
            "host tables: igny8_plans: column name is BYTEA; it must be VARCHAR(255).",
            id="a column of another type",
        ),
        pytest.param(
            "DROP VIEW billing.account_access, billing.site_access,"
            " billing.plan_limits_exceeded, billing.retention_over;"
            "DROP TRIGGER billing_remember_status ON igny8_tenants;"
            "ALTER TABLE igny8_tenants ALTER status TYPE varchar(9)",
            "host tables: igny8_tenants: column status is too short for the value pending_payment.",
            id="a column too short for our longest status",
        ),
        pytest.param(
            "ALTER TABLE igny8_credit_transactions ADD COLUMN mood text NOT NULL",
            "host tables: igny8_credit_transactions: column mood is NOT NULL"
            " without a default, and we do not know it.",
            id="a column that we would have to fill",
        ),
        pytest.param(
            "UPDATE billing.alembic_version SET version_num = '0002'",
            f"schema: The schema is at 0002 and must be at {schema.head()}: run `billing migrate`.",
            id="an old migration",
        ),
    ],
)
def test_what_a_database_lacks_is_named(after, statement, problem):
    assert problems(after(statement)) == [problem]


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(
            "ALTER TABLE igny8_credit_transactions ADD COLUMN mood text NOT NULL DEFAULT 'good'",
            id="a column that fills itself",
        ),
        pytest.param(
            "ALTER TABLE igny8_credit_transactions ADD COLUMN mood text", id="a column left empty"
        ),
        pytest.param(
            "ALTER TABLE igny8_tenants ADD COLUMN mood text NOT NULL", id="in other tables"
        ),
        pytest.param(
            "ALTER TABLE igny8_plans ALTER name TYPE text", id="a type that holds the same"
        ),
    ],
)
def test_what_the_main_app_adds_for_itself_does_no_harm(after, statement):
    assert problems(after(statement)) == []


def test_a_database_without_any_table_is_told_to_migrate(elsewhere, redis_client):
    with FreshDatabase("empty") as url:
        elsewhere(DATABASE_URL=url)

        found = problems(preflight.check())

        forget()
    problem = f"The schema is at None and must be at {schema.head()}: run `billing migrate`."
    assert f"schema: {problem}" in found


def test_a_redis_that_throws_messages_away_is_a_problem(redis_client):
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        facts = preflight.check()
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")

    assert problems(facts) == [
        "redis: The maxmemory-policy allkeys-lru evicts messages; set noeviction."
    ]


def test_a_redis_that_forgets_all_at_a_crash_is_a_warning(redis_client):
    before = redis_client.config_get("appendonly")["appendonly"]
    redis_client.config_set("appendonly", "no")
    try:
        facts = preflight.check()
    finally:
        redis_client.config_set("appendonly", before)

    assert ("redis", "warning") in {(fact.subject, fact.level) for fact in facts}


def test_servers_that_are_away_are_said_and_a_worker_may_wait_for_them(elsewhere):
    elsewhere(
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", REDIS_URL="redis://127.0.0.1:1/0"
    )

    facts = preflight.check()

    assert [f.subject for f in facts if f.level == "unreachable"] == ["postgres", "redis"]
    assert not preflight.refuses(facts)


def test_settings_that_do_not_fit_are_the_only_thing_said(elsewhere):
    elsewhere(BILLING_LEASE_S="9999")

    (fact,) = preflight.check()

    assert fact.what == (
        "BILLING_LEASE_S (9999) must be less than BILLING_VISIBILITY_TIMEOUT_S (3600)."
    )
    assert preflight.refuses([fact])


@pytest.mark.parametrize(
    ("variable", "value", "new"),
    [
        pytest.param("BILLING_DEBIT_SET_SIZE", "7", "BILLING_DEBIT_BATCH_SIZE", id="batch size"),
        pytest.param("BILLING_STRIPE_SET_SIZE", "7", "BILLING_STRIPE_BATCH_SIZE", id="of Stripe"),
        pytest.param("BILLING_DEBIT_READER", "sets", "BILLING_DEBIT_READER=batches", id="a value"),
    ],
)
def test_a_deprecated_setting_is_a_warning_that_names_the_new_one(
    elsewhere, database, redis_client, variable, value, new
):
    elsewhere(**{variable: value})

    warnings = [fact.what for fact in preflight.check() if fact.level == "warning"]

    (sentence,) = [text for text in warnings if "deprecated" in text]
    assert variable in sentence
    assert sentence.endswith(f"use {new}.")


def test_a_version_rolled_back_after_a_migration_runs_where_the_schema_says_that_it_may(after):
    """Every image but the newest refused to start, although the migration had only added a table."""
    newer = "UPDATE billing.alembic_version SET version_num = '9999'"

    facts = after(newer)

    (fact,) = [fact for fact in facts if fact.subject == "schema"]
    assert fact.level == "warning"
    assert "newer than this version" in fact.what
    assert not preflight.refuses(facts)


@pytest.mark.parametrize(
    "oldest",
    [
        pytest.param(
            "CREATE OR REPLACE FUNCTION billing.oldest_worker() RETURNS text LANGUAGE sql"
            " AS $$ SELECT '9998' $$",
            id="the schema names a later version",
        ),
        pytest.param("DROP FUNCTION billing.oldest_worker()", id="the schema does not say"),
    ],
)
def test_a_version_too_old_for_the_schema_is_told_so_and_not_to_migrate(after, oldest):
    facts = after("UPDATE billing.alembic_version SET version_num = '9999'", oldest)

    (fact,) = [fact for fact in facts if fact.subject == "schema"]
    assert (fact.level, "billing migrate" in fact.what) == ("problem", False)
    assert "9999, which is newer" in fact.what


@pytest.mark.parametrize(
    ("oldest", "code"),
    [
        pytest.param("0021", 0, id="and may run on it"),
        pytest.param("9998", 1, id="and may not"),
    ],
)
def test_migrate_leaves_a_newer_schema_as_it_is_and_says_so(
    other_database, elsewhere, oldest, code
):
    """Rolled back, Compose ran `billing migrate` first, and it ended in a traceback."""
    elsewhere(DATABASE_URL=other_database)
    function = "CREATE OR REPLACE FUNCTION billing.oldest_worker() RETURNS text LANGUAGE sql AS"
    with database.engine().begin() as connection:
        connection.exec_driver_sql("UPDATE billing.alembic_version SET version_num = '9999'")
        connection.exec_driver_sql(f"{function} $$ SELECT '{oldest}' $$")
    try:
        answer = CliRunner().invoke(migrate, [])
    finally:
        with database.engine().begin() as connection:
            put_back = f"UPDATE billing.alembic_version SET version_num = '{schema.head()}'"
            connection.exec_driver_sql(put_back)
            connection.exec_driver_sql(f"{function} $$ SELECT '0021' $$")

    assert answer.exit_code == code
    assert "9999, which is newer than this version" in answer.output + str(answer.exception)
