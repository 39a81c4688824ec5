"""The errors of bank transfers and their invoices: each is an answer.

BankRejected
├── UnknownTransfer, UnknownInvoice     no such row
├── TransferChanged                     the transfer has changed since the reviewer saw it
├── NotAllowed                          the reviewer may not decide this
├── PartsRefused                        the parts do not fit the transfer or the invoices
├── NothingToUndo                       nothing of the transfer is applied
├── PlanNotForSale                      no such active plan, or a plan without a price
├── InvoicePartlyPaid                   an invoice with money on it can't be replaced
└── FileUnreadable                      a file of the drop folder can't be opened or moved
"""

from billing.errors import Rejected


class BankRejected(Rejected):
    """The request about a bank transfer was rejected."""


class UnknownTransfer(BankRejected):
    """No transfer has the id {transfer_id}."""


class UnknownInvoice(BankRejected):
    """No invoice for bank transfers has this id or number."""


class TransferChanged(BankRejected):
    """Transfer {transfer_id} has changed and is at version {version}; look at it again."""


class NotAllowed(BankRejected):
    """This user may not decide about the transfer: {problem}."""


class PartsRefused(BankRejected):
    """The transfer can't be applied like this: {problem}."""


class NothingToUndo(BankRejected):
    """Transfer {transfer_id} is {state}; there is nothing to undo."""


class PlanNotForSale(BankRejected):
    """Plan {plan_id} can't be invoiced: it does not exist, is not active, or has no price."""


class InvoicePartlyPaid(BankRejected):
    """Account {account_id} has paid part of invoice {number}, so it can't be replaced."""


class FileUnreadable(BankRejected):
    """The file {name} of the drop folder can't be opened, read or moved: {problem}."""
