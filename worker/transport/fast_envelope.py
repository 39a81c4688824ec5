"""The quick look at a message: one that is plainly right is opened in one pass, in C.

Nearly every message is what Celery's own sender makes. Whatever is not (another type somewhere, a
time, a stamp, a body that is not base64) is left to `envelope`, which says what is wrong, if
anything is. So this may be strict, and must never be laxer.
"""

from typing import Any, Literal

import msgspec

#: What a body may nest at most: it may have no more brackets than `envelope` lets be nested.
_MOST_BRACKETS = 100


class _Headers(msgspec.Struct, gc=False):
    """Of what Celery reads, the values that need no second look."""

    task: str
    id: str
    retries: int | None = 0
    lang: str | None = None
    shadow: str | None = None
    eta: None = None
    expires: None = None
    group: str | None = None
    group_index: int | None = None
    timelimit: tuple[None, None] | None = None
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: int | None = None
    stamped_headers: None = None
    stamps: dict[str, Any] | None = None
    compression: None = None


class _Properties(msgspec.Struct, gc=False):
    delivery_tag: str
    body_encoding: Literal["base64"]


class _Message(msgspec.Struct, gc=False):
    body: bytes
    headers: _Headers
    properties: _Properties
    encoding: Literal["utf-8"] = msgspec.field(name="content-encoding")
    type: Literal["application/json"] = msgspec.field(name="content-type")


class _Embedded(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Nothing is to follow the task: no task of ours has a result."""

    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


_read_message = msgspec.json.Decoder(_Message).decode
_read_body = msgspec.json.Decoder(tuple[list[Any], dict[str, Any], _Embedded | None]).decode


def read(raw: bytes) -> tuple[_Headers, _Properties, list[Any], dict[str, Any]] | None:
    """Headers, properties, and the body's arguments; None if it needs a closer look."""
    try:
        message = _read_message(raw)
        body = message.body
        if body.count(b"[") + body.count(b"{") > _MOST_BRACKETS:
            return None
        positional, arguments, _ = _read_body(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return message.headers, message.properties, positional, arguments
