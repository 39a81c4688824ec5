"""Why something about a transfer or its invoice is answered no; all of them are answers.

BankRejected
├── UnknownTransfer, UnknownInvoice     no such row
├── TransferChanged                     it is not what the person saw any more
├── NotAllowed                          the person may not decide this
├── PartsRefused                        the parts do not fit the transfer or the invoices
├── NothingToUndo                       nothing of the transfer is applied
├── PlanNotForSale                      no such plan, or one without a price
└── InvoicePartlyPaid                   an invoice that has money on it is not replaced
"""

from billing.errors import Rejected


class BankRejected(Rejected):
    """Something about a bank transfer that is answered no."""


class UnknownTransfer(BankRejected):
    """No transfer has this id."""


class UnknownInvoice(BankRejected):
    """No invoice of ours has this id."""


class TransferChanged(BankRejected):
    """The transfer is at `version`, not at the one that the person saw: look again."""


class NotAllowed(BankRejected):
    """The person may not decide about this transfer; `problem` says why."""


class PartsRefused(BankRejected):
    """The parts do not fit the transfer or the invoices; `problem` says why."""


class NothingToUndo(BankRejected):
    """Nothing of the transfer is applied."""


class PlanNotForSale(BankRejected):
    """There is no such plan, it is not active, or it has no price."""


class InvoicePartlyPaid(BankRejected):
    """The account's open invoice has money on it already; it is not replaced by another."""
