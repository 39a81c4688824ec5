"""The door of Stripe's webhooks: each is verified, and a committed row before anything follows."""

import datetime as dt
from collections.abc import Sequence

from billing.errors import Rejected
from billing.stripe import events, signature, store_event
from billing.stripe.apply_batch import Taken
from billing.stripe.errors import BodyTooLarge
from billing.stripe.events import Event
from billing.stripe.store_event import Arrived
from billing_client.messages import StripeWebhook
from flows.stripe import apply as stripe_apply
from flows.stripe import fetch as stripe_fetch
from flows.stripe.apply import Outcome
from worker.database import is_away, is_transient, transaction
from worker.settings import settings

_SEEN = Outcome(None, "seen before")


def receive(webhook: StripeWebhook) -> Outcome:
    """Verify a webhook and keep it, refused or not; apply it at once.

    Raises a passing fault of the database; then nothing was kept, and the message comes again.
    """
    return stripe_apply.finish(take_in([webhook]))[0]


def take_in(webhooks: Sequence[StripeWebhook]) -> list[Outcome]:
    """Verify webhooks and keep them; once this returns, each is a committed row.

    Where nothing is to be asked of Stripe, what is usual is applied in the same commit; the others
    are `WAITING`, and `stripe_events.finish` applies them. Raises as `receive`, and then nothing
    was kept but what was refused.
    """
    outcomes: dict[int, Outcome] = {}
    arrived: dict[int, Arrived] = {}
    for place, webhook in enumerate(webhooks):
        try:
            arrived[place] = Arrived(verified(webhook), webhook.received_at)
        except Rejected as error:
            outcomes[place] = _refuse(webhook, error)
    if arrived:
        kept = _keep(list(arrived.values()))
        outcomes.update(zip(arrived, kept, strict=True))
    return [outcomes[place] for place in range(len(webhooks))]


def _keep(arrived: Sequence[Arrived]) -> list[Outcome]:
    if stripe_fetch.gateway() is None:
        try:
            return _keep_in_one(arrived, is_applied=True)
        except Rejected:
            pass  # what is wrong with one of them is met again, and written down
        except Exception as error:
            if is_away(error) or (is_transient(error) and len(arrived) == 1):
                raise
            stripe_apply.log_broken(error, events=len(arrived))
    return _keep_in_one(arrived, is_applied=False)


def _keep_in_one(arrived: Sequence[Arrived], *, is_applied: bool) -> list[Outcome]:
    """Keep events, and apply what is usual, in one transaction; an error takes all back."""
    with transaction() as ctx:
        rows = store_event.keep_all(ctx, arrived, source="webhook")
        if is_applied:
            taken = [Taken(row) for row in rows if row is not None]
            stripe_apply.apply_in(ctx, taken)
    return [stripe_apply.outcome_of(row) if row is not None else _SEEN for row in rows]


def verified(webhook: StripeWebhook) -> Event:
    """The event of a webhook. Raises a SignatureRefused, an Unreadable or a BadObject."""
    config = settings()
    if len(webhook.body) > events.MAX_BODY_BYTES:
        raise BodyTooLarge(bytes=len(webhook.body), most=events.MAX_BODY_BYTES)
    signature.verify(
        webhook.body,
        webhook.signature,
        secrets=config.stripe_secrets,
        received_at=webhook.received_at,
        tolerance=dt.timedelta(seconds=config.stripe_tolerance_s),
    )
    return events.parse(webhook.body)


def _refuse(webhook: StripeWebhook, error: Rejected) -> Outcome:
    with transaction() as ctx:
        number = store_event.refuse(
            ctx, webhook.body, error, source="webhook", received_at=webhook.received_at
        )
    return Outcome(number, "refused", error.name)
