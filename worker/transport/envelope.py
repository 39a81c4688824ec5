"""The envelope of a Celery message (protocol 2) as it is stored in Redis.

On most malformed messages a stock worker crashes, loops or drops them silently; ours keeps them as
dead letters. msgspec checks the types in one pass in C and names the wrong field.
Source: https://docs.celeryq.dev/en/stable/internals/protocol.html#version-2
"""

import binascii
import datetime as dt
import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from celery.utils.time import maybe_iso8601
from msgspec import Meta

from billing.errors import Malformed

#: Levels that a body may nest: a dead letter encodes the body again, which must not overflow.
_DEEPEST = 100
#: Celery writes no message with more retries than this.
_MOST_RETRIES = 1000
#: Times outside these years overflow when Celery converts their time zone.
_FIRST_YEAR, _LAST_YEAR = 1971, 9000

#: The escape of a lone surrogate: non-UTF-8 bytes of a webhook are carried this way (PEP 383), and
#: only Python's own decoder reads it.
_LONE_SURROGATE = b"\\udc"

_Name = Annotated[str, Meta(min_length=1, max_length=255)]


class _Headers(msgspec.Struct, gc=False):
    """The headers that Celery reads; a wrong type crashes a worker or loses the message."""

    task: _Name
    id: _Name
    retries: Annotated[int, Meta(ge=0, le=_MOST_RETRIES)] | None = None
    eta: str | None = None
    expires: str | None = None
    timelimit: tuple[float | None, float | None] | None = None
    lang: str | None = None
    shadow: str | None = None
    group: str | None = None
    group_index: int | None = None
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: int | None = None
    stamps: dict[str, Any] | None = None
    stamped_headers: list[str] | None = None
    #: No sender of ours compresses.
    compression: None = None


class _Properties(msgspec.Struct, gc=False):
    delivery_tag: _Name
    body_encoding: Literal["base64"] | None = None


class _Message(msgspec.Struct, gc=False):
    body: str
    headers: _Headers
    properties: _Properties
    content_encoding: Literal["utf-8", "UTF-8"] = msgspec.field(name="content-encoding")
    content_type: Literal["application/json"] = msgspec.field(name="content-type")


_read_message = msgspec.json.Decoder(_Message).decode
_Body = tuple[list[Any], dict[str, Any], dict[str, Any] | None]
_read_body = msgspec.json.Decoder(_Body).decode


@dataclass(slots=True)
class Envelope:
    """A well-formed message: its task, its id, and the task's arguments; `eta`: not before then."""

    task: str
    message_id: str
    delivery_tag: str
    arguments: dict[str, object]
    positional: list[object]
    retries: int
    eta: dt.datetime | None = None


def read(raw: bytes, *, known_tasks: Container[str]) -> Envelope:
    """Open a message.

    Raises:
        Malformed: It is not a Celery message for one of `known_tasks`; `problem` names the field.
    """
    if not raw.isascii():
        raise Malformed(problem="it is not ASCII, as every Celery message is")
    try:
        message = _read_message(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Malformed(problem=_problem(error, "message")) from None
    headers, properties = message.headers, message.properties
    if headers.task not in known_tasks:
        raise Malformed(problem=f"unknown task {headers.task}")
    if not (headers.id.isprintable() and properties.delivery_tag.isprintable()):
        raise Malformed(problem="headers.id or properties.delivery_tag is not printable")
    eta = _time("eta", headers.eta)
    _time("expires", headers.expires)
    positional, arguments = _body(message)
    tag, retries = properties.delivery_tag, headers.retries or 0
    return Envelope(headers.task, headers.id, tag, arguments, positional, retries, eta)


def _body(message: _Message) -> tuple[list[Any], dict[str, Any]]:
    try:
        if message.properties.body_encoding:
            body = binascii.a2b_base64(message.body, strict_mode=True)
        else:
            body = message.body.encode()
        if _LONE_SURROGATE in body:
            positional, arguments, embed = msgspec.convert(json.loads(body), _Body)
        else:
            positional, arguments, embed = _read_body(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(problem=_problem(error, "body [args, kwargs, embed]")) from None
    if body.count(b"[") + body.count(b"{") > _DEEPEST and _is_deeper(arguments, _DEEPEST):
        raise Malformed(problem="body: nested too deep")
    if embed and any(embed.values()):
        follows = [name for name, value in embed.items() if value]
        raise Malformed(
            problem=f"body: {', '.join(follows)[:60]} needs a result, and no task has one"
        )
    return positional, arguments


def _is_deeper(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)


def _time(name: str, value: str | None) -> dt.datetime | None:
    """Read the time of a header; without a zone it is UTC. Raises Malformed."""
    if not value:
        return None
    try:
        time: dt.datetime | None = maybe_iso8601(value)
    except ValueError:
        time = None
    if time is None or not _FIRST_YEAR <= time.year <= _LAST_YEAR:
        problem = f"headers.{name} is not a time from {_FIRST_YEAR} to {_LAST_YEAR}"
        raise Malformed(problem=problem)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _problem(error: Exception, where: str) -> str:
    deep = isinstance(error, RecursionError)
    return f"{where}: {'nested too deep' if deep else str(error)[:150]}"
