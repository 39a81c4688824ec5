"""The drop folder: files that a bank's download leaves there are imported, and moved aside.

A folder inside it that is named like an account of ours has the files of that account. A file's
bytes are in the database before it is moved, so that no crash loses it. Finding it twice changes
nothing. A file that can't be read, or that killed its process three times, is reported as a dead
letter, and the others have their turn.
"""

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

from billiard.exceptions import SoftTimeLimitExceeded

from billing.bank.errors import FileUnreadable
from billing.bank.intake import accounts, files
from billing.errors import BillingError, ProcessKilled
from billing.operations.dead_letters import DeadMessage
from billing.statements.references import plain_iban
from billing_client.bank import ImportStatement
from billing_client.statement_files import shown_name
from flows.bank import import_file as import_file_flow
from flows.bank.import_file import ImportOutcome
from worker import dead_letters, deaths
from worker.database import transaction
from worker.logs import logger
from worker.task import is_transient

log = logger(__name__)

#: A file that changed less long ago may still be written.
SETTLED_S = 5
#: Files that one sweep takes; the rest waits for the next tick.
AT_ONCE = 100
#: Seconds after which a sweep begins no other file: the queue has other work.
BUDGET_S = 20.0
#: outcome -> the folder, inside the drop folder, that a file is moved to
MOVED_TO = {"imported": "imported", "repeat": "imported", "refused": "refused"}
TASK, QUEUE = "bank.sweep_files", "maintenance"


#: Path -> its status, links not followed.
Entries: TypeAlias = dict[Path, os.stat_result]


class Waiting(NamedTuple):
    """A file that waits in the folder, for this account if its folder names one."""

    path: Path
    account: str | None


def sweep(folder: Path, *, budget_s: float = BUDGET_S) -> list[ImportOutcome]:
    """Import the files of the folder and of the accounts' folders in it, then those received.

    Files that begin with a dot and other folders stay. What can't be opened, read or moved is
    reported, and counts for nothing: so it never keeps the files behind it from their turn.
    """
    deadline = time.monotonic() + budget_s
    outcomes: list[ImportOutcome] = []
    for waiting in _waiting(folder, outcomes):
        outcomes += _of_file(waiting)
        taken = sum(outcome.outcome != "unreadable" for outcome in outcomes)
        if taken >= AT_ONCE or time.monotonic() > deadline:
            break
    return outcomes


def import_received(*, budget_s: float = BUDGET_S) -> list[ImportOutcome]:
    """Import files of the database whose message was lost; one that breaks is a dead letter."""
    deadline = time.monotonic() + budget_s
    with transaction() as ctx:
        file_ids = files.waiting(ctx.session, limit=AT_ONCE)
    outcomes: list[ImportOutcome] = []
    for file_id in file_ids:
        outcomes += _imported_alive(file_id)
        if time.monotonic() > deadline:
            break
    return outcomes


def _imported_alive(file_id: int) -> list[ImportOutcome]:
    """Import a file of the database, unless it killed its process three times."""
    name = f"statement_file:{file_id}"
    if deaths.of([name])[0] >= deaths.MOST:
        _keep_import(file_id, ProcessKilled(times=deaths.MOST))
        return []
    with deaths.counted([name]):
        return _imported(file_id)


def _imported(file_id: int) -> list[ImportOutcome]:
    try:
        return [import_file_flow.import_file(file_id)]
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        if is_transient(error):
            raise
        log.exception("statement_import_broke", file_id=file_id, error=type(error).__name__)
        _keep_import(file_id, error)
        return []


def _keep_import(file_id: int, error: Exception) -> None:
    message = ImportStatement(file_id)
    dead_letters.keep(
        DeadMessage(
            message_id=f"statement_file:{file_id}",
            error=type(error).__name__,
            reason=str(error),
            queue=message.QUEUE,
            task=message.TASK,
            arguments=message.arguments(),
        )
    )


def _of_file(waiting: Waiting) -> list[ImportOutcome]:
    """Import one file and move it aside; report it if that fails. Empty if it is gone."""
    name = _letter_of(waiting.path)
    try:
        if deaths.of([name])[0] >= deaths.MOST:
            _move(waiting.path, waiting.path.parent / MOVED_TO["refused"])
            deaths.forget([name])
            return [_reported(waiting.path, ProcessKilled(times=deaths.MOST))]
        with deaths.counted([name]):
            return _taken(waiting)
    except FileNotFoundError:  # moved by another sweep, or taken away
        return []
    except OSError as error:
        return [_report(waiting.path, error)]


def _taken(waiting: Waiting) -> list[ImportOutcome]:
    """Import one file and move it aside. Raises OSError."""
    with open(waiting.path, "rb", opener=_open_plain) as source:
        outcome = import_file_flow.receive(source, name=waiting.path.name, account=waiting.account)
    results = _imported(outcome.file_id) if outcome.file_id else [outcome]
    for result in results:
        _move(waiting.path, waiting.path.parent / MOVED_TO[result.outcome])
    return results


def _open_plain(path: str, flags: int) -> int:
    """Open a plain file: neither a link, nor a pipe that nobody may ever write to.

    Links are not followed: a user who may write here could point one at any file.
    """
    number = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError("it is no plain file")
    return number


def _report(path: Path, error: OSError) -> ImportOutcome:
    """Keep a dead letter about a file or folder that can't be read."""
    problem = "it is a link" if path.is_symlink() else error.strerror or str(error)
    return _reported(path, FileUnreadable(name=shown_name(path.name), problem=problem))


def _reported(path: Path, error: BillingError) -> ImportOutcome:
    """Keep a dead letter; a replay sweeps again."""
    dead_letters.keep(
        DeadMessage(
            message_id=_letter_of(path),
            error=error.name,
            reason=str(error),
            queue=QUEUE,
            task=TASK,
            arguments={},
        )
    )
    return ImportOutcome(None, "unreadable", error=error.name, reason=str(error))


def _letter_of(path: Path) -> str:
    """The id of the dead letter about a file or folder, and the name of its deaths."""
    return f"drop_folder:{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}"


def _waiting(folder: Path, reported: list[ImportOutcome]) -> Iterator[Waiting]:
    """Yield the settled files of the folder, then of each account's folder, by name."""
    entries = _entries(folder, reported)
    yield from [Waiting(path, None) for path in _settled(entries)]
    for account_folder, account in _account_folders(entries):
        inside = _settled(_entries(account_folder, reported))
        yield from [Waiting(path, account) for path in inside]


def _entries(folder: Path, reported: list[ImportOutcome]) -> Entries:
    """List a folder by name, less what begins with a dot; report one that is closed to us."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        reported.append(_report(folder, error))
        return {}
    statuses: Entries = {}
    for entry in entries:
        if not entry.name.startswith("."):
            with suppress(FileNotFoundError):  # another sweep has moved it
                statuses[Path(entry.path)] = entry.stat(follow_symlinks=False)
    return statuses


def _account_folders(entries: Entries) -> list[tuple[Path, str]]:
    """The folders named by an IBAN or a registered number, whose slash is written as `_`."""
    folders = [path for path, status in entries.items() if stat.S_ISDIR(status.st_mode)]
    folders = [path for path in folders if path.name not in MOVED_TO.values()]
    if not folders:
        return []
    with transaction() as ctx:
        numbers = {
            row.number.replace("/", "_"): row.number for row in accounts.registered(ctx.session)
        }
    account_of = {path: numbers.get(path.name) or plain_iban(path.name) for path in folders}
    return [(path, account) for path, account in account_of.items() if account]


def _settled(entries: Entries) -> list[Path]:
    """Those that are no folders and that nobody writes any more."""
    latest = time.time() - SETTLED_S
    return [
        path
        for path, status in entries.items()
        if not stat.S_ISDIR(status.st_mode) and status.st_mtime <= latest
    ]


def _move(path: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    target, copy = folder / path.name, 0
    while target.exists():
        copy += 1
        target = folder / f"{path.name}.{copy}"
    path.rename(target)
