"""The schema comes up on an empty database and on the main app's own, and touches only what it must."""

import pytest
import sqlalchemy as sa
from alembic import command

from models.host import HOST_TABLES
from tests.conftest import FreshDatabase
from worker import schema
from worker.settings import settings


@pytest.fixture
def empty(monkeypatch):
    with FreshDatabase("migrations") as url:
        yield use(monkeypatch, url)


@pytest.fixture
def apps_own(monkeypatch):
    """A database as the main app's migration 0006 left it, with an account and its entries."""
    with FreshDatabase("host") as url:
        engine = use(monkeypatch, url)
        with engine.begin() as connection:
            _make_host_tables(connection)
            connection.execute(
                sa.text(
                    "INSERT INTO igny8_tenants (id, name, slug, credits, app_only)"
                    " VALUES (5, 'a', 'aws-admin', 454, 'x')"
                )
            )
            connection.execute(
                sa.text(
                    "INSERT INTO igny8_credit_transactions"
                    " (tenant_id, type, amount, balance_after, description)"
                    " VALUES (5, 'deduction', -2, 454, 'image_prompt_extraction')"
                )
            )
        yield engine


def use(monkeypatch, url):
    monkeypatch.setenv("DATABASE_URL", url)
    settings.cache_clear()
    return sa.create_engine(url, poolclass=sa.NullPool)


@pytest.fixture(autouse=True)
def forget_settings():
    yield
    settings.cache_clear()


def _make_host_tables(connection):
    metadata = sa.MetaData()
    for model in HOST_TABLES:
        table = model.__table__
        columns = [
            sa.Column(
                column.name,
                column.type,
                primary_key=column.primary_key,
                nullable=column.nullable and column.name != "stripe_subscription_id",
                server_default=column.server_default.arg
                if not column.primary_key and column.server_default is not None
                else None,
            )
            for column in table.columns
            if column.info["origin"] not in {"planned", "ours"}
        ]
        extra = [sa.Column("app_only", sa.Text, nullable=True)]
        sa.Table(table.name, metadata, *columns, *extra)
    metadata.create_all(connection)


def tables_of(engine, schema_name):
    return set(sa.inspect(engine).get_table_names(schema=schema_name))


def columns_of(engine, table):
    return {column["name"]: column for column in sa.inspect(engine).get_columns(table)}


def test_an_empty_database_gets_every_table(empty):
    schema.upgrade()

    assert {model.__tablename__ for model in HOST_TABLES} <= tables_of(empty, "public")
    assert {"books", "lots", "keys", "dead_letters", "outbox"} <= tables_of(empty, "billing")


def test_the_models_say_what_the_migrations_make(empty):
    schema.upgrade()

    command.check(schema.config())


def test_the_models_say_what_the_migrations_make_of_the_apps_own_database(apps_own):
    schema.upgrade()

    command.check(schema.config())


def test_migrating_twice_changes_nothing(empty):
    schema.upgrade()
    schema.upgrade()


def test_the_apps_own_database_gets_what_is_missing_and_keeps_the_rest(apps_own):
    schema.upgrade()

    accounts = columns_of(apps_own, "igny8_tenants")
    subscriptions = columns_of(apps_own, "igny8_subscriptions")
    assert {"payment_method", "app_only"} <= set(accounts)
    assert {"payment_method", "external_payment_id"} <= set(subscriptions)
    assert subscriptions["stripe_subscription_id"]["nullable"]
    with apps_own.connect() as connection:
        row = connection.execute(sa.text("SELECT credits, app_only FROM igny8_tenants")).one()
    assert row == (454, "x")


def test_columns_that_the_apps_0007_has_added_already_are_left_alone(apps_own):
    with apps_own.begin() as connection:
        connection.execute(sa.text("ALTER TABLE igny8_tenants ADD payment_method varchar(64)"))

    schema.upgrade()
    command.downgrade(schema.config(), "base")

    assert columns_of(apps_own, "igny8_tenants")["payment_method"]["type"].length == 64


def test_going_down_takes_back_what_was_added_and_nothing_else(apps_own):
    before = {
        model.__tablename__: set(columns_of(apps_own, model.__tablename__)) for model in HOST_TABLES
    }
    schema.upgrade()

    command.downgrade(schema.config(), "base")

    after = {
        model.__tablename__: set(columns_of(apps_own, model.__tablename__)) for model in HOST_TABLES
    }
    assert after == before
    assert not columns_of(apps_own, "igny8_subscriptions")["stripe_subscription_id"]["nullable"]
    with apps_own.connect() as connection:
        assert connection.execute(sa.text("SELECT credits FROM igny8_tenants")).scalar() == 454


def test_down_and_up_again(empty):
    schema.upgrade()
    command.downgrade(schema.config(), "base")
    assert not tables_of(empty, "public") & {model.__tablename__ for model in HOST_TABLES}

    schema.upgrade()

    command.check(schema.config())


def test_a_migration_that_cannot_have_its_lock_steps_back(apps_own, monkeypatch):
    monkeypatch.setenv("BILLING_MIGRATION_LOCK_TIMEOUT_S", "1")
    settings.cache_clear()
    with apps_own.begin() as app:
        app.execute(sa.text("LOCK TABLE igny8_tenants IN ROW EXCLUSIVE MODE"))

        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            schema.upgrade()

    assert "payment_method" not in columns_of(apps_own, "igny8_tenants")
    schema.upgrade()
