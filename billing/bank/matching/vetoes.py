"""What turns any automatic decision into a person's: each in words, for the one who must decide."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from billing.bank.matching.names import folded, likeness
from billing.bank.matching.remittance import Said
from billing.bank.matching.types import Incoming, Invoice, OpenItems, Policy

#: The same payer, amount and reference within this is perhaps one payment sent twice.
DOUBLE_WITHIN = timedelta(days=10)

#: Names that share so many of a hundred words are one name; another's must be so much more like it.
SAME_NAME, MORE = 60, 30
#: A word that more customers bear says nothing.
MAX_BEARERS = 50


def of_transfer(incoming: Incoming, said: Said, policy: Policy) -> list[str]:
    """What stands against applying anything of this transfer, whatever it pays."""
    found = [*incoming.doubts, *said.at_odds]
    if incoming.amount_minor > policy.auto_limit_minor:
        found.append(f"more than the limit of {policy.auto_limit_minor} for automatic decisions")
    if said.speaks_of_return:
        found.append("the text speaks of a return, a reversal or a refund")
    return found


def of_match(incoming: Incoming, invoices: Sequence[Invoice], open_items: OpenItems) -> list[str]:
    """What stands against paying these invoices, all of one account, with this transfer."""
    account_id = invoices[0].account_id
    found = []
    known = open_items.known_for(incoming.payer_iban)
    if known and account_id not in known:
        others = ", ".join(str(one) for one in sorted(known))
        found.append(f"the payer's IBAN is known to pay for account {others}")
    if not known and (other := _bearer_of_name(incoming, invoices[0], open_items)) is not None:
        found.append(f"the payer's name is that of account {other}, not of {account_id}")
    if incoming.virtual_owner not in {None, account_id}:
        found.append(f"it was received on the virtual IBAN of account {incoming.virtual_owner}")
    for invoice in invoices:
        if invoice.currency != incoming.currency:
            found.append(f"{invoice.number} is in {invoice.currency}, not {incoming.currency}")
        if invoice.is_contested:
            found.append(f"a dispute or credit note is open on {invoice.number}")
    # For an invoice that is closed that is no doubt: it is what a late rule keeps as credit.
    still_open = [invoice for invoice in invoices if invoice.is_open]
    if _was_sent_before(incoming, still_open, open_items):
        found.append("the same payer sent the same amount for the same invoice within 10 days")
    return found


def of_inexact(incoming: Incoming, invoice: Invoice, open_items: OpenItems) -> list[str]:
    """Money that is not what is open here, where all but the reference may point elsewhere.

    A payer who pays for others, such as an accountant, may have named the wrong one: then it is
    for a person if the payer pays for other customers too, or if the name is not this customer's
    and the amount is just what somebody else owes.
    """
    if invoice.is_open and incoming.amount_minor == invoice.due_minor:
        return []
    amount = (incoming.currency, incoming.amount_minor)
    fitting = {one.account_id for one in open_items.by_amount.get(amount, [])} - {
        invoice.account_id
    }
    others = open_items.known_for(incoming.payer_iban).keys() - {invoice.account_id}
    if fitting & others:
        other = min(fitting & others)
        return [f"the amount is just what is open of account {other}, for which this payer paid"]
    if others:
        return [f"it is not what is open, and the payer's IBAN pays for account {min(others)} too"]
    if not fitting or likeness(incoming.payer_name, invoice.names) >= SAME_NAME:
        return []
    return ["the amount is just what other customers owe, and the payer's name is not this one's"]


def _bearer_of_name(incoming: Incoming, invoice: Invoice, open_items: OpenItems) -> int | None:
    """Another customer that plainly bears the payer's name, and more so than this one."""
    words = folded(incoming.payer_name or "")
    if not words:
        return None
    enough = max(SAME_NAME, likeness(incoming.payer_name, invoice.names) + MORE)
    rarest = min((open_items.by_word.get(word, []) for word in words), key=len)
    for other in rarest[:MAX_BEARERS]:
        if likeness(incoming.payer_name, other.names) >= enough:
            return other.account_id
    return None


def _was_sent_before(
    incoming: Incoming, invoices: Iterable[Invoice], open_items: OpenItems
) -> bool:
    # A bank that names no payer may name none twice: then the same may be the same.
    alike = (incoming.payer_iban, incoming.amount_minor, incoming.currency)
    ids = {invoice.id for invoice in invoices}
    return any(
        ids & one.invoice_ids and abs(incoming.booking_date - one.booking_date) <= DOUBLE_WITHIN
        for one in open_items.earlier.get(alike, ())
    )
