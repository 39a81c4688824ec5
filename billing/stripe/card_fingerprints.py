"""The cards by which a customer shows himself: one trial for each (`trials.fingerprint_rows`)."""

from collections.abc import Iterable

from billing.context import Context
from billing.lifecycle.trials import fingerprint_rows
from billing.lifecycle.trials.fingerprints import Fingerprint
from billing.stripe.types import Charge, Facts, PaymentMethod


def show(ctx: Context, new: Iterable[tuple[int, Facts]]) -> None:
    """Record the cards of charges and payment methods that are new here, by account."""
    cards: dict[int, list[Fingerprint]] = {}
    for account_id, facts in new:
        if isinstance(facts, Charge | PaymentMethod) and facts.card:
            card = Fingerprint("card", bytes.fromhex(facts.card))
            cards.setdefault(account_id, []).append(card)
    if cards:
        fingerprint_rows.record(ctx, cards)
