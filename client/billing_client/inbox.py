"""The door that loses nothing: rows that commit with the work they pay for.

Every function takes a DB-API connection, or Django's `connection`, of the main app's database,
writes in the transaction that is open there, and neither commits nor rolls back.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from billing_client.messages import (
    INBOX_MESSAGES,
    Capture,
    Debit,
    PlaceHold,
    Release,
    Reverse,
)

#: Rows that one INSERT carries.
ROWS_AT_ONCE = 500


class Connection(Protocol):
    """What we use of a connection whose parameters are written %s: psycopg 2 and 3, Django."""

    def cursor(self) -> Any:
        """A cursor."""


@dataclass(frozen=True, slots=True)
class Held:
    """The answer to a hold. Only if it is true may the work begin.

    `credits` it sets aside; `available` after it (before it, if refused; None, if asked again);
    `reason` why it was refused: InsufficientCredits, SpendCapReached, UnknownAccount,
    AccountDeleted, UnknownOperation, KeyReused, InvalidField, RenewalDue (the period has ended, and
    its successor's credits come within a minute: ask again with the same key), or HoldEnded
    (captured, released or out of time: a new try is new work with a new key).
    """

    is_held: bool
    credits: int
    available: int | None
    reason: str | None

    def __bool__(self) -> bool:
        return self.is_held


def leave(connection: Connection, messages: Iterable[Debit | Reverse | Capture | Release]) -> int:
    """Leave messages for the worker in the transaction that is open; returns how many.

    They count when it commits, and never if it rolls back. Raises TypeError for a message of
    another kind, which goes through the broker.
    """
    rows: list[tuple[int, str, str]] = []
    for message in messages:
        if not isinstance(message, INBOX_MESSAGES):
            raise TypeError(f"{type(message).__name__} goes through the broker")
        rows.append((message.account_id, message.TASK, json.dumps(message.arguments())))
    with closing(connection.cursor()) as cursor:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            _insert(cursor, rows[start : start + ROWS_AT_ONCE])
    return len(rows)


def _insert(cursor: Any, rows: Sequence[tuple[int, str, str]]) -> None:
    values = ", ".join(["(%s, %s, %s)"] * len(rows))
    cursor.execute(
        f"INSERT INTO billing.inbox (account_id, task, arguments) VALUES {values}",  # noqa: S608
        [value for row in rows for value in row],
    )


def place_hold(connection: Connection, message: PlaceHold) -> Held:
    """Set credits aside, and know at once. It counts when the open transaction commits.

    The account's row stays locked until then: commit before the slow work begins.
    """
    with closing(connection.cursor()) as cursor:
        cursor.execute(
            "SELECT outcome, credits, available, reason"
            " FROM billing.place_hold(%s, %s, %s, %s, %s)",
            [
                message.account_id,
                message.operation,
                message.units,
                message.key,
                message.ttl_s,
            ],
        )
        outcome, credits, available, reason = cursor.fetchone()
    return Held(outcome == "held", credits, available, reason)
