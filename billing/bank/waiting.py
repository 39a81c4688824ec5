"""The bank's work that waits for an operator, and the ends of all lines."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.bank import line_ends
from billing.bank.intake import files
from billing.bank.line_ends import LineEnd


@dataclass(frozen=True, slots=True)
class BankStatus:
    """Counts of held statements, refused files and transfers that wait, and the lines by end."""

    statements_held: int
    files_refused: int
    transfers_waiting: int
    line_ends: list[LineEnd]


_COUNTS = """
SELECT (SELECT count(*) FROM billing.statements WHERE is_held),
       (SELECT count(*) FROM billing.transfers WHERE review IS NOT NULL)
"""


def read(session: Session) -> BankStatus:
    """Count what waits, and sum up the lines."""
    held, waiting = session.execute(text(_COUNTS)).one()
    return BankStatus(held, files.count_refused(session), waiting, line_ends.ends(session))
