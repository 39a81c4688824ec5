"""What the client does about money that comes by bank: announce, import, confirm, reject."""

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
        """Queue that the account will pay for a plan by bank transfer; returns the key.

        It makes an invoice of `months` (1 to 12), which comes back as `invoice.issued` with its
        reference; the same key makes one. Raises InvalidMessage before sending.
        """
        self.send(AnnounceTransfer(account_id=account_id, plan_id=plan_id, key=key, months=months))
        return key

    def import_statement_in(
        self, connection: Connection, content: bytes, *, name: str, account: str | None = None
    ) -> int:
        """Leave a bank's file in the transaction that is open on `connection`; returns its id.

        `content`: its bytes as the bank sent them (up to 100 MB): camt, MT940, MT942, OFX, BAI2 or
        CSV, also in a zip or gzip. `name` is for people. `account`: the number of the account for a
        file that does not say it. The same bytes are kept once. Call `import_statement` with the id
        after the commit, to have it read at once. Raises InvalidField.
        """
        return statement_files.leave(connection, content, name=name, account=account)

    def import_statement(self, file_id: int) -> None:
        """Queue reading a file that is in the database; call it after the commit.

        Nothing is lost if this is: the worker looks for files by itself every minute.
        """
        self.send(ImportStatement(file_id=file_id))

    def confirm_transfer(
        self, transfer_id: int, invoice_id: int, *, version: int, user_id: int
    ) -> None:
        """Queue a person's word that a transfer pays this invoice of the main app's.

        `version`: as they saw it, or as `transfer.needs_review` told it; if the transfer has
        changed since, nothing happens and a refusal says so. `user_id` must be of a developer or
        superuser, and the account none of theirs. Raises InvalidMessage.
        """
        self.send(
            ConfirmTransfer(
                transfer_id=transfer_id, version=version, invoice_id=invoice_id, user_id=user_id
            )
        )

    def reject_transfer(self, transfer_id: int, *, version: int, user_id: int, reason: str) -> None:
        """Queue a person's word that a transfer is not what was suggested. Raises InvalidMessage.

        `reason` (up to 200 characters) is kept; the transfer waits for another decision.
        """
        self.send(
            RejectTransfer(transfer_id=transfer_id, version=version, user_id=user_id, reason=reason)
        )
