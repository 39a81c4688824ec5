"""A transfer that waits for a person: why, and one event that says so."""

from billing.context import Context
from billing.events import outbox
from models.transfers import Transfer


def ask_a_person(ctx: Context, transfer: Transfer, why: str | None, *, rule: str) -> None:
    """Let a transfer wait, and leave `transfer.needs_review` the first time that it does.

    The transfer is locked and its decision is written down. The event is no account's, for whose
    money it is has to be found out.
    """
    is_news = transfer.state == "open"
    transfer.state, transfer.review = "waiting", why
    if is_news:
        payload: dict[str, object] = {
            "transfer_id": transfer.id,
            "currency": transfer.currency,
            "amount_minor": transfer.amount_minor,
            "version": transfer.version,
            "rule": rule,
            "why": why or "",
        }
        outbox.leave(ctx, "transfer.needs_review", account_id=None, payload=payload)
