"""The cards by which a customer shows himself: one trial for each (`trials.fingerprint_rows`)."""

import datetime as dt
from collections.abc import Iterable

from sqlalchemy.orm import Session

from billing.lifecycle.trials import fingerprint_rows
from billing.lifecycle.trials.fingerprints import Identity
from billing.stripe.types import Charge, Facts, PaymentMethod


def show(session: Session, new: Iterable[tuple[int, Facts]], *, now: dt.datetime) -> None:
    """Record the cards of charges and payment methods that are new here, by account."""
    cards: dict[int, list[Identity]] = {}
    for account_id, facts in new:
        if isinstance(facts, Charge | PaymentMethod) and facts.card:
            card = Identity("card", bytes.fromhex(facts.card))
            cards.setdefault(account_id, []).append(card)
    if cards:
        fingerprint_rows.record(session, cards, now=now)
