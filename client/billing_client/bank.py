"""The messages about bank transfers: statement files, announcements and reviewers' decisions."""

from dataclasses import dataclass
from typing import ClassVar

from billing_client import fields as check
from billing_client.message import Message

#: The most months that one invoice may pay for.
MAX_MONTHS = 12


@dataclass(frozen=True, slots=True)
class ImportStatement(Message):
    """Read a statement file that is stored in the database under `file_id`."""

    TASK: ClassVar[str] = "bank.import_statement"
    QUEUE: ClassVar[str] = "bank"

    file_id: int

    def __post_init__(self) -> None:
        check.whole("file_id", self.file_id, low=1, high=check.MAX_ID)


@dataclass(frozen=True, slots=True)
class AnnounceTransfer(Message):
    """Issue an invoice for an account that will pay for a plan by bank transfer.

    `months`: how many the invoice pays for, 1 to 12. The same key makes one invoice.
    """

    TASK: ClassVar[str] = "bank.announce_transfer"
    QUEUE: ClassVar[str] = "bank"

    account_id: int
    plan_id: int
    key: str
    months: int = 1

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        check.whole("plan_id", self.plan_id, low=1, high=check.MAX_ID)
        check.key(self.key)
        check.whole("months", self.months, low=1, high=MAX_MONTHS)


@dataclass(frozen=True, slots=True)
class ConfirmTransfer(Message):
    """Apply a reviewer's decision that a transfer pays an invoice of the main app.

    `version`: the transfer's version that the reviewer saw; if it has changed since, the decision
    is refused. `user_id`: the reviewer, a developer or superuser who does not belong to the
    account.
    """

    TASK: ClassVar[str] = "bank.confirm_transfer"
    QUEUE: ClassVar[str] = "bank"

    transfer_id: int
    version: int
    invoice_id: int
    user_id: int

    def __post_init__(self) -> None:
        _check_decision(self)
        check.whole("invoice_id", self.invoice_id, low=1, high=check.MAX_ID)


@dataclass(frozen=True, slots=True)
class RejectTransfer(Message):
    """Apply a reviewer's decision that a suggested match is wrong; the transfer waits again."""

    TASK: ClassVar[str] = "bank.reject_transfer"
    QUEUE: ClassVar[str] = "bank"

    transfer_id: int
    version: int
    user_id: int
    reason: str

    def __post_init__(self) -> None:
        _check_decision(self)
        check.text("reason", self.reason, longest=check.MAX_KEY_CHARACTERS)


def _check_decision(message: ConfirmTransfer | RejectTransfer) -> None:
    for name in ("transfer_id", "version", "user_id"):
        check.whole(name, getattr(message, name), low=1, high=check.MAX_ID)
