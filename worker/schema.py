"""The schema of this version: where its migrations are, and how the database gets there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import migrations


def config() -> Config:
    """Alembic's settings, wherever the package is installed."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(migrations.__file__).parent))
    alembic.set_main_option("path_separator", "os")
    return alembic


def head() -> str | None:
    """The revision that this version needs."""
    return ScriptDirectory.from_config(config()).get_current_head()


def upgrade(to: str = "head") -> None:
    """Go to a revision; the latest unless told otherwise."""
    command.upgrade(config(), to)
