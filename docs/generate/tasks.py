"""Tasks: their messages, queues and timetable, from the Celery app and the client's messages."""

from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

import celeryconfig
from billing_client.message import Message
from billing_client.messages import INBOX_MESSAGES, MESSAGES
from docs.generate.markdown import code, first_sentence, plain_type, prose, table
from worker.app import app


def queues_block() -> str:
    """The queues, and the work of each."""
    return table("queue | work", [(code(name), work) for name, work in celeryconfig.QUEUES.items()])


def block() -> str:
    """A section for each task that takes a message, in the order of MESSAGES."""
    return "\n\n".join(_section(name, message) for name, message in MESSAGES.items())


def _section(name: str, message: type[Message]) -> str:
    by_inbox = " It may also come by the inbox." if message in INBOX_MESSAGES else ""
    parts = [f"### `{name}`", prose(message), f"Queue: `{message.QUEUE}`.{by_inbox}"]
    if fields(message):
        hints = get_type_hints(message)
        rows = [(code(f.name), _type(hints[f.name]), _default(f)) for f in fields(message)]
        parts.append(table("field | type | default", rows))
    return "\n\n".join(parts)


def _type(hint: object) -> str:
    """A field's type; one that may be left out has none of its own for that."""
    return plain_type(hint).removesuffix(" or null")


def _default(field: Field[Any]) -> str:
    if field.default is MISSING:
        return "required"
    return "optional" if field.default is None else code(field.default)


def timetable_block() -> str:
    """The tasks that beat sends, with the time between two ticks."""
    app.loader.import_default_modules()
    rows = [_tick(entry) for entry in celeryconfig.beat_schedule.values()]
    return table("task | every | what it does", sorted(rows))


def _tick(entry: Any) -> tuple[str, str, str]:
    run = app.tasks[entry["task"]].run
    return code(entry["task"]), _every(int(entry["schedule"])), first_sentence(run)


def _every(seconds: int) -> str:
    count, unit = seconds, "second"
    for larger in ("minute", "hour"):
        if count % 60 == 0:
            count, unit = count // 60, larger
    return unit if count == 1 else f"{count} {unit}s"
