"""Typed messages to the billing worker, and the client that sends them."""

from billing_client.client import BillingClient
from billing_client.errors import InvalidField, InvalidMessage, MissingField, UnknownField
from billing_client.inbox import Held
from billing_client.keys import new_key
from billing_client.messages import (
    MESSAGES,
    ApplyStripeEvent,
    Capture,
    Debit,
    DebitMany,
    DrainInbox,
    Grant,
    Message,
    PlaceHold,
    Release,
    Reverse,
    SeedAccount,
    StripeWebhook,
)

__all__ = [
    "MESSAGES",
    "ApplyStripeEvent",
    "BillingClient",
    "Capture",
    "Debit",
    "DebitMany",
    "DrainInbox",
    "Grant",
    "Held",
    "InvalidField",
    "InvalidMessage",
    "Message",
    "MissingField",
    "PlaceHold",
    "Release",
    "Reverse",
    "SeedAccount",
    "StripeWebhook",
    "UnknownField",
    "new_key",
]
