"""Columns as Postgres array literals: one text a column is the fastest way in (decision 0003)."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache


def numbers(values: Iterable[int | None]) -> str:
    """`{1,2,NULL}`, for a cast to bigint[] or integer[]."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def flags(values: Iterable[bool]) -> str:
    """`{true,false}`, for a cast to boolean[]."""
    return "{" + ",".join([str(value).lower() for value in values]) + "}"


def texts(values: Iterable[str | None]) -> str:
    """`{"a","b",NULL}` with quotes and backslashes escaped, for a cast to any type's array."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def objects(values: Iterable[Mapping[str, object] | list[object] | None]) -> str:
    """JSON documents, for a cast to jsonb[]."""
    return texts([None if value is None else json.dumps(value) for value in values])


def moments(values: Iterable[dt.datetime | None]) -> str:
    """Times, for a cast to timestamptz[]."""
    return texts([None if value is None else moment(value) for value in values])


@lru_cache(maxsize=256)
def moment(value: dt.datetime) -> str:
    """ISO 8601; the entries of a set share a few times, and writing one is slow."""
    return value.isoformat()


def binaries(values: Iterable[bytes | None]) -> str:
    """Bytes in hexadecimal, for a cast to bytea[]."""
    return (
        "{"
        + ",".join(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values])
        + "}"
    )


def _quoted(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
