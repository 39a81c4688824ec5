"""The running balance of a CSV statement, which proves its rows where it is printed."""

from dataclasses import dataclass


@dataclass(slots=True)
class RunningBalance:
    """The running balance, followed both ways at once.

    Because files run from old to new or from new to old.
    """

    first: tuple[int, int] = (0, 0)
    last: tuple[int, int] = (0, 0)
    length: int = 0
    breaks_up: int = 0
    breaks_down: int = 0
    gap_up: int = 0
    gap_down: int = 0

    def take(self, amount: int, balance: int) -> None:
        """Follow one row, both in minor units."""
        if self.length == 0:
            self.first = (amount, balance)
        else:
            gap_up = self.last[1] + amount - balance
            gap_down = balance + self.last[0] - self.last[1]
            self.breaks_up += gap_up != 0
            self.breaks_down += gap_down != 0
            self.gap_up, self.gap_down = self.gap_up or gap_up, self.gap_down or gap_down
        self.last = (amount, balance)
        self.length += 1

    def ends(self) -> tuple[int, int] | None:
        """Opening and closing balance, or None when the balances do not follow from the amounts."""
        if self.breaks_up == 0:
            return self.first[1] - self.first[0], self.last[1]
        if self.breaks_down == 0:
            return self.last[1] - self.last[0], self.first[1]
        return None

    def gap(self) -> int:
        """The first difference, in the direction that has fewer."""
        return self.gap_up if self.breaks_up <= self.breaks_down else self.gap_down
