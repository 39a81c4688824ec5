"""Markdown from facts: tables, and docstrings as prose."""

import datetime as dt
import inspect
import types
from collections.abc import Iterable, Mapping
from typing import Any, Union, get_args, get_origin


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """A table whose head is given as `name | type | default`."""
    names = head.split(" | ")
    lines = [names, ["---"] * len(names), *[[_cell(text) for text in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def code(text: object) -> str:
    """The text as code; nothing for nothing."""
    return f"`{text}`" if text not in {None, ""} else ""


def codes(texts: Iterable[object]) -> str:
    """Several texts as code, separated by commas."""
    return ", ".join(code(text) for text in texts)


def prose(documented: object) -> str:
    """The docstring as paragraphs, one a line."""
    paragraphs = (inspect.getdoc(documented) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def first_sentence(documented: object) -> str:
    """The docstring's first paragraph."""
    return prose(documented).partition("\n\n")[0]


#: Types of Python -> as a sender or receiver of JSON knows them.
_TYPES = {
    int: "integer",
    str: "text",
    bool: "boolean",
    dt.datetime: "time",
    Mapping[str, object]: "object",
}


def plain_type(annotation: Any) -> str:
    """A type in the words of JSON: "time or nothing", "list of Debit"."""
    if get_origin(annotation) in {types.UnionType, Union}:
        return " or ".join(plain_type(kind) for kind in get_args(annotation))
    if get_origin(annotation) in {list, tuple}:
        return f"list of {plain_type(get_args(annotation)[0])}"
    if annotation is types.NoneType:
        return "null"
    return _TYPES.get(annotation) or annotation.__name__
