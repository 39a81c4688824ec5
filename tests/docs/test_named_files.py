"""Every file of the code that a document names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "client/README.md"]
FILE = re.compile(r"\b(?:[a-z_]+/)+[\w.-]+\.(?:py|lua|sql|toml)\b|\b[a-z_]+/(?:[a-z_]+/)+")
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()}


def named_files(page):
    """The files and folders that the page names in code, if they begin with one of ours."""
    code = re.findall(r"`([^`\n]+)`", page.read_text())
    named = {path for span in code for path in FILE.findall(span)}
    return sorted(path for path in named if path.split("/")[0] in FOLDERS)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page):
    assert [path for path in named_files(page) if not (ROOT / path).exists()] == []
