"""The lines that each test runs, and how long it takes: a plugin of pytest that writes them down.

A line is counted from the first line of its function, so that what was written down holds while
the function stays as it is, wherever it moves in its file.
"""

import json
import os
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from tests.tools.tracer import product_file

#: Names the folder to write to: a file for each test file, a line for each test.
FOLDER = "MUTANTS_REACHED"


def written_for(folder, test_file):
    """The file that holds what this test file's tests reach."""
    return folder / (test_file.removesuffix(".py").replace("/", ".") + ".jsonl")


class Lines:
    """The lines of the product that ran since the last `take`, in any thread."""

    def __init__(self):
        self._by_code = {}

    def take(self):
        """Lines by file and function, from 0; forget them."""
        files = defaultdict(lambda: defaultdict(set))
        for code, lines in self._by_code.items():
            offsets = {line - code.co_firstlineno for line in lines}
            files[product_file(code.co_filename)][code.co_qualname] |= offsets
        self._by_code = {}
        return {
            file: {name: sorted(offsets) for name, offsets in functions.items()}
            for file, functions in files.items()
        }

    def on_call(self, frame, kind, _argument):
        """Follow the lines of our own functions, until all of a function's lines have run."""
        code = frame.f_code
        if kind != "call" or product_file(code.co_filename) is None:
            return None
        lines = self._by_code.setdefault(code, set())
        lines.add(frame.f_lineno)
        if len(lines) >= len({line for *_, line in code.co_lines() if line}):
            return None

        def on_line(frame, kind, _argument):
            if kind == "line":
                lines.add(frame.f_lineno)
            return on_line

        return on_line


def pytest_configure(config):
    config.pluginmanager.register(_Writer(Path(os.environ[FOLDER])))


class _Writer:
    def __init__(self, folder):
        self._folder = folder
        self._lines = Lines()
        self._seconds = defaultdict(float)
        self._has_failed = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self._lines.take()
        sys.settrace(self._lines.on_call)
        threading.settrace(self._lines.on_call)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self._write(item.nodeid)

    def pytest_runtest_logreport(self, report):
        self._seconds[report.nodeid] += report.duration
        if not report.passed:
            self._has_failed.add(report.nodeid)

    def _write(self, test):
        row = {
            "test": test,
            "seconds": round(self._seconds.pop(test, 0), 3),
            "passed": test not in self._has_failed,
            "lines": self._lines.take(),
        }
        with written_for(self._folder, test.partition("::")[0]).open("a") as file:
            file.write(json.dumps(row) + "\n")
