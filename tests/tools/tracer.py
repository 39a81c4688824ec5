"""The trip of one call: our own files in the order in which it enters them.

A change of file is a call into another file than that of the call before; the first file counts as
one. A return is no change, so a reader who follows the calls turns the page as often. A generator's
resumption and a callback from C are calls. A comprehension or a generator expression is part of the
function that holds it, unless another file of ours runs it: then it was handed there, and counts.
"""

import sys
import threading
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_INLINE = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


@dataclass
class Visit:
    """A stay in one file: the functions called there, in order."""

    file: str
    functions: list[str] = field(default_factory=list)


@dataclass
class Trip:
    """The visits of one call; those of a second thread follow those of the first."""

    visits: list[Visit]

    @property
    def entries(self):
        """Entries of each file, in the order of the first visits."""
        return Counter(visit.file for visit in self.visits)

    @property
    def files(self):
        return len(self.entries)

    @property
    def changes(self):
        return len(self.visits)


def trace(act, own_file=None):
    """Run `act` and return its trip. `own_file`: the short name of our own files, else None."""
    own_file = own_file or product_file
    visits_by_thread: dict[int, list[Visit]] = {}

    def on_event(frame, kind, _argument):
        if kind != "call" or (file := own_file(frame.f_code.co_filename)) is None:
            return
        if frame.f_code.co_name in _INLINE and _caller_file(frame, own_file) == file:
            return
        visits = visits_by_thread.setdefault(threading.get_ident(), [])
        if not visits or visits[-1].file != file:
            visits.append(Visit(file))
        visits[-1].functions.append(frame.f_code.co_qualname)

    threading.setprofile(on_event)
    sys.setprofile(on_event)
    try:
        act()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return Trip([visit for visits in visits_by_thread.values() for visit in visits])


def _caller_file(frame, own_file):
    """The file of ours that runs this frame, through whatever library or C code."""
    while (frame := frame.f_back) is not None:
        if (file := own_file(frame.f_code.co_filename)) is not None:
            return file
    return None


@cache
def product_file(filename):
    """The name of a product's file below the root; None for all others."""
    path = Path(filename)
    if not path.is_relative_to(ROOT):
        return None
    name = path.relative_to(ROOT).as_posix()
    return name if name.startswith(_product_paths()) else None


@cache
def _product_paths():
    """The paths that pyproject.toml ships, and the client's; migrations run at set-up only."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    shipped = {*build["targets"]["wheel"]["only-include"], "client/billing_client"}
    paths = shipped - {"migrations"}
    return tuple(path if path.endswith(".py") else f"{path}/" for path in sorted(paths))
