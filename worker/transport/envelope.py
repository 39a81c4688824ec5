"""The form of a Celery message (protocol 2) as it lies in Redis, and what can be wrong with it.

A stock worker ends, loops or silently drops on most of these faults; ours keeps the message.
Source: https://docs.celeryq.dev/en/stable/internals/protocol.html#version-2
"""

import base64
import binascii
import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from celery.utils.time import maybe_iso8601

from billing.errors import Malformed
from worker.transport import fast_envelope

#: Deeper nesting is an attack on the reader's stack; Redis' own JSON reader stops at 1,000.
_TOO_DEEP = RecursionError
#: What a body may nest: writing it again, for a dead letter, must not overflow either.
_DEEPEST = 100
#: A message that says it was tried more often was not written by Celery.
_MOST_RETRIES = 1000
#: Characters of a name or an id.
_LONGEST = 255
#: Times beyond these overflow when Celery moves them into another zone.
_FIRST_YEAR, _LAST_YEAR = 1971, 9000
#: Headers that Celery reads and that end a worker, or lose the message, when of another type.
_HEADERS: dict[str, type | tuple[type, ...]] = {
    "shadow": str,
    "group": str,
    "group_index": int,
    "root_id": str,
    "parent_id": str,
    "argsrepr": str,
    "kwargsrepr": str,
    "origin": str,
    "lang": str,
    "ignore_result": bool,
    "replaced_task_nesting": int,
    "stamps": dict,
}


@dataclass(slots=True)
class Envelope:
    """What a well-formed message says: its task, its id, and the keyword arguments."""

    task: str
    message_id: str
    delivery_tag: str
    arguments: dict[str, object]
    positional: list[object]
    retries: int


def read(raw: bytes, *, known_tasks: Container[str]) -> Envelope:
    """Open a message. Raises Malformed, whose `problem` says what is wrong with it."""
    return _read_plain(raw, known_tasks) or read_closely(raw, known_tasks=known_tasks)


def _read_plain(raw: bytes, known_tasks: Container[str]) -> Envelope | None:
    found = fast_envelope.read(raw) if raw.isascii() else None
    if found is None:
        return None
    headers, properties, positional, arguments = found
    task, message_id, tag, retries = (
        headers.task,
        headers.id,
        properties.delivery_tag,
        headers.retries,
    )
    if (
        task in known_tasks
        and 0 <= (retries or 0) <= _MOST_RETRIES
        and 0 < len(message_id) <= _LONGEST
        and 0 < len(tag) <= _LONGEST
        and message_id.isprintable()
        and tag.isprintable()
    ):
        return Envelope(task, message_id, tag, arguments, positional, retries or 0)
    return None


def read_closely(raw: bytes, *, known_tasks: Container[str]) -> Envelope:
    """As `read`, with the reasons."""
    if not raw.isascii():
        raise Malformed(problem="not ASCII, as every Celery message is")
    try:
        # Decoded here: json would first look which of the Unicode encodings it is.
        message = json.loads(raw.decode())
    except (ValueError, _TOO_DEEP) as error:
        raise Malformed(problem=f"not JSON: {_said(error)}") from None
    if not isinstance(message, dict):
        raise Malformed(problem=f"a JSON {type(message).__name__}, not an object")
    headers, properties = _object(message, "headers"), _object(message, "properties")
    if message.get("content-type") != "application/json":
        raise Malformed(problem=f"content-type {message.get('content-type')!r:.60} is not JSON")
    positional, arguments = _body(message, properties)
    retries = _checked(headers)
    task = _text(headers, "headers", "task")
    if task not in known_tasks:
        raise Malformed(problem=f"unknown task {task}")
    return Envelope(
        task=task,
        message_id=_text(headers, "headers", "id"),
        delivery_tag=_text(properties, "properties", "delivery_tag"),
        arguments=arguments,
        positional=positional,
        retries=retries,
    )


def _checked(headers: dict[str, Any]) -> int:
    """Check what Celery reads besides task and id; returns the retries."""
    for name, value in headers.items():
        if value is not None and name in _HEADERS and not isinstance(value, _HEADERS[name]):
            raise Malformed(problem=f"headers.{name} is a {type(value).__name__}")
    for name in ("eta", "expires"):
        if headers.get(name) is not None:
            _moment(headers, name)
    match headers.get("timelimit"):
        case None | [int() | float() | None, int() | float() | None]:
            pass
        case _:
            raise Malformed(problem="headers.timelimit is not a pair of seconds")
    stamped = headers.get("stamped_headers")
    if stamped is not None and not (
        isinstance(stamped, list) and all(isinstance(name, str) for name in stamped)
    ):
        raise Malformed(problem="headers.stamped_headers is not a list of names")
    if headers.get("compression") is not None:
        raise Malformed(problem="compressed, which no sender of ours does")
    retries = headers.get("retries") or 0
    if not isinstance(retries, int) or not 0 <= retries <= _MOST_RETRIES:
        raise Malformed(problem=f"headers.retries is not a number from 0 to {_MOST_RETRIES}")
    return retries


def _body(message: dict[str, Any], properties: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    if str(message.get("content-encoding")).lower() != "utf-8":
        raise Malformed(problem="content-encoding is not utf-8")
    body = message.get("body")
    if not isinstance(body, str):
        raise Malformed(problem="no body")
    try:
        if properties.get("body_encoding") == "base64":
            body = base64.b64decode(body, validate=True).decode()
        elif properties.get("body_encoding") is not None:
            raise Malformed(problem="unknown body_encoding")
        opened = json.loads(body)
    except (ValueError, binascii.Error, _TOO_DEEP) as error:
        raise Malformed(problem=f"body is not JSON: {_said(error)}") from None
    match opened:
        case [list() as positional, dict() as arguments, dict() | None as embed]:
            pass
        case _:
            raise Malformed(problem="body is not [args, kwargs, embed]")
    if body.count("[") + body.count("{") > _DEEPEST and _is_deeper(opened, _DEEPEST):
        raise Malformed(problem="nested too deep")
    if follows := [name for name, value in (embed or {}).items() if value]:
        raise Malformed(problem=f"asks for {', '.join(follows)[:60]}: no task of ours has a result")
    return positional, arguments


def _is_deeper(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _object(message: dict[str, Any], name: str) -> dict[str, Any]:
    value = message.get(name)
    if not isinstance(value, dict):
        raise Malformed(problem=f"{name} is not an object")
    return value


def _text(holder: dict[str, Any], where: str, name: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST or not value.isprintable():
        raise Malformed(problem=f"{where}.{name} is not a text of 1 to 255 printable characters")
    return value


def _moment(headers: dict[str, Any], name: str) -> None:
    value = headers[name]
    try:
        moment = maybe_iso8601(value) if isinstance(value, str) else None
        year = moment.year if moment else 0
    except ValueError:
        year = 0
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise Malformed(problem=f"headers.{name} is not a time from {_FIRST_YEAR} to {_LAST_YEAR}")


def _said(error: BaseException) -> str:
    return str(error)[:100] if not isinstance(error, RecursionError) else "nested too deep"
