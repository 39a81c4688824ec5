"""The table of access in account life is that of the view."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIFE = (ROOT / "docs/explanation/account-life.md").read_text()
VIEWS = (ROOT / "migrations/sql/0008_up.sql").read_text()


def test_account_life_has_every_answer_of_the_access_check():
    view = VIEWS.partition("VIEW billing.account_access")[2]
    answers = re.findall(r"^    \('(\w+)', (true|false), (\d+),", view, flags=re.MULTILINE)
    section = LIFE.partition("\n## Access\n")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \| (\w+) \| (\d+) \|$", section, flags=re.MULTILINE) == [
        (reason, {"true": "yes", "false": "no"}[allowed], status)
        for reason, allowed, status in answers
    ]
