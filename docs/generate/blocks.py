"""The blocks that are generated, by name, and how they get into a document."""

import re
from collections.abc import Callable
from pathlib import Path

from docs.generate import commands, errors, lists, tables, tasks

ROOT = Path(__file__).parents[2]
#: name of a block -> the function that makes its Markdown
BLOCKS: dict[str, Callable[[], str]] = {
    "app-rights": tables.app_rights,
    "commands": commands.block,
    "data-of-events": lists.data_block,
    "definers": tables.definers,
    "dunning-schedule": lists.schedule_block,
    "errors": errors.block,
    "events": lists.events_block,
    "host-tables": tables.host_block,
    "our-tables": tables.our_block,
    "queues": tasks.queues_block,
    "role-rights": tables.role_rights,
    "settings": lists.settings_block,
    "status-reasons": lists.reasons_block,
    "tasks": tasks.block,
    "timetable": tasks.timetable_block,
    "transitions": lists.transitions_block,
}
_MARKED = re.compile(r"(?ms)(?<=<!-- generated: )([\w-]+) -->\n.*?(?=^<!-- end -->)")


def documents() -> list[Path]:
    """Every page that may hold a generated block."""
    return sorted(ROOT.glob("docs/**/*.md"))


def renewed(text: str) -> str:
    """The document with each of its blocks as the code has it now."""
    return _MARKED.sub(lambda mark: f"{mark[1]} -->\n\n{BLOCKS[mark[1]]()}\n\n", text)
