"""The inbox: rows that commit with the work they pay for, so that no debit is lost.

Every function takes a connection to the main app's database, writes in the transaction that is open
there, and neither commits nor rolls back.
"""

import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from billing_client.errors import InvalidField
from billing_client.fields import MAX_INBOX_BYTES
from billing_client.messages import INBOX_MESSAGES, Capture, Debit, PlaceHold, Release, Reverse

#: Rows of one INSERT statement.
ROWS_AT_ONCE = 500
#: Refusals of a hold because the account has no access.
NO_ACCESS = frozenset(
    {
        "AccountSuspended",
        "AccountCancelled",
        "AccountDeleted",
        "NoPlan",
        "PlanInactive",
        "UnknownStatus",
    }
)


class Connection(Protocol):
    """A synchronous connection with `%s` parameters: Django's, psycopg 2's or psycopg 3's."""

    def cursor(self) -> Any:
        """Open a cursor."""


@dataclass(frozen=True, slots=True)
class Held:
    """The answer to a hold; true only if the work may begin.

    Attributes:
        is_held: Whether the credits are reserved.
        credits: The number of credits that it reserves.
        available: Free credits after the hold; before it, if it was refused; None, if the same key
            was used again.
        reason: Why it was refused, else None. `InsufficientCredits`, `SpendCapReached`,
            `UnknownAccount`, `UnknownOperation`, `KeyReused` or `InvalidField`.
            `AccountSuspended`, `AccountCancelled`, `AccountDeleted`, `NoPlan`, `PlanInactive` or
            `UnknownStatus`: the account has no access; the key stays free.
            `RenewalDue`: the credit period has ended and the next one's credits come within a
            minute; ask again with the same key. `HoldEnded`: the hold was captured, released or
            has expired; a new attempt needs a new key.
        access_reason: The reason of `access` if the account has none, such as `trial_over` or
            `payment_failed`, else None.
    """

    is_held: bool
    credits: int
    available: int | None
    reason: str | None
    access_reason: str | None = None

    def __bool__(self) -> bool:
        return self.is_held


def leave(connection: Connection, messages: Iterable[Debit | Reverse | Capture | Release]) -> int:
    """Store messages for the worker in the open transaction.

    They take effect if it commits. Call `BillingClient.ring` after the commit to have them applied
    at once.

    Args:
        connection: A connection on which your transaction is open.
        messages: `Debit`, `Reverse`, `Capture` and `Release` messages, for any accounts.

    Returns:
        The number of messages.

    Raises:
        TypeError: A message is of another class; nothing was written.
        InvalidMessage: A message is too large for a row; nothing was written.

    Example:
        ```python
        with transaction.atomic():
            job.finish(text)
            leave(connection, [Capture(job.account_id, job.billing_key, units=job.words)])
        ```
    """
    rows: list[tuple[int, str, str]] = []
    for message in messages:
        if not isinstance(message, INBOX_MESSAGES):
            raise TypeError(f"The inbox takes no {type(message).__name__}: send it by the broker.")
        arguments = json.dumps(message.arguments())
        if len(arguments) > MAX_INBOX_BYTES:
            raise InvalidField("arguments", f"must be at most {MAX_INBOX_BYTES} bytes of JSON")
        rows.append((message.account_id, message.TASK, arguments))
    with closing(connection.cursor()) as cursor:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            values = ", ".join(["(%s, %s, %s)"] * len(part))
            cursor.execute(
                f"INSERT INTO billing.inbox (account_id, task, arguments) VALUES {values}",  # noqa: S608
                [value for row in part for value in row],
            )
    return len(rows)


def place_hold(connection: Connection, message: PlaceHold) -> Held:
    """Reserve credits and return the answer at once; `BillingClient.place_hold` calls it.

    The hold takes effect when the open transaction commits. The account's row stays locked until
    then: commit before slow work begins.
    """
    with closing(connection.cursor()) as cursor:
        cursor.execute(
            "SELECT outcome, credits, available, reason"
            " FROM billing.place_hold(%s, %s, %s, %s, %s)",
            [message.account_id, message.operation, message.units, message.key, message.ttl_s],
        )
        outcome, credits, available, reason = cursor.fetchone()
        access_reason = None
        if reason in NO_ACCESS:
            cursor.execute(
                "SELECT reason FROM billing.access(%s, NULL)",
                [message.account_id],
            )
            access_reason = cursor.fetchone()[0]
    return Held(outcome == "held", credits, available, reason, access_reason)
