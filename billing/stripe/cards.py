"""The cards by which a customer shows himself: one trial for each (`billing.identity_rows`)."""

import datetime as dt

from sqlalchemy.orm import Session

from billing import identity_rows
from billing.identities import Identity
from billing.stripe.shapes import Charge, Facts, PaymentMethod


def show(
    session: Session, account_id: int, before: Facts | None, facts: Facts, *, now: dt.datetime
) -> None:
    """Record the card of a charge or a payment method that is new here.

    `before`: the state of the object that was known, if one was.
    """
    if before is None and isinstance(facts, Charge | PaymentMethod) and facts.card:
        card = Identity("card", bytes.fromhex(facts.card))
        identity_rows.record(session, {account_id: [card]}, now=now)
