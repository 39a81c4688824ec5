"""Lists that the documents keep manually agree with the code.

What is generated (docs/generate) needs no comparison, but must be fresh.
"""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from sqlalchemy import select

from billing import errors
from billing.lifecycle import transitions
from billing.stripe import drift
from billing.stripe import errors as stripe_errors
from billing.support import audit, explain
from billing.usage import post
from billing.usage.post import Answer
from billing_client import Debit, Release, Reverse
from billing_client.events import CATALOGUE
from billing_client.messages import INBOX_MESSAGES, MESSAGES, SOURCES
from models.credits import PriceVersion
from worker.database import transaction

ROOT = Path(__file__).parents[2]
ERRORS = (ROOT / "docs/reference/errors.md").read_text()
GLOSSARY = (ROOT / "docs/glossary.md").read_text()
PRICES = (ROOT / "docs/how-to/prices.md").read_text()
README = (ROOT / "README.md").read_text()
RUNBOOK = (ROOT / "docs/operate/runbook.md").read_text()
TABLES = (ROOT / "docs/reference/tables.md").read_text()
TASKS = (ROOT / "docs/reference/tasks.md").read_text()
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    ROOT / "client/README.md",
]


def section(text, heading):
    """The text under a heading, up to the next one of any level."""
    return re.split(r"^#+ ", text.partition(f"{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text):
    """The cells of each line of a table, less its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][2:]


def named(text):
    """The names in code of the first column of a table."""
    return {name for row in rows(text) for name in re.findall(r"`(\w+)`", row[0])}


def test_each_generated_block_is_as_the_code_has_it():
    check = [sys.executable, "-m", "docs.generate", "--check"]

    ended = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_each_page_of_the_site_is_in_its_navigation_once():
    listed = re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text())

    assert sorted(listed) == sorted(
        str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")
    )


def test_the_reference_explains_each_field_of_each_message_once():
    explained = [row[0].strip("`") for row in rows(section(TASKS, "## Fields"))]

    assert explained == sorted(
        {field.name for message in MESSAGES.values() for field in fields(message)}
    )


@pytest.mark.parametrize("document", [README, PRICES], ids=["readme", "how-to/prices"])
def test_the_document_has_each_default_price(database, document):
    with transaction() as ctx:
        prices = select(PriceVersion.operation, PriceVersion.credits_per_unit)
        defaults = ctx.session.execute(prices).all()

    assert defaults
    for operation, credits_per_unit in defaults:
        assert re.search(rf"`{operation}`\s+{credits_per_unit}\b", document)


def test_no_word_of_the_glossary_is_explained_twice():
    titles = set(re.findall(r"^## (.+)$", GLOSSARY, re.MULTILINE)) - {"Types of entries"}
    tables = [rows(section(GLOSSARY, f"## {title}")) for title in titles]
    words = [word.strip("`") for table in tables for row in table for word in row[0].split(", ")]

    assert sorted(word for word in set(words) if words.count(word) > 1) == []


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_the_glossary_has_the_source(source):
    assert source in GLOSSARY


@pytest.mark.parametrize("entry_type", sorted(explain.WORDS))
def test_the_glossary_has_the_type_of_entry(entry_type):
    assert re.search(rf"\b{entry_type}\b", GLOSSARY)


DEBIT, REVERSAL, RELEASE = Debit(1, "clustering", "d"), Reverse(1, "d"), Release(1, "h")
OUTCOMES = (
    Answer(DEBIT, entry=object()),
    Answer(REVERSAL, entry=object()),
    Answer(RELEASE),
    Answer(DEBIT, error=errors.InsufficientCredits()),
    Answer(DEBIT, error=errors.UnknownAccount()),
)


@pytest.mark.parametrize("outcome", [answer.outcome for answer in OUTCOMES])
def test_the_glossary_and_the_reference_have_the_outcome(outcome):
    assert outcome in {row[0] for row in rows(section(GLOSSARY, "## Outcomes"))}
    assert outcome in {row[0] for row in rows(section(ERRORS, "## Outcomes"))}


def test_the_runbook_has_a_cure_for_each_refusal():
    refusals = named(section(RUNBOOK, "## A debit was refused"))

    assert refusals == {error.__name__ for error in post.FINAL}


@pytest.mark.parametrize("task", sorted(kind.TASK for kind in INBOX_MESSAGES))
def test_the_reference_has_the_task_that_may_come_through_the_inbox(task):
    assert f"`{task}`" in section(TABLES, "## What the app may touch").partition("\n**")[2]


FINDINGS = list(audit.INVARIANTS)
FINDINGS += [name for name, _ in drift.CHECKS.values()]


@pytest.mark.parametrize("check", FINDINGS)
def test_the_runbook_says_what_to_do_about_the_finding(check):
    assert f"`{check}`" in section(RUNBOOK, "## Drift and other findings")


#: StatusChangeRefused: no task changes a status yet. Trees of their own are written up elsewhere.
OWN = [e for e in errors.Rejected.__subclasses__() if e.__module__ == errors.__name__]
ANSWERS = {e.__name__ for e in OWN} - {"StatusChangeRefused"}


def leaves(error):
    below = error.__subclasses__()
    return {name for each in below for name in leaves(each)} if below else {error.__name__}


@pytest.mark.parametrize("error", sorted(leaves(stripe_errors.StripeRejected)))
def test_the_documents_say_what_follows_what_is_wrong_with_an_event(error):
    assert f"`{error}`" in RUNBOOK


@pytest.mark.parametrize("error", sorted(ANSWERS))
def test_the_documents_say_what_follows_the_error(error):
    assert f"`{error}`" in RUNBOOK


def test_contributing_has_every_target_of_make():
    makefile = (ROOT / "Makefile").read_text()
    listed = rows(section((ROOT / "CONTRIBUTING.md").read_text(), "## Make"))

    assert {row[0].strip("`").removeprefix("make ") for row in listed} == set(
        re.findall(r"^([a-z-]+):.*##", makefile, flags=re.MULTILINE)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document):
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        there = (document.parent / path) if path else document
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), flags=re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, target


def test_every_event_that_is_left_is_in_the_catalogue_and_every_one_there_is_left():
    code = "\n".join(path.read_text() for path in ROOT.glob("billing/**/*.py"))
    # Stripe's own events have such names, too.
    code = re.sub(r"EVENTS: ClassVar.*?\n    \)\n", "", code, flags=re.DOTALL)
    topics = "account|credits|invoice|dispute|transfer|trial|payment|plan"
    named = set(re.findall(rf'"((?:{topics})\.[a-z_]+)"', code))
    changes = {step.event for step in transitions.TRANSITIONS}

    assert named | changes == set(CATALOGUE)


def test_the_status_page_explains_each_log_line_and_no_other():
    rooms = ("billing", "cli", "flows", "gateways", "tasks", "web", "worker")
    code = "\n".join(path.read_text() for room in rooms for path in ROOT.glob(f"{room}/**/*.py"))
    events = set(re.findall(r'\blog\.\w+\(\s*"(\w+)"', code))
    lines = (ROOT / "docs/operate/status.md").read_text()

    # The filter of verbose loggers writes this one in place of their text.
    assert named(section(lines, "## Logs")) == events | {"library_error"}
