"""The messages about bank transfers: statement files, announcements and reviewers' decisions."""

from functools import partial
from typing import Annotated

from billing_client.fields import Id, Key, Reason, whole
from billing_client.message import Message

#: The most months that one invoice may pay for.
MAX_MONTHS = 12


class ImportStatement(Message, task="bank.import_statement", queue="bank"):
    """Read a statement file that is stored in the database under `file_id`."""

    file_id: Id


class AnnounceTransfer(Message, task="bank.announce_transfer", queue="bank"):
    """Issue an invoice for an account that will pay for a plan by bank transfer.

    `months`: how many the invoice pays for, 1 to 12. The same key makes one invoice.
    """

    account_id: Id
    plan_id: Id
    key: Key
    months: Annotated[int, partial(whole, low=1, high=MAX_MONTHS)] = 1


class ConfirmTransfer(Message, task="bank.confirm_transfer", queue="bank"):
    """Apply a reviewer's decision that a transfer pays an invoice of the main app.

    `version`: the transfer's version that the reviewer saw; if it has changed since, the decision
    is refused. `user_id`: the reviewer, a developer or superuser who does not belong to the
    account.
    """

    transfer_id: Id
    version: Id
    invoice_id: Id
    user_id: Id


class RejectTransfer(Message, task="bank.reject_transfer", queue="bank"):
    """Apply a reviewer's decision that a suggested match is wrong; the transfer waits again."""

    transfer_id: Id
    version: Id
    user_id: Id
    reason: Reason
