"""The database schema of this version, and the upgrade to it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import migrations


def config() -> Config:
    """Return Alembic's configuration, wherever the package is installed."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(migrations.__file__).parent))
    alembic.set_main_option("path_separator", "os")
    return alembic


def head() -> str | None:
    """Return the revision that this version needs."""
    return ScriptDirectory.from_config(config()).get_current_head()


def knows(revision: str) -> bool:
    """Whether this version has the migration, so that it is as new as the revision or newer."""
    return any(
        s.revision == revision for s in ScriptDirectory.from_config(config()).walk_revisions()
    )


def upgrade(to: str = "head") -> None:
    """Migrate the database to a revision, by default the latest."""
    command.upgrade(config(), to)
