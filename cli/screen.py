"""The output of commands: a table for people, JSON for machines."""

import dataclasses
import datetime as dt
import getpass
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from billing.printable import printable

#: Width of a table that is written to a file or a pipe.
WIDE = 120

#: The default limit of a list.
AT_ONCE = 100
#: Under this name the context of a command keeps whether it prints JSON.
JSON = "billing.json"

#: The option of commands that print by `in_json` or `show_list`, which know whether it was given.
json_option = click.option(
    "--json",
    is_flag=True,
    help="Print JSON.",
    expose_value=False,
    callback=lambda context, _, value: context.meta.update({JSON: value}),
)


class Screen(Console):
    """A console that prints texts from outside as they are: without codes, and on one line.

    Rich makes each text and cell by `render_str`, so everything is escaped here.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=True, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text with each character that can't be seen as its escape."""
        return super().render_str(printable(text), **options)


console = Screen(width=None if sys.stdout.isatty() else WIDE)
#: For progress bars: on standard error, and not shown in a pipe.
progress = Console(stderr=True, highlight=False)


def limit_option(meaning: str, default: int = AT_ONCE) -> Callable[..., Any]:
    """Make the option that limits a list."""
    return click.option("--limit", default=default, show_default=True, help=meaning)


def dry_run_option(meaning: str = "Show what would happen.") -> Callable[..., Any]:
    """Make the option of a command that can change nothing."""
    return click.option("--dry-run", is_flag=True, help=meaning)


def options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Join the options that several commands share into one decorator."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def operator() -> str:
    """Return the actor of what the present user does."""
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"operator:uid-{os.getuid()}"


def wants_json() -> bool:
    """Whether the command was called with --json."""
    return bool(click.get_current_context().meta.get(JSON))


def in_json(value: object) -> bool:
    """Print a value as JSON if --json was given, data classes and rows included; return whether."""
    if wants_json():
        # JSON in ASCII has one character that a terminal could obey: DEL.
        click.echo(json.dumps(value, default=_plain, indent=2).replace("\x7f", r"\u007f"))
    return wants_json()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, dt.date):  # a datetime is one
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, uuid.UUID):
        return str(value)
    table: Any = getattr(value, "__table__", None)
    if table is not None:
        return {
            attribute.key: getattr(value, attribute.key)
            for attribute in type(value).__mapper__.column_attrs  # type: ignore[attr-defined]
        }
    raise TypeError(f"no JSON for {type(value).__name__}")


def show_list(
    value: object,
    title: str,
    columns: str,
    rows: Iterable[Any],
    shown: Mapping[str, Callable[[Any], object]] = MappingProxyType({}),
) -> None:
    """Print a value in JSON, or rows of it as a table."""
    if not in_json(value):
        table(title, columns, rows, shown)


def table(
    title: str,
    columns: str | Sequence[str],
    rows: Iterable[Any],
    shown: Mapping[str, Callable[[Any], object]] = MappingProxyType({}),
) -> None:
    """Print a table, with numbers aligned to the right.

    `columns`: the headings of rows that are sequences. For rows that are objects one text, such as
    `id, tries: attempts`: a column shows the attribute behind its heading, or the one of its name.
    `shown` has a function for the column that no attribute fits.
    """
    screen_table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    if isinstance(columns, str):
        pairs = [column.partition(": ") for column in columns.split(", ")]
        columns = [heading for heading, _, _ in pairs]
        reads = [shown.get(name) or attrgetter(attr or name) for name, _, attr in pairs]
        rows = [[read(row) for read in reads] for row in rows]
    lines = [tuple(row) for row in rows]
    for at, column in enumerate(columns):
        numeric = bool(lines) and all(isinstance(line[at], int | float) for line in lines)
        screen_table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for line in lines:
        screen_table.add_row(*[_cell(value) for value in line])
    console.print(screen_table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return str(value)
