"""Typed messages to the billing worker and the client that sends them."""

from billing_client.access import Access, access
from billing_client.bank import AnnounceTransfer, ConfirmTransfer, ImportStatement, RejectTransfer
from billing_client.checkout import checkout_reference
from billing_client.client import BillingClient
from billing_client.errors import InvalidField, InvalidMessage, MissingField, UnknownField
from billing_client.events import Event
from billing_client.inbox import Held
from billing_client.keys import new_key
from billing_client.message import Message
from billing_client.messages import (
    MESSAGES,
    AnnounceCheckout,
    ApplyStripeEvent,
    Capture,
    Debit,
    DebitMany,
    DrainInbox,
    ExtendTrial,
    Grant,
    PaymentMethodChanged,
    PlaceHold,
    Release,
    RestoreTrial,
    Reverse,
    SeedAccount,
    StripeWebhook,
)

__all__ = [
    "MESSAGES",
    "Access",
    "AnnounceCheckout",
    "AnnounceTransfer",
    "ApplyStripeEvent",
    "BillingClient",
    "Capture",
    "ConfirmTransfer",
    "Debit",
    "DebitMany",
    "DrainInbox",
    "Event",
    "ExtendTrial",
    "Grant",
    "Held",
    "ImportStatement",
    "InvalidField",
    "InvalidMessage",
    "Message",
    "MissingField",
    "PaymentMethodChanged",
    "PlaceHold",
    "RejectTransfer",
    "Release",
    "RestoreTrial",
    "Reverse",
    "SeedAccount",
    "StripeWebhook",
    "UnknownField",
    "access",
    "checkout_reference",
    "new_key",
]
