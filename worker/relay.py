"""Deprecated name of `web.relay`: keeps `gunicorn worker.relay:application` working."""

import importlib
import warnings


def __getattr__(name: str) -> object:
    warnings.warn("worker.relay is now web.relay", DeprecationWarning, stacklevel=2)
    # By name, because the worker imports no package above it.
    return getattr(importlib.import_module("web.relay"), name)
