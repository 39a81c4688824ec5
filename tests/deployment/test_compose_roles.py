"""The worker of docker-compose.yml logs in as a role that is no superuser, and can do its work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from devstack import running_stack

ROOT = Path(__file__).parents[2]
PASSWORD = "of-the-worker"


@pytest.fixture
def servers(tmp_path):
    with running_stack(tmp_path / "data", durable=False) as urls:
        yield urls


def as_role(servers, role, password, *statements, database="app"):
    url = sa.make_url(servers.database_url).set(
        drivername="postgresql+psycopg2", username=role, password=password, database=database
    )
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for statement in statements:
            plain = {"no_parameters": True}  # a % is only a character
            answer = connection.exec_driver_sql(statement, execution_options=plain)
        return answer.all() if answer.returns_rows else None


def superuser(servers):
    url = sa.make_url(servers.database_url)
    return url.username, url.password


def billing(servers, *words):
    url = sa.make_url(servers.database_url).set(
        username="billing_worker", password=PASSWORD, database="app"
    )
    environment = os.environ | {
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "REDIS_URL": servers.redis_url,
    }
    program = Path(sys.executable).with_name("billing")
    answer = subprocess.run(
        [program, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def works_without_a_superuser(servers):
    """Whether the worker's role runs everything, and is no superuser."""
    billing(servers, "migrate")
    assert "problem" not in billing(servers, "preflight")
    billing(servers, "samples", "load")
    assert "the ledger agrees" in billing(servers, "audit")
    ask = "SELECT rolsuper, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = 'billing_worker'"
    return as_role(servers, "billing_worker", PASSWORD, ask) == [(False, False, False)]


def test_a_new_deployment_makes_a_worker_without_rights_beyond_its_database(servers):
    script = (ROOT / "deploy/postgres-roles.sql").read_text()
    assert script.count("\\getenv password POSTGRES_PASSWORD") == 1
    statements = script.replace("\\getenv password POSTGRES_PASSWORD", "")
    statements = statements.replace(":'password'", f"'{PASSWORD}'")
    as_role(servers, *superuser(servers), "CREATE DATABASE app", database="postgres")

    as_role(servers, *superuser(servers), statements)

    assert works_without_a_superuser(servers)
    with pytest.raises(sa.exc.OperationalError):
        as_role(servers, *superuser(servers), "SELECT 1")


def test_a_deployment_that_exists_gives_up_its_superuser_as_the_page_says(servers):
    (statements,) = re.findall(
        r"```sql\n(.*?)```", (ROOT / "docs/how-to/upgrade.md").read_text(), re.DOTALL
    )
    user, secret = superuser(servers)
    admin = f"CREATE ROLE admin SUPERUSER LOGIN PASSWORD '{secret}'"
    as_role(servers, user, secret, "CREATE DATABASE app", admin, database="postgres")
    as_role(
        servers,
        "admin",
        secret,
        f"ALTER ROLE {user} RENAME TO billing_worker",
        f"ALTER ROLE billing_worker PASSWORD '{PASSWORD}'",
    )
    billing(servers, "migrate")
    billing(servers, "samples", "load")

    as_role(servers, "admin", secret, statements.replace("the password of .env", PASSWORD))

    assert works_without_a_superuser(servers)


def test_compose_gives_the_script_to_the_image_and_its_role_to_the_worker():
    import yaml

    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    volumes = services["postgres"]["volumes"]

    assert "./deploy/postgres-roles.sql:/docker-entrypoint-initdb.d/10-roles.sql:ro" in volumes
    assert "POSTGRES_USER" not in services["postgres"]["environment"]
    assert "://billing_worker:" in services["worker"]["environment"]["DATABASE_URL"]
