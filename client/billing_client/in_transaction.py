"""The methods of `BillingClient` that write in the caller's own database transaction."""

import datetime as dt
from collections.abc import Iterable, Mapping

from billing_client import inbox
from billing_client.fields import DEFAULT_HOLD_S
from billing_client.messages import Debit, PlaceHold


class InTransaction:
    """The part of `BillingClient` that loses nothing: its rows commit with the caller's work.

    `connection` is Django's, or a synchronous DB-API connection with `%s` parameters (psycopg 2
    and 3), to the database that the worker uses. These methods neither commit nor roll back. The
    database role needs `billing allow-app ROLE` once.
    """

    def debit_in(
        self,
        connection: inbox.Connection,
        account_id: int,
        operation: str,
        *,
        key: str,
        units: int = 1,
        happened_at: dt.datetime | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> str:
        """Debit a finished AI operation in the open transaction.

        The debit commits with the work it pays for or rolls back with it; no crash of the app or
        of Redis loses it. The worker applies it within about a second, or at once after `ring`.

        Args:
            connection: A connection on which your transaction is open.
            account_id: The main app's id of the account.
            operation: The name of an operation that has a price, such as `content_generation`.
            key: The idempotency key, 1 to 200 printable characters, best from `new_key()`. Store
                it with the work; every retry with the same key takes the credits once.
            units: The number of words, ideas or images the operation made, 1 to 1,000,000.
            happened_at: When the work was done, with a time zone; its price is the one valid then.
                None: when the worker applies the debit.
            metadata: A JSON object of at most 2,048 bytes, kept with the ledger entry.

        Returns:
            The key.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was written.

        Example:
            ```python
            with transaction.atomic():
                job.finish(text)
                client.debit_in(
                    connection, job.account_id, "content_generation", units=job.words, key=job.key
                )
                transaction.on_commit(client.ring, robust=True)
            ```
        """
        debit = Debit(
            account_id, operation, key=key, units=units, happened_at=happened_at, metadata=metadata
        )
        inbox.leave(connection, [debit])
        return key

    def debit_many_in(self, connection: inbox.Connection, debits: Iterable[Debit]) -> int:
        """Debit many operations in the open transaction.

        Args:
            connection: A connection on which your transaction is open.
            debits: `billing_client.Debit` messages, each with its own key.

        Returns:
            The number of debits.
        """
        return inbox.leave(connection, debits)

    def place_hold(
        self,
        connection: inbox.Connection,
        account_id: int,
        operation: str,
        *,
        key: str,
        units: int = 1,
        ttl_s: int = DEFAULT_HOLD_S,
    ) -> inbox.Held:
        """Reserve what an operation will cost, before the work begins.

        The account's row stays locked until the transaction ends: commit before slow work. End the
        hold by `capture` or `release`, or by leaving a `Capture` in your transaction.

        Args:
            connection: A connection on which a transaction is open.
            account_id: The main app's id of the account.
            operation: The name of an operation that has a price.
            key: The hold's idempotency key, 1 to 200 characters. The same key gets the same
                answer while the hold lasts; a new attempt of the work needs a new key.
            units: The number of words, ideas or images to reserve for, 1 to 1,000,000.
            ttl_s: Seconds after which an unfinished hold expires and gives its credits back, 1 to
                86,400.

        Returns:
            The answer, true if the work may begin; else its `reason` says why not.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was written.

        Example:
            ```python
            with transaction.atomic():
                held = client.place_hold(
                    connection, 29, "content_generation", units=2000, key=job.key
                )
            if not held:
                return job.fail(held.reason)
            ```
        """
        message = PlaceHold(
            account_id=account_id, operation=operation, key=key, units=units, ttl_s=ttl_s
        )
        return inbox.place_hold(connection, message)
