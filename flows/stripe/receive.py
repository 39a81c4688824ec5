"""Receive Stripe's webhooks: each is verified, and a committed row before anything follows."""

import datetime as dt
from collections.abc import Sequence

from billing.errors import Rejected
from billing.postgres.transient import is_transient
from billing.stripe import events, inbox, signature
from billing.stripe.apply import apply_rows
from billing.stripe.errors import BodyTooLarge
from billing.stripe.events import Event, Guard
from billing.stripe.inbox import WAITING, Outcome, Received
from billing_client.messages import StripeWebhook
from flows.stripe import apply as stripe_apply
from flows.stripe import fetch as stripe_fetch
from worker.database import is_away, transaction
from worker.settings import settings

_SEEN_BEFORE = Outcome(None, "seen before")


def receive(webhooks: Sequence[StripeWebhook]) -> list[Outcome]:
    """Verify and store webhooks; without an API key, apply them in the same commit.

    Events that stay `WAITING` are left to `apply.finish`. Raises a transient error of Postgres;
    then nothing is stored but refused bodies.
    """
    outcomes: dict[int, Outcome] = {}
    received: dict[int, Received] = {}
    for place, webhook in enumerate(webhooks):
        try:
            received[place] = Received(_verified(webhook), webhook.received_at)
        except Rejected as error:
            outcomes[place] = _refuse(webhook, error)
    if received:
        stored = _store(list(received.values()))
        outcomes.update(zip(received, stored, strict=True))
    return [outcomes[place] for place in range(len(webhooks))]


def _verified(webhook: StripeWebhook) -> Event:
    """Verify and parse a webhook. Raises a SignatureRefused, an Unreadable or a BadObject."""
    config, body = settings(), webhook.body
    if len(body) > events.MAX_BODY_BYTES:
        raise BodyTooLarge(bytes=len(body), most=events.MAX_BODY_BYTES)
    signature.verify(
        body,
        webhook.signature,
        secrets=config.stripe_secrets,
        received_at=webhook.received_at,
        tolerance=dt.timedelta(seconds=config.stripe_tolerance_s),
    )
    return events.parse(body)


def _store(received: Sequence[Received]) -> list[Outcome]:
    if stripe_fetch.gateway() is not None:
        return _store_together(received, is_applied=False)
    try:
        return _store_together(received, is_applied=True)
    except Exception as error:
        if is_away(error) or (is_transient(error) and len(received) == 1):
            raise
        stripe_apply.log_broken(error, events=len(received))
    return _store_together(received, is_applied=False)


def _store_together(received: Sequence[Received], *, is_applied: bool) -> list[Outcome]:
    """Store events, and apply them, in one transaction; an error undoes both."""
    config = settings()
    lock_wait_ms = stripe_apply.LOCK_WAIT_MS if is_applied and len(received) > 1 else None
    with transaction(actor="stripe", lock_wait_ms=lock_wait_ms) as ctx:
        rows = inbox.store_all(ctx, received, source="webhook")
        new = [row for row in rows if row is not None]
        outcomes = {row.id: Outcome(row.id, WAITING) for row in new}
        if is_applied:
            ours = Guard(is_live=config.takes_live_events, stripe_account=config.stripe_account)
            outcomes = apply_rows(ctx, new, guard=ours, answers={})
    return [outcomes[row.id] if row is not None else _SEEN_BEFORE for row in rows]


def _refuse(webhook: StripeWebhook, error: Rejected) -> Outcome:
    with transaction() as ctx:
        number = inbox.refuse(
            ctx, webhook.body, error, source="webhook", received_at=webhook.received_at
        )
    return Outcome(number, "refused", error.name)
