"""Reading of rows with values that Python can't hold, for support: they are shown as their text."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2 import extensions, extras  # type: ignore[import-untyped]
from sqlalchemy.orm import Session

_TIMESTAMPTZ = 1184
_LAST = (9999, 12, 31)
_FIRST = (1, 1, 2)


class OddTime(dt.datetime):
    """A time beyond Python's calendar: compares as its end, and shows as Postgres wrote it."""

    text: str

    def isoformat(self, *_: Any, **__: Any) -> str:
        """Return Postgres' text."""
        return self.text

    def strftime(self, _: str) -> str:
        """Return Postgres' text."""
        return self.text

    __str__ = isoformat


def as_time(text: str | None, _: object = None) -> dt.datetime | None:
    """Return the time of a timestamptz's text in UTC, or an OddTime."""
    if text is None:
        return None
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        is_early = text.startswith("-") or text.endswith("BC")
        year, month, day = _FIRST if is_early else _LAST
        odd = OddTime(year, month, day, tzinfo=dt.UTC)
        odd.text = text
        return odd


def as_json(text: str) -> object:
    """Return the value of a JSON text; the text itself if Python can't hold it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@contextmanager
def reading(session: Session) -> Iterator[None]:
    """Read odd times and JSON as their text, in this session's transaction."""
    raw = session.connection().connection.driver_connection
    odd = extensions.new_type((_TIMESTAMPTZ,), "ODDTIME", as_time)
    extensions.register_type(odd, raw)
    extras.register_default_jsonb(raw, loads=as_json)
    try:
        yield
    finally:
        extensions.register_type(extensions.PYDATETIMETZ, raw)
        extras.register_default_jsonb(raw)
