"""The door as Stripe knocks on it: bodies with real signatures, received by the worker's own code."""

import datetime as dt
import json
from dataclasses import dataclass

from sqlalchemy import select

from billing.stripe.signature import sign
from billing_client.messages import StripeWebhook
from flows.stripe import apply as stripe_apply
from flows.stripe import receive as stripe_receive
from models.stripe import StripeEvent
from worker import clock
from worker.database import transaction

SECRET = "whsec_of_the_tests"
SECOND = dt.timedelta(seconds=1)


def body_of(payload) -> bytes:
    return json.dumps(payload).encode()


def webhook(body, *, secret=SECRET, age_s=0, signature=None) -> StripeWebhook:
    """A body as the relay passes it on, signed by `secret` so long before it was received."""
    received_at = clock.now()
    if signature is None:
        signature = sign(body, secret=secret, at=received_at - age_s * SECOND)
    return StripeWebhook(body.decode("utf-8", "surrogateescape"), signature, received_at)


def receive_one(hook):
    """Receive a webhook as a worker does that finds no others in its queue."""
    return stripe_apply.finish(stripe_receive.receive([hook]))[0]


@dataclass
class Door:
    """Receives webhooks, and tells what the inbox says of them."""

    def post(self, payload, **how) -> str:
        """Deliver a body or a payload; returns what became of it, as `state: reason`."""
        body = payload if isinstance(payload, bytes) else body_of(payload)
        outcome = receive_one(webhook(body, **how))
        return outcome.state if outcome.reason is None else f"{outcome.state}: {outcome.reason}"

    def rows(self) -> list[StripeEvent]:
        with transaction() as ctx:
            return list(ctx.session.scalars(select(StripeEvent).order_by(StripeEvent.id)))
