"""The database schema of this version, and the upgrade to it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import migrations
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


def upgrade(to: str = "head") -> list[str]:
    """Migrate the database to a revision, by default the latest, and renew all roles' rights.

    Return the sentences about rights that the role that migrates may not give.
    """
    command.upgrade(config(), to)
    return apply.apply({}).problems if to == "head" else []
