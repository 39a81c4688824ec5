"""The database schema of this version, and the upgrade to it."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import migrations
from models import SCHEMA
from worker.roles import apply


def config() -> Config:
    """Return Alembic's configuration, wherever the package is installed."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(migrations.__file__).parent))
    alembic.set_main_option("path_separator", "os")
    return alembic


def head() -> str | None:
    """Return the revision that this version needs."""
    return ScriptDirectory.from_config(config()).get_current_head()


def is_newer(connection: sa.Connection) -> bool:
    """Whether a newer version has migrated the database."""
    current = revision_of(connection)
    return current is not None and not _knows(current)


def may_run(connection: sa.Connection) -> bool:
    """Whether this version may run on the newer schema: it knows the revision that it asks for."""
    says_so = "SELECT to_regprocedure('billing.oldest_worker()') IS NOT NULL"
    if not connection.exec_driver_sql(says_so).scalar_one():
        return False
    return _knows(connection.exec_driver_sql("SELECT billing.oldest_worker()").scalar_one())


def newer_sentence(connection: sa.Connection) -> str:
    """Return the sentence about a newer schema."""
    newer = (
        f"The schema is at {revision_of(connection)}, which is newer than this version ({head()})"
    )
    if may_run(connection):
        return f"{newer}; this version may run on it."
    return f"{newer}: run the version that migrated it, or a newer one."


def revision_of(connection: sa.Connection) -> str | None:
    """Return the revision of the database; None for one without our tables."""
    context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
    return context.get_current_revision()


def _knows(revision: str) -> bool:
    scripts = ScriptDirectory.from_config(config()).walk_revisions()
    return any(script.revision == revision for script in scripts)


def upgrade(to: str = "head") -> list[str]:
    """Migrate the database to a revision, by default the latest, and renew all roles' rights.

    Return the sentences about rights that the role that migrates may not give.
    """
    command.upgrade(config(), to)
    return apply.apply({}).problems if to == "head" else []
