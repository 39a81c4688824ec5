"""Roles of Postgres: each may do what its part needs, and nothing else; no function serves a stranger."""

import secrets
from contextlib import closing

import psycopg2
import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.exc import DBAPIError

from tests.app import connect
from tests.conftest import FreshDatabase
from worker import preflight, schema
from worker.database import engine
from worker.roles import apply, catalog, check, grants, owner
from worker.roles.rights import DEFINERS
from worker.settings import settings

PASSWORD = "only-for-this-test"


@pytest.fixture
def role(database):
    """Makes roles that may log in, and drops them again."""
    names = []

    def make(part=None, options=""):
        names.append(f"r_{secrets.token_hex(4)}")
        with database.begin() as connection:
            words = f"CREATE ROLE {names[-1]} LOGIN PASSWORD '{PASSWORD}' {options}"
            connection.execute(sa.text(words))
        if part:
            assert apply.give(names[-1], part).problems == []
        return names[-1]

    yield make
    with database.begin() as connection:
        for name in names:
            connection.execute(sa.text(f"DROP OWNED BY {name} CASCADE"))
            connection.execute(sa.text(f"DROP ROLE {name}"))


def run(user, *statements):
    with closing(connect(user=user, password=PASSWORD)) as connection:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
        connection.commit()
    return rows


HOLD = "SELECT outcome, reason FROM billing.place_hold({}, 'clustering', 1, 'h')"


# --- the owner -------------------------------------------------------------------------------------


def test_everything_in_the_schema_is_owned_by_a_role_that_can_neither_log_in_nor_do_all(database):
    with database.connect() as connection:
        assert owner.handover(connection) == []
        assert owner.of_schema(connection) == ("billing_owner", False, False)


def test_every_function_has_a_search_path_of_its_own_and_none_is_everybodys(database):
    with database.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT proname, proconfig, has_function_privilege('public', oid, 'EXECUTE')"
                " FROM pg_proc WHERE pronamespace = 'billing'::regnamespace"
            )
        ).all()

    assert len(rows) > 15
    for name, config, is_everybodys in rows:
        assert "search_path=pg_catalog, billing, pg_temp" in (config or []), name
        assert not is_everybodys, name


def test_the_functions_with_more_rights_than_their_caller_are_those_of_the_list(database):
    with database.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT 'billing.' || proname || '(' || array_to_string(ARRAY("
                "  SELECT format_type(t, NULL) FROM unnest(proargtypes) AS t), ',') || ')',"
                " proowner::regrole::text"
                " FROM pg_proc WHERE pronamespace = 'billing'::regnamespace AND prosecdef"
            )
        ).all()

    assert dict(rows) == dict.fromkeys(DEFINERS, "billing_owner")


def test_a_role_that_may_create_in_public_runs_nothing_as_the_owner(ledger, role):
    """It overloaded make_interval, and the function that places holds called it as its owner."""
    account = ledger.open_account("acme", credits=100)
    app = role("app")
    with engine().begin() as connection:
        connection.execute(sa.text(f"GRANT CREATE ON SCHEMA public TO {app}"))
        connection.execute(
            sa.text(f"GRANT CREATE ON DATABASE {connection.engine.url.database} TO {app}")
        )
    body = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$"
    # Each takes the very types that the functions pass, so that it would fit better than a builtin.
    traps = [
        f"CREATE FUNCTION {schema_name}.{signature} {body}"
        for schema_name in ("public", "pg_temp")
        for signature in (
            "make_interval(secs int) RETURNS interval",
            "date_trunc(text, timestamptz, text) RETURNS timestamptz",
            "length(varchar) RETURNS int",
            "sha256(bytea) RETURNS bytea",
            "convert_to(text, text) RETURNS bytea",
            "encode(bytea, text) RETURNS text",
            "array_position(text[], text) RETURNS int",
            "jsonb_build_array(VARIADIC bigint[]) RETURNS jsonb",
            "jsonb_build_object(VARIADIC text[]) RETURNS jsonb",
            "clock_timestamp() RETURNS timestamptz",
            "now() RETURNS timestamptz",
            "to_hex(int) RETURNS text",
            "substr(text, int, int) RETURNS text",
        )
    ]
    for left, sign, right, result in (
        ("varchar", "=", "varchar", "boolean"),
        ("varchar", "=", "text", "boolean"),
        ("int", "-", "bigint", "bigint"),
        ("bigint", "+", "int", "bigint"),
        ("smallint", "<", "int", "boolean"),
        ("timestamptz", "+", "interval", "timestamptz"),
        ("text", "||", "bigint", "text"),
    ):
        name = f"trap_{secrets.token_hex(3)}"
        traps.append(f"CREATE FUNCTION public.{name}({left}, {right}) RETURNS {result} {body}")
        traps.append(
            f"CREATE OPERATOR public.{sign} (FUNCTION = public.{name}, LEFTARG = {left},"
            f" RIGHTARG = {right})"
        )
    # Types and tables of the names that the functions use, in its own temporary schema too.
    traps += [
        "CREATE DOMAIN public.holds AS int",
        "CREATE TEMP TABLE holds (key int)",
        "CREATE TEMP TABLE keys (key int)",
        "CREATE TEMP TABLE igny8_tenants (id int)",
        "SET search_path = pg_temp, public, pg_catalog",
    ]
    new = ledger.open_account("new", credits=100)

    seen = run(app, *traps, HOLD.format(account))
    opened = run(app, "SET search_path = public, pg_catalog", HOLD.format(new))
    access = run(app, f"SELECT reason FROM billing.access({account}, NULL)")

    assert (seen, opened, access) == ([("held", None)], [("held", None)], [("active",)])
    run(app, "DROP DOMAIN public.holds")


def test_an_app_can_put_no_trigger_function_of_ours_on_a_table_of_its_own(role):
    app = role("app")

    for function in ("remember_price", "remember_status"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run(
                app,
                "CREATE TEMP TABLE t (operation text, credits_per_unit int)",
                "CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW"
                f" EXECUTE FUNCTION billing.{function}()",
            )


# --- what each part may not do -----------------------------------------------------------------------

MAY_NOT = {
    "worker": [
        "DROP TABLE billing.keys",
        "ALTER TABLE billing.lots DISABLE TRIGGER ALL",
        "TRUNCATE billing.inbox",
        "CREATE TABLE billing.mine ()",
        (
            "CREATE OR REPLACE FUNCTION billing.key_uuid(p_key text) RETURNS uuid LANGUAGE sql AS"
            " 'SELECT gen_random_uuid()'"
        ),
        "UPDATE billing.transfer_decisions SET actor = 'x'",
        "DELETE FROM billing.repairs",
        "UPDATE billing.alembic_version SET version_num = '0001'",
        "INSERT INTO billing.allowed_roles VALUES ('x', 'worker')",
        "UPDATE igny8_tenants SET slug = 'x'",
        "UPDATE igny8_credit_transactions SET amount = 1",
        "DELETE FROM igny8_credit_transactions",
        "DELETE FROM igny8_tenants",
        "SELECT wp_api_key FROM igny8_sites",
        "UPDATE igny8_users SET is_superuser = true",
        "UPDATE igny8_plans SET price = 0",
        "SET ROLE billing_owner",
    ],
    "app": [
        "SELECT * FROM billing.chain_anchors",
        "UPDATE billing.chain_anchors SET entries = 0",
        "DELETE FROM billing.chain_anchors",
        "DELETE FROM billing.chain_total",
        "SELECT * FROM billing.keys",
        "SELECT * FROM billing.inbox",
        "SELECT content FROM billing.statement_file_parts",
        "DELETE FROM billing.inbox",
        "UPDATE billing.lots SET remaining = 0",
        "INSERT INTO billing.plan_policies VALUES (1, 9)",
        "SELECT billing.open_book(1, now())",
        "SELECT * FROM billing.place_hold_at(1, 'clustering', 1, 'k', 9, '20000-01-01')",
        "SELECT * FROM billing.locked_books('{1}', now())",
        (
            "INSERT INTO billing.inbox (account_id, task, arguments, sent_at)"
            " VALUES (1, 'credits.debit', '{}', 'infinity')"
        ),
        (
            "INSERT INTO billing.inbox (account_id, id, task, arguments)"
            " VALUES (1, -5, 'credits.debit', '{}')"
        ),
        (
            "INSERT INTO billing.statement_files (sha256, name, size, received_at, state)"
            " VALUES ('', 'n', 1, now(), 'imported')"
        ),
        "CREATE TABLE billing.mine ()",
        "SET ROLE billing_owner",
    ],
    "read_only": [
        "UPDATE billing.chain_anchors SET entries = 0",
        "DELETE FROM billing.chain_total",
        "INSERT INTO billing.inbox (account_id, task, arguments) VALUES (1, 't', '{}')",
        "UPDATE billing.books SET credits = 0",
        "DELETE FROM billing.dead_letters",
        "SELECT content FROM billing.statement_file_parts",
        "SELECT * FROM billing.site_access",
        "SELECT email FROM igny8_users",
        "SELECT * FROM billing.place_hold(1, 'clustering', 1, 'k')",
        "SELECT nextval('billing.lots_id_seq')",
        "SET ROLE billing_owner",
    ],
}


@pytest.mark.parametrize("part", MAY_NOT)
def test_a_role_may_not_do_what_its_part_does_not_need(role, part):
    name = role(part)

    for statement in MAY_NOT[part]:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run(name, statement)


def test_the_owner_may_not_change_what_the_main_app_shows_but_through_the_rows_it_adds(database):
    for statement in (
        "INSERT INTO public.igny8_payments DEFAULT VALUES",
        "DELETE FROM public.igny8_credit_transactions",
        "UPDATE public.igny8_tenants SET status = 'active'",
        "SELECT email FROM public.igny8_users",
    ):
        with database.connect() as connection, pytest.raises(DBAPIError, match="permission denied"):
            connection.execute(sa.text("SET ROLE billing_owner"))
            connection.execute(sa.text(statement))


# --- clocks and texts --------------------------------------------------------------------------------


def test_a_clock_that_the_app_passes_is_ignored(ledger, role):
    """One call with the year 20000 broke the audit and `explain` for ever."""
    account, app = ledger.open_account("acme", credits=100), role("app")

    for clock in ("20000-01-01", "infinity", "-infinity", "4713-01-01 BC"):
        key = f"k{clock}"
        call = f"SELECT outcome FROM billing.place_hold({account}, 'clustering', 1, '{key}', 60, '{clock}')"
        assert run(app, call) == [("held",)]

    assert ledger.audit().agrees
    with engine().connect() as connection:
        years = connection.execute(
            sa.text("SELECT DISTINCT extract(year FROM expires_at) FROM billing.holds")
        )
        assert {int(year) for year in years.scalars()} <= {2025, 2026, 2027, 2028}


@pytest.mark.parametrize(
    "text",
    [
        *["", " k", "k ", "k\n", "\x1b[2J", "a\x7fb", "a\x85b", "a\u200bb", "a\u202eb", "a\u2028b"],
        *["a\xa0b", "a\u3000b", "\ue000", "\U000e0001", "k" * 201, "billing:k", "a\tb"],
        *["k", "grün", "日本", "😀", "a b", "'; DROP", "\\u0000", "é", "k" * 200],
    ],
)
def test_a_text_is_refused_in_sql_if_it_is_refused_in_python(ledger, role, text):
    from billing_client import InvalidMessage, PlaceHold

    account, app = ledger.open_account("acme", credits=100), role("app")

    def in_python(operation, key):
        try:
            PlaceHold(account, operation, key)
        except InvalidMessage:
            return "InvalidField"
        return None

    with closing(connect(user=app, password=PASSWORD)) as connection, connection.cursor() as cursor:
        call = "SELECT reason FROM billing.place_hold(%s, %s, 1, %s)"
        cursor.execute(call, [account, "clustering", text])
        assert cursor.fetchone() == (in_python("clustering", text),)
        cursor.execute(call, [account, text, "fine"])
        expected = in_python(text, "fine") or "UnknownOperation"
        assert cursor.fetchone() == (expected,)


def test_sql_refuses_the_very_characters_that_python_refuses(database):
    texts = [chr(code) for code in range(1, 0x30000) if not 0xD800 <= code <= 0xDFFF]
    with database.connect() as connection:
        plain = connection.execute(
            sa.text("SELECT billing.is_plain_text(t, 1) FROM unnest(CAST(:texts AS text[])) AS t"),
            {"texts": texts},
        ).scalars()
        refused = {text for text, is_plain in zip(texts, plain, strict=True) if not is_plain}

    # A newer Python knows more characters; none that it refuses is taken.
    assert refused >= {text for text in texts if not text.isprintable()}
    assert " " in refused
    assert not refused & set("aZ0é日😀")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("received_at", "20000-01-01"),
        ("received_at", "infinity"),
        ("size", "-1"),
        ("name", "\x1b[2J"),
        ("name", "n" * 201),
        ("account", "a\nb"),
    ],
)
def test_a_bank_file_has_a_time_and_a_name_that_can_be_read(role, column, value):
    app = role("app")
    values = {"name": "n", "account": "a", "size": "1", "received_at": "now", column: value}

    with (
        closing(connect(user=app, password=PASSWORD)) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.CheckViolation),
    ):
        cursor.execute(
            "INSERT INTO billing.statement_files (sha256, name, account, size, received_at)"
            " VALUES ('x', %(name)s, %(account)s, %(size)s, %(received_at)s)",
            values,
        )


# --- the check ---------------------------------------------------------------------------------------


def test_the_check_names_what_a_role_lacks_and_what_it_may_besides(role):
    app, worker = role("app"), role("worker")
    with engine().begin() as connection:
        connection.execute(sa.text(f"GRANT DELETE ON billing.lots TO {app}"))
        connection.execute(sa.text(f"REVOKE INSERT ON igny8_invoices FROM {worker}"))

        facts = [fact for fact in check.check(connection) if fact.level == "problem"]
        assert {(fact.role, fact.what) for fact in facts} == {
            (app, "It may DELETE on billing.lots, which its part does not need."),
            (worker, "It may not INSERT on public.igny8_invoices."),
        }

    apply.apply({})
    with engine().connect() as connection:
        assert all(fact.level == "ok" for fact in check.check(connection))


def test_an_app_that_may_insert_whole_rows_may_only_fill_the_clients_columns_afterwards(role):
    """As `billing allow-app` of the release before left it."""
    app = role()
    with engine().begin() as connection:
        connection.execute(sa.text(f"GRANT USAGE ON SCHEMA billing TO {app}"))
        connection.execute(sa.text(f"GRANT INSERT ON billing.inbox TO {app}"))

    apply.give(app, "app")

    run(app, "INSERT INTO billing.inbox (account_id, task, arguments) VALUES (1, 't', '{}')")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(
            app,
            "INSERT INTO billing.inbox (account_id, task, arguments, sent_at)"
            " VALUES (1, 't', '{}', 'infinity')",
        )


def test_the_preflight_names_each_right_that_a_worker_lacks(role):
    """It said that a worker can run here, and announcing a transfer failed."""
    worker = role("worker")
    with engine().connect() as connection:
        connection.execute(sa.text(f"REVOKE INSERT ON igny8_invoices FROM {worker}"))
        connection.execute(sa.text(f"SET LOCAL ROLE {worker}"))

        facts = list(preflight._rights(connection))

    assert [(fact.level, fact.what) for fact in facts] == [
        (
            "problem",
            (
                f"The role {worker} may not INSERT on public.igny8_invoices:"
                f" run `billing roles apply --worker {worker}`."
            ),
        )
    ]


# --- a server without a superuser ----------------------------------------------------------------------


@pytest.fixture
def managed(role, monkeypatch):
    """A database of a plain user, as a managed Postgres gives one."""

    def make(options):
        user = role(options=options)
        monkeypatch.setenv("BILLING_OWNER_ROLE", f"owner_{secrets.token_hex(4)}")
        return user

    with FreshDatabase("managed") as url:
        yield make, sa.make_url(url)
    settings.cache_clear()


def give_database(url, user):
    admin = sa.create_engine(
        url.set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(sa.text(f"ALTER DATABASE {url.database} OWNER TO {user}"))
        connection.execute(sa.text(f"ALTER SCHEMA public OWNER TO {user}"))
    admin.dispose()


def test_a_plain_user_who_may_create_roles_migrates_and_owns_nothing(managed, monkeypatch):
    make, url = managed
    user = make("CREATEROLE")
    give_database(url, user)
    own = url.set(username=user, password=PASSWORD).render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", own)
    settings.cache_clear()

    assert schema.upgrade() == []
    assert schema.upgrade() == []

    with apply.server().connect() as connection:
        assert owner.of_schema(connection) == (owner.name(), False, False)
        assert owner.handover(connection) == []
        assert catalog.missing(connection, user, "worker") == []
    drop_owner(url)


def test_a_user_who_may_not_create_roles_is_told_what_the_dba_must_run(managed, monkeypatch):
    make, url = managed
    user = make("NOCREATEROLE")
    give_database(url, user)
    own = url.set(username=user, password=PASSWORD).render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", own)
    settings.cache_clear()

    (problem,) = schema.upgrade()

    assert f"CREATE ROLE {owner.name()} NOLOGIN; GRANT {owner.name()} TO {user}" in problem
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE ROLE {owner.name()} NOLOGIN"))
        connection.execute(sa.text(f"GRANT {owner.name()} TO {user}"))
    admin.dispose()
    assert apply.apply({}).problems == []
    with apply.server().connect() as connection:
        assert owner.of_schema(connection) == (owner.name(), False, False)
    drop_owner(url)


_AS_0017_LEFT_IT = """
GRANT USAGE ON SCHEMA billing TO {app};
GRANT INSERT ON billing.inbox TO {app};
GRANT EXECUTE ON FUNCTION billing.place_hold(bigint, text, int, text, int, timestamptz) TO {app};
INSERT INTO igny8_plans (name, slug, price, included_credits, is_active, max_sites, max_users)
VALUES ('starter', 'starter', 89, 1000, true, 1, 1);
INSERT INTO igny8_tenants (name, slug, status, credits, plan_id)
SELECT 'acme', 'acme', 'active', 100, id FROM igny8_plans;
INSERT INTO billing.statement_files (sha256, name, size, received_at) VALUES ('x', E'a\x1bb', 1, 'infinity');
SELECT * FROM billing.place_hold(1, 'clustering', 1, 'h', 60, now());
"""


def test_a_database_at_0017_that_a_login_owns_goes_on_with_its_worker_and_its_app(
    managed, role, monkeypatch
):
    """Its worker was the owner: it keeps what a worker needs, and loses nothing in between."""
    make, url = managed
    worker, app = make("CREATEROLE"), role()
    give_database(url, worker)
    own = url.set(username=worker, password=PASSWORD).render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", own)
    settings.cache_clear()
    command.upgrade(schema.config(), "0017")
    with sa.create_engine(own, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql(_AS_0017_LEFT_IT.format(app=app))

    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    settings.cache_clear()
    assert schema.upgrade() == []

    with apply.server().connect() as connection:
        assert owner.of_schema(connection) == (owner.name(), False, False)
        assert grants.registered(connection) == {worker: "worker", app: "app"}
        assert all(fact.level == "ok" for fact in check.check(connection))
        files = connection.execute(sa.text("SELECT name FROM billing.statement_files")).scalars()
        assert files.all() == ["a?b"]
    for user, statement in (
        (worker, "SELECT outcome FROM billing.place_hold(1, 'clustering', 1, 'h', 60, now())"),
        (app, "SELECT outcome FROM billing.place_hold(1, 'clustering', 1, 'h', 60, now())"),
        (app, "SELECT outcome FROM billing.place_hold(1, 'clustering', 1, 'h')"),
        (worker, "SELECT 'held' FROM billing.locked_books('{1}', now())"),
    ):
        with sa.create_engine(
            url.set(username=user, password=PASSWORD), poolclass=sa.NullPool
        ).begin() as connection:
            assert connection.execute(sa.text(statement)).scalars().all() == ["held"]
    drop_owner(url)


def drop_owner(url):
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP OWNED BY {owner.name()} CASCADE"))
        connection.execute(sa.text(f"DROP ROLE {owner.name()}"))
