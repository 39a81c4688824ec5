"""The anchors of the hash chains, kept outside the database: appended to a file, or logged."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from billing.ledger import anchors, compare_anchors
from worker.database import transaction
from worker.logs import logger

log = logger(__name__)

#: The value of the setting that means the log.
LOG = "log"
#: Anchors written at once.
AT_ONCE = 1000

Lines = Sequence[Mapping[str, object]]


def publish(where: str, *, now: datetime) -> int:
    """Write the anchors that moved since the last time, and the total; returns how many moved.

    A crash may write a line twice, and leaves none out. Raises OSError if the file can't be
    written.

    Args:
        where: `log`, or the path of a file.
        now: The time of the lines.
    """
    write = to_log if where == LOG else to_file(Path(where))
    count, after = 0, 0
    while True:
        with transaction() as ctx:
            moved = anchors.unpublished(ctx, after=after, count=AT_ONCE)
            if not moved:
                write([compare_anchors.total_line(ctx.at(now))])
                return count
            write([compare_anchors.line_of(anchor, at.isoformat()) for anchor, at in moved])
            anchors.set_published(ctx, [anchor for anchor, _ in moved])
        count, after = count + len(moved), moved[-1][0].account_id


def to_log(lines: Lines) -> None:
    """Log each line under its own name."""
    for line in lines:
        facts = {name: value for name, value in line.items() if name != "event"}
        if line["event"] == compare_anchors.TOTAL:
            log.info("chain_total", **facts)
        else:
            log.info("chain_anchor", **facts)


def to_file(path: Path) -> Callable[[Lines], None]:
    """Make a function that appends JSON lines and waits for the disk."""

    def append(lines: Lines) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines([json.dumps(line) + "\n" for line in lines])
            file.flush()
            os.fsync(file.fileno())

    return append
