"""What the documents list is what the code has."""

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

import celeryconfig
from billing import errors
from billing.lifecycle import transitions
from billing.lifecycle.dunning.schedule import SCHEDULE
from billing.stripe import drift
from billing.stripe import errors as stripe_errors
from billing.support import audit, explain
from billing.usage import post
from billing.usage.post import Answer
from billing_client import Debit, Release, Reverse
from billing_client.events import CATALOGUE
from billing_client.messages import INBOX_MESSAGES, MESSAGES, SOURCES
from cli import allow_app
from cli.main import COMMANDS, main
from models.credits import PriceVersion
from models.host import HOST_TABLES
from worker.database import transaction
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRACT = (ROOT / "docs/host-contract.md").read_text()
GLOSSARY = (ROOT / "docs/glossary.md").read_text()
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
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


@pytest.mark.parametrize("model", HOST_TABLES, ids=lambda model: model.__name__)
def test_the_host_contract_has_every_column_and_where_it_comes_from(model):
    def kind(column):
        shown = column.type.compile(postgresql.dialect()).lower()
        return shown.replace("timestamp with time zone", "timestamptz")

    heading = f"### {model.__name__}: `{model.__table__.name}`"

    assert rows(section(CONTRACT, heading)) == [
        [f"`{c.name}`", kind(c), "yes" if c.nullable else "no", c.info["origin"]]
        for c in model.__table__.columns
    ]


def test_the_readme_has_every_setting_with_its_default():
    def variable(name):
        bare = name in {"database_url", "redis_url"}
        return name.upper() if bare else f"BILLING_{name.upper()}"

    def default(field):
        if field.is_required():
            return "must be set"
        return "not set" if field.default is None else str(field.default)

    assert [
        [name, shown.strip("`")] for name, shown, _ in rows(section(README, "## Settings"))
    ] == [[f"`{variable(name)}`", default(field)] for name, field in Settings.model_fields.items()]


def test_the_readme_has_every_command():
    listed = rows(section(README, "## The `billing` command"))

    assert {re.match(r"`billing ([\w-]+)", row[0])[1] for row in listed} == set(COMMANDS)


def commands_with(option):
    """Names of those that take the option, or whose subcommands do."""

    def takes(command):
        inner = getattr(command, "commands", {}).values()
        return any(option in p.opts for p in command.params) or any(map(takes, inner))

    return {name for name in COMMANDS if takes(main.get_command(click.Context(main), name))}


def test_the_readme_says_which_commands_print_json():
    (line,) = re.findall(r"^Those that print data take `--json`: (.+)\.$", README, re.MULTILINE)

    assert line == ", ".join(f"`{name}`" for name in sorted(commands_with("--json")))


def test_no_word_of_the_glossary_is_explained_twice():
    titles = set(re.findall(r"^## (.+)$", GLOSSARY, re.MULTILINE)) - {"Types of entries"}
    tables = [rows(section(GLOSSARY, f"## {title}")) for title in titles]
    words = [word.strip("`") for table in tables for row in table for word in row[0].split(", ")]

    assert sorted(word for word in set(words) if words.count(word) > 1) == []


def test_the_readme_has_every_task_with_its_queue_and_arguments():
    listed = {}
    for task, queue, arguments, _ in rows(section(README, "## Tasks")):
        if task:
            name, listed[task.strip("`")] = task.strip("`"), (queue.strip("`"), set())
        listed[name][1].update(re.findall(r"`(\w+)`", arguments))

    timetable = {entry["task"] for entry in celeryconfig.beat_schedule.values()}
    assert {name: listed[name] for name in MESSAGES} == {
        name: (message.QUEUE, {field.name for field in fields(message)})
        for name, message in MESSAGES.items()
    }
    assert set(listed) == set(MESSAGES) | timetable


@pytest.mark.parametrize("entry", celeryconfig.beat_schedule.values(), ids=lambda e: e["task"])
def test_the_readme_says_how_often_beat_asks_for_the_task(entry):
    (row,) = [r for r in rows(section(README, "## Tasks")) if r[0] == f"`{entry['task']}`"]
    count, unit = int(entry["schedule"]), "second"
    for size, larger in ((60, "minute"), (60, "hour")):
        if count % size == 0:
            count, unit = count // size, larger

    words = f"every {unit}" if count == 1 else f"every {count} {unit}s"
    assert f"{words}, by beat" in row[3]


def test_the_readme_has_each_default_price(database):
    with transaction() as ctx:
        rows = ctx.session.execute(
            select(PriceVersion.operation, PriceVersion.credits_per_unit)
        ).all()

    assert rows
    for operation, credits_per_unit in rows:
        assert re.search(rf"`{operation}`\s+{credits_per_unit}\b", README)


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
def test_the_glossary_and_the_readme_have_the_outcome(outcome):
    glossary = rows(section(GLOSSARY, "## Outcomes"))
    readme = rows(section(README, "### What became of it"))

    assert outcome in {row[0] for row in glossary}
    assert outcome in {row[0] for row in readme}


@pytest.mark.parametrize("error", [error.__name__ for error in post.FINAL])
def test_the_documents_say_that_the_error_uses_the_key_up(error):
    (refused,) = [r for r in rows(section(README, "### What became of it")) if r[0] == "refused"]
    runbook = rows(section(RUNBOOK, "## A debit was refused"))

    assert f"`{error}`" in refused[1]
    assert f"`{error}`" in {row[0] for row in runbook}


def test_the_host_contract_has_each_right_that_the_app_is_given():
    given = []
    for grant in allow_app.GRANTS:
        right, kind, name = re.match(
            r"GRANT (.+?) ON (SCHEMA |FUNCTION )?(\S+) TO",
            grant.format(
                function=allow_app.PLACE_HOLD.replace(" ", ""),
                access=allow_app.ACCESS.replace(" ", ""),
                role="app",
            ),
        ).groups()
        given.append([f"`{right}`", f"{(kind or '').lower()}`{name.partition('(')[0]}`"])

    assert rows(section(CONTRACT, "## What the app may touch of ours")) == given


def test_the_host_contract_has_each_task_that_may_come_through_the_inbox():
    text = section(CONTRACT, "## What the app may touch of ours")

    assert {kind.TASK for kind in INBOX_MESSAGES} <= set(re.findall(r"`([\w.]+)`", text))


FINDINGS = [check.name for check in audit.CHECKS + audit.LONG_CHECKS]
FINDINGS += [name for name, _ in drift.CHECKS.values()]


@pytest.mark.parametrize("check", FINDINGS)
def test_the_runbook_says_what_to_do_about_the_finding(check):
    assert f"`{check}`" in section(RUNBOOK, "## Drift, or another finding")


#: StatusChangeRefused: no task changes a status yet. Trees of their own are written up elsewhere.
OWN = [e for e in errors.Rejected.__subclasses__() if e.__module__ == errors.__name__]
ANSWERS = {e.__name__ for e in OWN} - {"StatusChangeRefused"}


def leaves(error):
    below = error.__subclasses__()
    return {name for each in below for name in leaves(each)} if below else {error.__name__}


@pytest.mark.parametrize("error", sorted(leaves(stripe_errors.StripeRejected)))
def test_the_documents_say_what_follows_what_is_wrong_with_an_event(error):
    assert f"`{error}`" in RUNBOOK + README


@pytest.mark.parametrize("error", sorted(ANSWERS))
def test_the_documents_say_what_follows_the_error(error):
    assert f"`{error}`" in RUNBOOK + README


def test_contributing_has_every_target_of_make():
    makefile = (ROOT / "Makefile").read_text()
    listed = rows(section((ROOT / "CONTRIBUTING.md").read_text(), "## Make"))

    assert {row[0].strip("`").removeprefix("make ") for row in listed} == set(
        re.findall(r"^([a-z-]+):.*##", makefile, flags=re.MULTILINE)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        there = (document.parent / path) if path else document
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), flags=re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, target


LIFE = (ROOT / "docs/life.md").read_text()
CLIENT = (ROOT / "client/README.md").read_text()


def test_the_life_of_an_account_has_every_step_and_who_may():
    steps_listed = rows(section(LIFE, "## Status").partition("| reason |")[0])
    reasons_listed = rows("| reason |" + section(LIFE, "## Status").partition("| reason |")[2])

    assert steps_listed == [
        [step.status_from, step.status_to, ", ".join(sorted(step.reasons)), f"`{step.event}`"]
        for step in transitions.TRANSITIONS
    ]
    assert reasons_listed == [
        [reason, ", ".join(sorted(who))] for reason, who in sorted(transitions.WHO_MAY.items())
    ]


def test_the_life_of_an_account_has_the_schedule_of_missing_payments():
    yes = {True: "yes", False: "no"}

    assert rows(section(LIFE, "## Missing payments")) == [
        [str(step.day), step.action, yes[step.card], yes[step.bank]] for step in SCHEDULE
    ]


def test_the_life_of_an_account_has_every_answer_to_who_is_let_in():
    view = (
        (ROOT / "migrations/sql/0008_up.sql").read_text().partition("VIEW billing.account_access")
    )
    answers = re.findall(r"^    \('(\w+)', (true|false), (\d+),", view[2], flags=re.MULTILINE)

    assert rows(section(LIFE, "## Who is let in")) == [
        [f"`{reason}`", {"true": "yes", "false": "no"}[is_allowed], status]
        for reason, is_allowed, status in answers
    ]


def test_the_client_s_readme_has_every_event_with_what_it_carries():
    # Its code has comments, which look like headings.
    listed = rows(CLIENT.partition("\n## Events\n")[2].partition("\n## ")[0])

    assert listed == [
        [
            f"`{name}`",
            kind.when,
            f"`{kind.carries.__name__}`: " + ", ".join(f"`{f.name}`" for f in fields(kind.carries)),
        ]
        for name, kind in CATALOGUE.items()
    ]


def test_every_event_that_is_left_is_in_the_catalogue_and_every_one_there_is_left():
    files = [*ROOT.glob("billing/*.py"), *ROOT.glob("billing/bank/*.py")]
    files.append(ROOT / "billing/stripe/payments.py")
    code = "\n".join(path.read_text() for path in files)
    topics = "account|credits|invoice|dispute|transfer|trial|payment|plan"
    named = set(re.findall(rf'"((?:{topics})\.[a-z_]+)"', code))
    changes = {step.event for step in transitions.TRANSITIONS}

    assert named | changes == set(CATALOGUE)
