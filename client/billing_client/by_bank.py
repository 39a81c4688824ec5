"""The methods of `BillingClient` about bank transfers: announce, import, confirm, reject."""

from abc import ABC, abstractmethod

from billing_client import statement_files
from billing_client.bank import AnnounceTransfer, ConfirmTransfer, ImportStatement, RejectTransfer
from billing_client.inbox import Connection
from billing_client.message import Message


class ByBank(ABC):
    """The part of `BillingClient` that is about bank transfers."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Send any message of `billing_client.messages`."""

    def announce_transfer(self, account_id: int, plan_id: int, *, key: str, months: int = 1) -> str:
        """Queue an invoice for an account that will pay for a plan by bank transfer.

        The invoice comes back as the event `invoice.issued`, with its reference, and the account
        becomes `pending_payment`.

        Args:
            account_id: The main app's id of the account.
            plan_id: The main app's id of the plan.
            key: The idempotency key, 1 to 200 characters; the same key makes one invoice.
            months: The number of months that the invoice pays for, 1 to 12.

        Returns:
            The key.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
        """
        self.send(AnnounceTransfer(account_id=account_id, plan_id=plan_id, key=key, months=months))
        return key

    def import_statement_in(
        self, connection: Connection, content: bytes, *, name: str, account: str | None = None
    ) -> int:
        """Store a bank's file in the open transaction. The same bytes are stored once.

        The worker reads it within a minute of the commit, or at once after `import_statement`.

        Args:
            connection: As for `debit_in`.
            content: The file as the bank sent it, 1 byte to 100 MB: camt, MT940, MT942, OFX, BAI2
                or CSV, also in a zip or gzip.
            name: The file's name, shown to reviewers.
            account: The number of the bank account, for a file that does not name it.

        Returns:
            The id of the file.

        Raises:
            InvalidField: The file is empty or too large; nothing was written.

        Example:
            ```python
            file_id = client.import_statement_in(connection, upload.read(), name=upload.name)
            connection.commit()
            client.import_statement(file_id)
            ```
        """
        return statement_files.leave(connection, content, name=name, account=account)

    def import_statement(self, file_id: int) -> None:
        """Queue reading a stored file at once. Call it after the commit.

        It only saves time: the worker looks for new files every minute.

        Args:
            file_id: The id that `import_statement_in` returned.

        Raises:
            InvalidMessage: `file_id` is out of bounds; nothing was sent.
        """
        self.send(ImportStatement(file_id=file_id))

    def confirm_transfer(
        self, transfer_id: int, invoice_id: int, *, version: int, user_id: int
    ) -> None:
        """Queue a reviewer's decision that a transfer pays an invoice.

        Args:
            transfer_id: The id of the transfer.
            invoice_id: The main app's id of the invoice.
            version: The transfer's version that the reviewer saw, as in `transfer.needs_review`.
                If the transfer has changed since, the decision is refused.
            user_id: The reviewer: a developer or superuser who does not belong to the account.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
        """
        self.send(
            ConfirmTransfer(
                transfer_id=transfer_id, version=version, invoice_id=invoice_id, user_id=user_id
            )
        )

    def reject_transfer(self, transfer_id: int, *, version: int, user_id: int, reason: str) -> None:
        """Queue a reviewer's decision that a suggested match is wrong.

        The transfer goes on waiting for another decision.

        Args:
            transfer_id: The id of the transfer.
            version: The transfer's version that the reviewer saw.
            user_id: The reviewer: a developer or superuser.
            reason: Why, 1 to 200 characters; kept with the decision.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
        """
        self.send(
            RejectTransfer(transfer_id=transfer_id, version=version, user_id=user_id, reason=reason)
        )
