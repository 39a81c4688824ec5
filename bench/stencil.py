"""Tens of thousands of messages, byte for byte as a real sender makes them.

A sender makes only 2,000 messages a second. So one is really sent and read back, and the others
are copies of it with another id, delivery tag and body.
"""

import base64
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

_ID, _TAG, _BODY = b"<message id>", b"<delivery tag>", b"<body>"


class Stencil:
    """A template of one sender's messages."""

    def __init__(self, raw: bytes) -> None:
        message = json.loads(raw)
        self._id = message["headers"]["id"]
        self._tag = message["properties"]["delivery_tag"]
        self._arguments = json.loads(base64.b64decode(message["body"]))[1]
        self._embedded = json.loads(base64.b64decode(message["body"]))[2]
        blank = raw.replace(self._id.encode(), _ID).replace(self._tag.encode(), _TAG)
        self._blank = blank.replace(message["body"].encode(), _BODY)
        assert self._cut(self._id, self._tag, self._arguments) == raw

    def cut(self, arguments: Mapping[str, object]) -> bytes:
        """Return a new message with these keyword arguments."""
        return self._cut(str(uuid.uuid4()), str(uuid.uuid4()), arguments)

    def _cut(self, message_id: str, tag: str, arguments: Mapping[str, object]) -> bytes:
        body = base64.b64encode(json.dumps([[], arguments, self._embedded]).encode())
        cut = self._blank.replace(_ID, message_id.encode()).replace(_TAG, tag.encode())
        return cut.replace(_BODY, body)


def stencil_of(client: Any, queue: str, send: Callable[[], object]) -> Stencil:
    """Make a stencil of the message that `send` puts into this empty queue."""
    send()
    raw = client.rpop(queue)
    assert isinstance(raw, bytes)
    assert client.llen(queue) == 0
    return Stencil(raw)
