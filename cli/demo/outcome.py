"""What a section of the demo sent, and what became of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """One thing that came in, what became of it, and what should have.

    `became` is read from rows. It may say more than `expected`, which it then begins with.
    """

    came_in: str
    became: str
    expected: str

    @property
    def is_expected(self) -> bool:
        """Whether it became what it should."""
        return self.became.startswith(self.expected)
