"""The drop folder: files that a bank's download leaves there are imported, and moved aside.

A folder inside it that is named like an account of ours has the files of that account. A file's
bytes are in the database before it is moved, so that no crash loses it. Finding it twice changes
nothing.
"""

import os
import time
from pathlib import Path

from billing.bank.intake import accounts
from billing.statements.references import plain_iban
from flows.bank import import_file as import_file_flow
from flows.bank.import_file import ImportOutcome
from worker.database import transaction

#: A file that changed less long ago may still be written.
SETTLED_S = 5
#: Files that one sweep takes; the rest waits for the next tick.
AT_ONCE = 100
#: outcome -> the folder, inside the drop folder, that a file is moved to
MOVED_TO = {"imported": "imported", "repeat": "imported", "refused": "refused"}


def sweep(folder: Path) -> list[ImportOutcome]:
    """Import the files of the folder, and of the accounts' folders in it.

    Files that begin with a dot, links and other folders stay.
    """
    files: list[tuple[Path, str | None]] = [(path, None) for path in _settled(folder)]
    for account_folder, account in _account_folders(folder):
        files += [(path, account) for path in _settled(account_folder)]
    return [_import(path, account) for path, account in files[:AT_ONCE]]


def _import(path: Path, account: str | None) -> ImportOutcome:
    outcome = import_file_flow.import_path(path, account=account)
    _move(path, path.parent / MOVED_TO[outcome.outcome])
    return outcome


def _account_folders(folder: Path) -> list[tuple[Path, str]]:
    """The folders named by an IBAN or a registered number, whose slash is written as `_`."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    names = [name for name in names if name not in MOVED_TO.values()]
    if not names:
        return []
    with transaction() as ctx:
        numbers = {
            row.number.replace("/", "_"): row.number for row in accounts.registered(ctx.session)
        }
    account_of = {name: numbers.get(name) or plain_iban(name) for name in names}
    return [(folder / name, account) for name, account in account_of.items() if account]


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
