"""The running balance of a CSV statement, which proves its rows."""

from dataclasses import dataclass


@dataclass(slots=True)
class RunningBalance:
    """The running balance, followed in both directions: files run from old to new or back."""

    first: tuple[int, int] = (0, 0)
    last: tuple[int, int] = (0, 0)
    length: int = 0
    breaks_up: int = 0
    breaks_down: int = 0
    gap_up: int = 0
    gap_down: int = 0

    def take(self, amount: int, balance: int) -> None:
        """Add the amount and the balance of one row, in minor units."""
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
        """The opening and closing balance; None if the balances do not follow from the amounts."""
        if self.breaks_up == 0:
            return self.first[1] - self.first[0], self.last[1]
        if self.breaks_down == 0:
            return self.last[1] - self.last[0], self.first[1]
        return None

    def gap(self) -> int:
        """The first difference, in the direction with fewer differences."""
        return self.gap_up if self.breaks_up <= self.breaks_down else self.gap_down
