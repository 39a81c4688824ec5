"""Import one module with a change in it: here, and in every Python program that is started from here.

Python imports a module `sitecustomize` at its start (docs.python.org/3/library/site.html). A trial puts
this folder on PYTHONPATH and the change into the environment. The file itself stays as it is.
"""

import importlib.abc
import importlib.util
import json
import os
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

#: The environment variable that carries the change, as JSON.
VARIABLE = "BILLING_TESTS_MUTANT"


class _Changed(SourceFileLoader):
    """Loads a module from its file, with the characters `start` to `end` replaced."""

    def __init__(self, name, file, start, end, new):
        super().__init__(name, file)
        self._edit = start, end, new

    def get_code(self, fullname):
        start, end, new = self._edit
        source = Path(self.path).read_text(encoding="utf-8")
        return compile(source[:start] + new + source[end:], self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the one module that is changed."""

    def __init__(self, name, file, start, end, new):
        self._name = name
        self._loader = _Changed(name, file, start, end, new)
        self._is_package = Path(file).name == "__init__.py"

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self._name:
            return None
        places = [str(Path(self._loader.path).parent)] if self._is_package else None
        return importlib.util.spec_from_file_location(
            fullname, self._loader.path, loader=self._loader, submodule_search_locations=places
        )


def pass_on(*, file, name, start, end, new):
    """Change the module `name` in `file` from its next import on, also in started programs."""
    change = {"file": file, "name": name, "start": start, "end": end, "new": new}
    os.environ[VARIABLE] = json.dumps(change)
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    _install(change)


def _install(change):
    sys.meta_path.insert(0, _Finder(**change))


if os.environ.get(VARIABLE):
    _install(json.loads(os.environ[VARIABLE]))
