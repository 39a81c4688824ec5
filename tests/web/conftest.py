"""A real worker beside the relay."""

from tests.worker.conftest import start

__all__ = ["start"]
