"""A cache for functions of short texts: the same days, accounts and amounts occur often."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

Result = TypeVar("Result")

# No day, account or amount is longer. Longer texts are not cached, for a file may have thousands.
LONGEST = 64
_RESULTS = 4_096


def remembered(function: Callable[[str], Result | None]) -> Callable[[str], Result | None]:
    """Cache the last 4,096 results; a text of over 64 characters gives None."""
    cached = lru_cache(maxsize=_RESULTS)(function)

    def call(text: str) -> Result | None:
        return cached(text) if len(text) <= LONGEST else None

    return call
