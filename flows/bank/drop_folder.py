"""The drop folder: files that a bank's download leaves there are imported, and moved aside.

A file's bytes are in the database before it is moved, so that no crash loses it. Finding it twice
changes nothing.
"""

import os
import time
from pathlib import Path

from flows.bank import import_file as import_file_flow
from flows.bank.import_file import ImportOutcome

#: A file that changed less long ago may still be written.
SETTLED_S = 5
#: Files that one sweep takes; the rest waits for the next tick.
AT_ONCE = 100
#: outcome -> the folder, inside the drop folder, that a file is moved to
MOVED_TO = {"imported": "imported", "repeat": "imported", "refused": "refused"}


def sweep(folder: Path) -> list[ImportOutcome]:
    """Import the folder's files; leave folders, and files that begin with a dot."""
    outcomes = []
    for path in _settled(folder)[:AT_ONCE]:
        outcome = import_file_flow.import_path(path)
        _move(path, folder / MOVED_TO[outcome.outcome])
        outcomes.append(outcome)
    return outcomes


def _settled(folder: Path) -> list[Path]:
    latest = time.time() - SETTLED_S
    with os.scandir(folder) as entries:
        # Links are not followed: a user who may write here could point one at any file.
        plain = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
        return sorted(
            Path(entry.path)
            for entry in plain
            if not entry.name.startswith(".") and entry.stat().st_mtime <= latest
        )


def _move(path: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    target, copy = folder / path.name, 0
    while target.exists():
        copy += 1
        target = folder / f"{path.name}.{copy}"
    path.rename(target)
