"""A mutant is one change of the product, tried against the tests that run its line."""

import json
import subprocess
import sys
import time

import pytest

from tests.tools.mutants import covering, edits, reached, rooms, sql, trial
from tests.tools.mutants.edits import Edit
from tests.tools.mutants.rooms import Mutant
from tests.tools.mutants.started import sitecustomize
from tests.tools.tracer import ROOT

PYTHON = [
    ("a < b", ["a <= b"]),
    ("a not in b", ["a in b"]),
    ("a in (b, c)", ["a in (c)", "a in (b)", "a not in (b, c)"]),
    ("a and b", ["True and b", "a and True", "a or b"]),
    ("a or b", ["False or b", "a and b", "a or False"]),
    ("not a", ["(a)"]),
    ("a + 1", ["a + 2", "a - 1"]),
    ("a -= b", ["a += b"]),
    ("x = min(a, b)", ["x = max(a, b)"]),
    ("a(True)", ["None", "a(False)"]),
    ("x = s.where(a, b)", ["x = s.where(True, b)", "x = s.where(a, True)"]),
    ("x = [a for a in b if a]", ["x = [a for a in b if True]"]),
    ("if a:\n    pass", ["if False:\n    pass", "if True:\n    pass"]),
    ("T = {a: b, c: d}", ["T = {a: b}", "T = {c: d}"]),
    ("x = 'SELECT a'  ", []),
    ('x = f"SELECT {a > 1} WHERE a > %(b)s"', ['x = f"SELECT {a > 1} WHERE a >= %(b)s"']),
    ('x = (f"SELECT a"  # ours - and no more\n    " WHERE b")', []),
    ("@frozen(True)\nclass A:\n    pass", []),
    ("LIMIT = 500", []),
    ("assert a > 1", []),
    ('"""Says: SELECT a WHERE b > 1."""', []),
    ("def f(a: int = 1) -> x[2]: ...", ["def f(a: int = 2) -> x[2]: ..."]),
]
SQL = [
    ("SELECT a WHERE b <= c", ["SELECT a WHERE b < c"]),
    ("SELECT a WHERE b AND c", ["SELECT a WHERE b OR c"]),
    ("SELECT a WHERE b BETWEEN c AND d", []),
    ("SELECT a WHERE b = 'x = y'", ["SELECT a WHERE b <> 'x = y'"]),
    ("UPDATE t SET a = b + c", ["UPDATE t SET a = b - c"]),
    ("SELECT f(a => 1)", ["SELECT f(a => 2)"]),
    ("SELECT a -- where b > 0", []),
    ("SELECT a ORDER BY b DESC", ["SELECT a ORDER BY b ASC"]),
    ("SELECT a ORDER BY b, c", ["SELECT a ORDER BY b DESC, c"]),
    ("SELECT a WHERE b IS NULL", ["SELECT a WHERE b IS NOT NULL"]),
    ("SELECT a WHERE NOT EXISTS (x)", ["SELECT a WHERE EXISTS (x)"]),
    ("a note, and no statement: x > 0", []),
]


def changed(source, changes):
    return sorted([source[:start] + new + source[end:] for start, end, new, _ in changes])


@pytest.mark.parametrize(("source", "mutants"), PYTHON, ids=[source for source, _ in PYTHON])
def test_a_module_is_changed_in_one_place_after_the_other(source, mutants):
    assert changed(source, edits.of_python(source)) == sorted(mutants)


@pytest.mark.parametrize(("text", "mutants"), SQL, ids=[text for text, _ in SQL])
def test_a_statement_is_changed_in_one_place_after_the_other(text, mutants):
    assert changed(text, sql.edits(text)) == sorted(mutants)


def test_every_room_has_mutants_and_each_of_them_compiles():
    for room in rooms.ROOMS:
        mutants = rooms.of_room(room, {})
        assert len({mutant.key for mutant in mutants}) == len(mutants) > 0
        for mutant in mutants[:20]:
            source = (ROOT / mutant.file).read_text()
            compile(*changed(source, [mutant.edit]), mutant.file, "exec")


def test_each_equivalent_mutant_is_one_that_there_is_and_has_a_reason():
    mutants = {(m.file, m.text, m.change) for room in rooms.ROOMS for m in rooms.of_room(room, {})}

    for place, reason in rooms.equivalent().items():
        assert reason, place
        assert place in mutants or place[0].endswith(".sql"), place


def test_a_mutant_meets_the_tests_that_run_its_line(tmp_path):
    file = "billing/ledger/lots.py"
    lines = (ROOT / file).read_text().splitlines()
    first = next(number for number, text in enumerate(lines, 1) if "def has_expired" in text)
    rows = {"a": [0, 2], "b": [0], "c": []}
    for name, offsets in rows.items():
        test = f"tests/tools/test_mutants.py::{name}"
        run = {file: {"OpenLot.has_expired": offsets}} if offsets else {}
        row = {"test": test, "seconds": 1, "passed": True, "lines": run}
        with reached.written_for(tmp_path, "tests/x.py").open("a") as output:
            output.write(json.dumps(row) + "\n")
    known = covering.Reached({}, tmp_path)

    def tests_at(line):
        mutant = Mutant("ledger", file, line, "", "", 0, Edit(0, 0, "", ""))
        return [test[-1] for test in known.tests(mutant)]

    assert tests_at(first + 2) == ["a"]


def test_the_change_reaches_the_programs_that_a_test_starts(tmp_path, monkeypatch):
    module = tmp_path / "shop.py"
    module.write_text("price = 1 + 1")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setenv(sitecustomize.VARIABLE, "")
    monkeypatch.setenv("PYTHONPATH", "")

    sitecustomize.pass_on(file=str(module), name="shop", start=10, end=11, new="-")
    shown = subprocess.check_output(
        [sys.executable, "-c", "import shop; print(shop.price)"], cwd=tmp_path, text=True
    )

    assert shown == "0\n"
    assert module.read_text() == "price = 1 + 1"


def test_a_trial_that_does_not_end_is_ended(tmp_path):
    assert trial.in_child(lambda: time.sleep(600), tmp_path / "log", limit_s=0.1) is None
    assert trial.in_child(lambda: 7, tmp_path / "log", limit_s=60) == 7
