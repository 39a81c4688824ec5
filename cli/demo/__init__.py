"""`billing demo`: the five jobs of the worker, done once on real servers."""

from cli.demo.command import demo

__all__ = ["demo"]
