"""Every `billing` command that a document shows is there, with its options."""

import re
from pathlib import Path

import click
import pytest

from cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "client/README.md"]
#: On a line of its own, or in code within a line.
SHOWN = re.compile(r"(?:^ +|`)(?:\S+/bin/)?billing ([a-z][^`#\n]*)", re.MULTILINE)


def resolved(words):
    """The command that the words name, as far as they do; None if there is none."""
    command = main
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word.rstrip(",.:;|"))
        if command is None:
            return None
    return command


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_page_shows_exists(page):
    wrong = []
    for shown in SHOWN.findall(page.read_text()):
        words = [word for word in shown.split() if not word.startswith(("-", "<"))]
        command = resolved(words)
        options = set(re.findall(r"(?<=\s)--[a-z-]+", shown))
        known = {name for p in getattr(command, "params", []) for name in p.opts + p.secondary_opts}
        if command is None or not options <= known | {"--help"}:
            wrong.append(shown)

    assert wrong == []
