"""Money that did not come by card: it is asked for until the invoice is settled.

Stripe tries again by itself; dunning asks the customer, and says how long access lasts.
"""

from sqlalchemy.orm import Session

from billing.context import Context
from billing.host import accounts, invoices
from billing.host.accounts import HostAccount
from billing.lifecycle.dunning import cases as dunning_cases
from billing.stripe import json_fields as read
from billing.stripe import object_rows
from billing.stripe.types import Charge, Invoice

#: Nobody owes an invoice in one of these states any more. What is paid stops it by landing.
NOT_OWED = frozenset({"void", "uncollectible", "deleted"})
#: Only who was let in, or is out for this very reason, is asked. The first payment of a new
#: subscription is no missing money: Stripe gives it up within a day.
ASKED = frozenset({"active", "suspended"})


def follow(ctx: Context, account: HostAccount, before: Invoice | None, invoice: Invoice) -> bool:
    """Open a case for an attempt that failed, and close it when the invoice is owed no more.

    Returns whether the account was asked for money, or may be.
    """
    has_failed = invoice.status == "open" and invoice.attempts > (before.attempts if before else 0)
    if not has_failed and invoice.status not in NOT_OWED:
        return False
    invoice_id = invoices.id_of(ctx.session, invoice.id)
    if invoice.status in NOT_OWED and invoice_id is not None:
        dunning_cases.stop(ctx, account.id, reason="written_off", invoice_id=invoice_id)
    status = accounts.lock(ctx.session, [account.id])[account.id].status
    if has_failed and status in ASKED and not account.is_system:
        next_at = invoice.next_attempt
        dunning_cases.open_case(
            ctx,
            account.id,
            cause="card_failed",
            invoice_id=invoice_id,
            decline_code=_decline(ctx.session, invoice),
            retry_at=read.moment(next_at) if next_at else None,
        )
    return has_failed


def _decline(session: Session, invoice: Invoice) -> str | None:
    """Why the newest charge of it that failed did, if Stripe has said so yet."""
    failed = [
        each
        for each in object_rows.of_payment(session, invoice.id)
        if isinstance(each, Charge) and each.status == "failed" and each.decline
    ]
    return failed[-1].decline if failed else None
