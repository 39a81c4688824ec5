"""The outcome of one thing that a section of the demo sent."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """One input of a section, its outcome, and the expected outcome.

    `became` is read from rows. It begins with `expected`, and may add details such as a reason.
    """

    came_in: str
    became: str
    expected: str

    @property
    def is_expected(self) -> bool:
        """Whether the outcome is the expected one."""
        return self.became.startswith(self.expected)
