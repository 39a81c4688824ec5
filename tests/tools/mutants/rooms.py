"""The rooms of the product, their mutants, and those that are known to change nothing."""

import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.tools.mutants import edits, sql
from tests.tools.mutants.edits import Edit
from tests.tools.tracer import ROOT

#: Folders and files by room; the functions in the database are the room "sql".
ROOMS = {
    "ledger": ["billing/ledger", "billing/sweep.py"],
    "usage": ["billing/usage"],
    "purchases": ["billing/purchases"],
    "renewal": ["billing/renewal"],
    "lifecycle": ["billing/lifecycle"],
    "stripe": ["billing/stripe", "flows/stripe"],
    "bank": ["billing/bank", "flows/bank"],
    "statements": ["billing/statements"],
    "transport": ["worker/transport"],
    "debits": ["worker/debits"],
    "host": ["billing/host"],
    "events": ["billing/events"],
}
SQL = "sql"
EQUIVALENT = Path(__file__).with_name("equivalent.toml")


class Mutant(NamedTuple):
    """One change of the product.

    Attributes:
        room: Its room.
        file: The file's path below the root.
        line: The line that is changed, from 1.
        text: That line without its indent.
        change: The change in words.
        number: Which it is of this change of this text in this file, from 0.
        edit: The change as an edit: of the file, or of the function's body.
        function: The database's function; empty for a file of Python.
    """

    room: str
    file: str
    line: int
    text: str
    change: str
    number: int
    edit: Edit
    function: str = ""

    @property
    def key(self):
        """What it is known by while its line stays as it is."""
        return f"{self.file}|{self.function}|{self.text}|{self.change}|{self.number}"

    def __str__(self):
        return f"{self.file}:{self.line}: {self.change}"


def of_room(room, bodies):
    """A room's mutants. `bodies`: the body of each of the database's functions, by name."""
    if room == SQL:
        return [mutant for name in sorted(bodies) for mutant in _of_function(name, bodies[name])]
    paths = [path for place in ROOMS[room] for path in _files(ROOT / place)]
    return [mutant for path in paths for mutant in _of_file(room, path)]


def _files(place):
    return [place] if place.suffix else sorted(place.rglob("*.py"))


def _of_file(room, path):
    source = path.read_text()
    file = path.relative_to(ROOT).as_posix()
    return _numbered(room, file, source, edits.of_python(source))


def _of_function(name, body):
    file, first_line = _written_in(name)
    lines = (ROOT / file).read_text().splitlines()
    for mutant in _numbered(SQL, file, body, [Edit(*edit) for edit in sql.edits(body)]):
        after = [line.strip() for line in lines[first_line:]]
        at = after.index(mutant.text) + 1 if mutant.text in after else 0
        yield mutant._replace(line=first_line + at, function=name)


@cache
def _written_in(name):
    """The migration's file that last defines a function, and the line of its name."""
    pattern = re.compile(rf"^.*FUNCTION {re.escape(name)}\(", re.MULTILINE)
    files = [*ROOT.glob("migrations/versions/*.py"), *ROOT.glob("migrations/sql/*.sql")]
    names = sorted(file for file in files if not file.stem.endswith("_down"))
    last = [(file, found) for file in names if (found := pattern.search(file.read_text()))][-1]
    file, found = last
    line = file.read_text().count("\n", 0, found.start()) + 1
    return file.relative_to(ROOT).as_posix(), line


def _numbered(room, file, source, changes):
    lines, seen = source.splitlines(), Counter()
    mutants = []
    for edit in changes:
        line = source.count("\n", 0, edit.start) + 1
        text = lines[line - 1].strip()
        number = seen[text, edit.change]
        seen[text, edit.change] += 1
        mutants.append(Mutant(room, file, line, text, edit.change, number, edit))
    return mutants


@cache
def equivalent():
    """The reasons of those that change nothing, by file, line and change."""
    rows = tomllib.loads(EQUIVALENT.read_text()).get("mutant", [])
    return {(row["file"], row["line"], row["change"]): row["reason"] for row in rows}


def reason_if_equivalent(mutant):
    """Why no test can notice it; None for all others."""
    return equivalent().get((mutant.file, mutant.text, mutant.change))
