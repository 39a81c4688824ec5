"""The tables of account life are those of the code."""

import re
from pathlib import Path

from billing.lifecycle import transitions
from billing.lifecycle.dunning.schedule import SCHEDULE

ROOT = Path(__file__).parents[2]
LIFE = (ROOT / "docs/explanation/account-life.md").read_text()
VIEWS = (ROOT / "migrations/sql/0008_up.sql").read_text()


def tables(heading):
    """The tables under a heading, each as rows of cells without its head."""
    section = LIFE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    return [[re.split(r" \| ", row.strip("| ")) for row in b.splitlines()[2:]] for b in blocks]


def test_account_life_has_every_transition_and_the_actors_of_every_reason():
    changes, reasons = tables("Status")

    assert changes == [
        [step.status_from, step.status_to, ", ".join(sorted(step.reasons)), f"`{step.event}`"]
        for step in transitions.STEPS
    ]
    assert reasons == [
        [reason, ", ".join(sorted(actors))]
        for reason, actors in sorted(transitions.WHO_MAY.items())
    ]


def test_account_life_has_the_dunning_schedule():
    yes = {True: "yes", False: "no"}

    assert tables("Dunning schedule") == [
        [[str(step.day), step.action, yes[step.card], yes[step.bank]] for step in SCHEDULE]
    ]


def test_account_life_has_every_answer_of_the_access_check():
    view = VIEWS.partition("VIEW billing.account_access")[2]
    answers = re.findall(r"^    \('(\w+)', (true|false), (\d+),", view, flags=re.MULTILINE)

    assert tables("Access") == [
        [
            [f"`{reason}`", {"true": "yes", "false": "no"}[allowed], status]
            for reason, allowed, status in answers
        ]
    ]
