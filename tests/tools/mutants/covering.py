"""Which tests run a line: what `reached` wrote down, looked up for a mutant."""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from types import CodeType

from tests.tools.mutants import reached
from tests.tools.tracer import ROOT, product_file

FOLDER = ROOT / ".mutants" / "reached"
#: Test files that start programs of ours: nothing is written down of what these run.
_STARTS_PROGRAMS = re.compile(r'running_worker|\bstanding[],)"]|real_workers|Popen')
#: Tests that run the product in their own process; the others look at files or start programs.
TESTS = ("billing", "cli", "client", "flows", "gateways", "migrations", "web", "worker")


def collect(*, everything, processes):
    """Run the tests that are new or changed since, or all, and write down what they reach."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = [file for name in TESTS for file in sorted(ROOT.glob(f"tests/{name}/**/test_*.py"))]
    names = [file.relative_to(ROOT).as_posix() for file in files]
    stale = [name for name in names if everything or _is_stale(name)]
    if not stale:
        return
    for name in stale:
        reached.written_for(FOLDER, name).write_text("")
    options = ["-m", "not long", "-q", "--timeout", "600", "-p", "tests.tools.mutants.reached"]
    subprocess.run(
        [sys.executable, "-m", "pytest", *stale, *options, "-n", str(processes)],
        cwd=ROOT,
        env={**os.environ, reached.FOLDER: str(FOLDER)},
        stdout=sys.stderr,
        check=False,  # a test that fails chooses no mutant
    )


def _is_stale(name):
    written = reached.written_for(FOLDER, name)
    return not written.exists() or written.stat().st_mtime < (ROOT / name).stat().st_mtime


class Reached:
    """What each test runs."""

    def __init__(self, bodies, folder=FOLDER):
        self._bodies = bodies
        rows = [json.loads(line) for file in folder.glob("tests.*.jsonl") for line in file.open()]
        rows = [
            row for row in rows if row["passed"] and (ROOT / row["test"].split("::")[0]).exists()
        ]
        self.seconds = {row["test"]: row["seconds"] for row in rows}
        self._sizes = {row["test"]: _sizes(row["lines"]) for row in rows}
        self._functions = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
        for row in rows:
            for file, functions in row["lines"].items():
                for name, offsets in functions.items():
                    for offset in offsets:
                        self._functions[file][name][offset].add(row["test"])

    def tests(self, mutant):
        """The tests that run a mutant's line, those first that are most about its file.

        Tests with programs are slow, and come last. What the worker runs and no test reaches in its
        own process meets these.
        """
        if mutant.function:
            tests = self._of_database_function(mutant.function)
        else:
            tests = self._of_line(mutant.file, mutant.line)
        if not tests and mutant.file.startswith("worker/"):
            tests = {test for test in self.seconds if _starts_programs(test)}
        return sorted(
            tests,
            key=lambda test: (_starts_programs(test), -self._promise(test, mutant.file), test),
        )

    def _promise(self, test, file):
        """The file's share of the lines that a test runs, and by how much it is in the file's room."""
        sizes = self._sizes[test]
        share = (sizes.get(file, 0) + 1) / (sum(sizes.values()) + 1)
        is_near = f"tests/{file.rpartition('/')[0]}/" in test
        return share * (10 if is_near else 1) / (self.seconds[test] + 0.1)

    def _of_line(self, file, line):
        codes = _codes_by_line(file)
        while line > 1 and line not in codes:
            line -= 1
        runs = [code for code in codes.get(line, ()) if _runs_when_called(code)]
        if not runs:
            return self._of_names(file, line)
        return set().union(*[self._of_code(file, code, line) for code in runs])

    def _of_code(self, file, code, line):
        offsets = self._functions[file][code.co_qualname]
        return offsets.get(line - code.co_firstlineno) or set().union(*offsets.values())

    def _of_names(self, file, line):
        """A module's own statement: the tests of the functions that use what it defines."""
        names = _defined_at(file, line)
        tests = set()
        for other in _files_with(names):
            for code in _codes(other):
                used = {*code.co_names, *code.co_freevars}
                if used & names or (other == file and code.co_name in names):
                    tests |= self._of_code(other, code, -1)
        return tests or set().union(
            *[set().union(*offsets.values()) for offsets in self._functions[file].values()]
        )

    def _of_database_function(self, name):
        """The tests of the code that calls it, and of the functions that call it."""
        called = re.compile(rf"{re.escape(name)}\b")
        tests = set()
        for file in _product_files():
            source = (ROOT / file).read_text()
            for found in called.finditer(source):
                tests |= self._of_line(file, source.count("\n", 0, found.start()) + 1)
        for caller, body in self._bodies.items():
            if caller != name and called.search(body):
                tests |= self._of_database_function(caller)
        return tests


def _starts_programs(test):
    return _holds_programs(test.partition("::")[0])


@cache
def _holds_programs(file):
    return bool(_STARTS_PROGRAMS.search((ROOT / file).read_text()))


def _sizes(lines):
    """How many lines of each file."""
    return {file: sum(map(len, functions.values())) for file, functions in lines.items()}


def _runs_when_called(code):
    """Whether it is a function's code: not a module's or a class's, which run at the import."""
    return bool(code.co_flags & inspect.CO_OPTIMIZED)


@cache
def _codes(file):
    def within(code):
        yield code
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from within(constant)

    return list(within(compile((ROOT / file).read_text(), file, "exec")))


@cache
def _codes_by_line(file):
    by_line = defaultdict(list)
    for code in _codes(file):
        for line in {line for *_, line in code.co_lines() if line}:
            by_line[line].append(code)
    return by_line


@cache
def _defined_at(file, line):
    """The names of the module's statement at a line, and of those that are made of them."""
    body = ast.parse((ROOT / file).read_text()).body
    names = set()
    for statement in body:
        start = min(
            [statement.lineno, *[d.lineno for d in getattr(statement, "decorator_list", ())]]
        )
        if start <= line <= statement.end_lineno:
            names |= _names(statement)
    for statement in body:
        used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if isinstance(statement, ast.Assign | ast.AnnAssign) and used & names:
            names |= _names(statement)
    return frozenset(names)


def _names(statement):
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return {
            node.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    return {statement.name} if hasattr(statement, "name") else set()


@cache
def _files_with(names):
    words = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b") if names else None
    return [file for file in _product_files() if words and words.search((ROOT / file).read_text())]


@cache
def _product_files():
    tracked = [path for path in ROOT.glob("*/**/*.py") if ".venv" not in path.parts]
    return sorted(file for path in tracked if (file := product_file(str(path))))
