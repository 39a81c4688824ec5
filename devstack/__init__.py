"""Postgres and Redis as real servers on loopback, without Docker, for development and tests."""

from devstack.stack import Urls, running_stack

__all__ = ["Urls", "running_stack"]
