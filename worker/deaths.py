"""Deaths of processes, counted by what each was at: an event, a row or a file that kills.

The count is raised in Redis before the work and taken back after it, so only a death leaves it.
What has killed before is done alone, and what has killed three times is not done again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import redis

from worker.transport import queues

#: Deaths after which an operator must look.
MOST = 3


def of(names: Sequence[str]) -> list[int]:
    """Return the deaths at each of these; while Redis is away, none is known."""
    try:
        return queues.deaths(queues.connection(), names)
    except redis.RedisError:
        return [0] * len(names)


@contextmanager
def counted(names: Sequence[str]) -> Iterator[None]:
    """Count a death at each of these if the process dies inside; an error is no death."""
    with suppress(redis.RedisError):
        queues.begin(queues.connection(), names)
    try:
        yield
    finally:
        forget(names)


def forget(names: Sequence[str]) -> None:
    """Forget the deaths at these."""
    with suppress(redis.RedisError):
        queues.end(queues.connection(), names)
