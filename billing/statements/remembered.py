"""Answers about short texts, remembered: days, accounts and amounts come again and again."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

Answer = TypeVar("Answer")

# No day, account or amount is longer. A longer text has no answer, and is not kept: a file may
# bring thousands of them.
LONGEST = 64
_ANSWERS = 4_096


def remembered(ask: Callable[[str], Answer | None]) -> Callable[[str], Answer | None]:
    """The question with its last 4,096 answers at hand; None for a text of over 64 characters."""
    known = lru_cache(maxsize=_ANSWERS)(ask)

    def answer(text: str) -> Answer | None:
        return known(text) if len(text) <= LONGEST else None

    return answer
