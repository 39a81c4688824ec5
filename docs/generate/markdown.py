"""Markdown from facts: tables, and docstrings as prose."""

import inspect
import re
from collections.abc import Iterable


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


def plain_type(annotation: object) -> str:
    """A type as a reader of JSON or Python knows it, without the modules' names."""
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return re.sub(r"\b[a-z_]+\.(?=\w)", "", shown).replace("Mapping[str, object]", "object")
