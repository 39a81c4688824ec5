"""Postgres and Redis as real servers on loopback, without Docker, and what runs on them."""

from devstack.stack import Urls, running_stack

__all__ = ["Urls", "running_stack"]
