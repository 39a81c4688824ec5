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


_STATEMENT = """
INSERT INTO billing.statements (digest, identity, account, format, family, closing_day,
                                booked_minor, line_count, holds, is_held, recorded_at)
VALUES (CAST(:key AS uuid), CAST(:key AS uuid), 'DE1', 'CSV', 'statement', '2026-01-31',
        0, 1, '[]', false, now())
"""
_LINE = """
INSERT INTO billing.bank_lines (key, account, format, currency, amount_minor, status, booking_date,
                                is_split)
VALUES (CAST(:key AS uuid), 'DE1', 'CSV', 'EUR', :amount, 'BOOK', :day, :is_split)
"""


def test_bank_lines_from_before_0012_keep_their_rows_and_get_a_day_and_a_reason(empty):
    command.upgrade(schema.config(), "0011")
    keys = [f"00000000-0000-0000-0000-00000000000{place}" for place in range(3)]
    lines = [(-100, "2026-01-05", True), (0, "2026-01-05", True), (500, None, False)]
    with empty.begin() as connection:
        connection.execute(sa.text(_STATEMENT), {"key": keys[0]})
        for key, (amount, day, is_split) in zip(keys, lines, strict=True):
            values = {"key": key, "amount": amount, "day": day, "is_split": is_split}
            connection.execute(sa.text(_LINE), values)
            link = "INSERT INTO billing.statement_lines VALUES (CAST(:s AS uuid), CAST(:l AS uuid))"
            connection.execute(sa.text(link), {"s": keys[0], "l": key})

    schema.upgrade()

    with empty.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT booking_date::text, pays_nothing FROM billing.bank_lines ORDER BY key")
        ).all()
    assert rows == [
        ("2026-01-05", "own_payment"),
        ("2026-01-05", "no_amount"),
        ("2026-01-31", None),
    ]


def test_a_migration_that_cannot_have_its_lock_steps_back(apps_own, monkeypatch):
    monkeypatch.setenv("BILLING_MIGRATION_LOCK_TIMEOUT_S", "1")
    settings.cache_clear()
    with apps_own.begin() as app:
        app.execute(sa.text("LOCK TABLE igny8_tenants IN ROW EXCLUSIVE MODE"))

        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            schema.upgrade()

    assert "payment_method" not in columns_of(apps_own, "igny8_tenants")
    schema.upgrade()


#: A hold, a refused key, an open suspension and a trial, as a worker at 0011 wrote them.
_ROWS_OF_0011 = """
INSERT INTO igny8_plans (name, slug, price, included_credits, is_active, max_sites, max_users)
VALUES ('starter', 'starter', 89, 1000, true, 1, 1);
INSERT INTO igny8_tenants (name, slug, status, credits, plan_id)
SELECT 'acme', 'acme', 'suspended', 100, id FROM igny8_plans;
SELECT billing.open_book(id, now()) FROM igny8_tenants;
SELECT billing.place_hold(id, 'clustering', 1, 'h') FROM igny8_tenants;
INSERT INTO billing.keys (key, content) VALUES (billing.key_uuid('k'), 0);
INSERT INTO billing.suspensions (account_id, reason, actor, status_before, since)
SELECT id, 'payment_failed', 'stripe', 'active', now() FROM igny8_tenants;
"""


def test_a_database_at_0011_keeps_its_rows_and_gets_holds_that_obey_access(empty):
    command.upgrade(schema.config(), "0011")
    with empty.begin() as connection:
        connection.execute(sa.text(_ROWS_OF_0011))
        before = _rows(connection)

    schema.upgrade()

    with empty.begin() as connection:
        assert _rows(connection) == before
        assert _place(connection) == "AccountSuspended"
        connection.execute(sa.text("UPDATE igny8_tenants SET status = 'active'"))
        written = sa.text("SELECT status_before FROM billing.status_writes")
        assert connection.execute(written).scalars().all() == ["suspended"]
    command.downgrade(schema.config(), "0011")
    with empty.begin() as connection:
        connection.execute(sa.text("UPDATE igny8_tenants SET status = 'suspended'"))
        assert _place(connection) is None


def _rows(connection):
    """Every row of our tables of 0011 that the migration could touch."""
    names = ("books", "lots", "keys", "holds", "suspensions", "refusals")
    return {
        name: connection.execute(sa.text(f"SELECT t::text FROM billing.{name} AS t")).all()
        for name in names
    }


def _place(connection):
    hold = sa.text("SELECT reason FROM billing.place_hold(1, 'clustering', 1, 'h2')")
    return connection.execute(hold).scalar_one()
