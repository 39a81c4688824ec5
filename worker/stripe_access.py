"""This process's access to Stripe, as the settings say, and what is fetched with it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from billing.stripe import catalog
from billing.stripe.events import Event
from billing.stripe.readers import facts_of
from billing.stripe.sync import Fetched
from gateways.stripe_api import StripeGateway
from worker import clock
from worker.database import transaction
from worker.settings import settings


@cache
def gateway() -> StripeGateway | None:
    """The gateway to Stripe; None where no API key is configured."""
    config = settings()
    if config.stripe_api_key is None:
        return None
    return StripeGateway(config.stripe_api_key.get_secret_value(), api_base=config.stripe_api_base)


def fetch(stripe: StripeGateway, kind: str, object_id: str) -> Fetched:
    """What Stripe says now of an object, and of prices that it only names.

    Raises StripeAway or StripeRefused, and a BadObject for an object that can't be read.
    """
    at = clock.now()
    found = stripe.fetch(kind, object_id)
    if found is None:
        return Fetched(None, (), at)
    facts = facts_of(kind, found)
    with transaction() as session:
        known = catalog.load(session, catalog.prices_of(facts))
        unknown = catalog.unexplained(facts, known)
    prices = [price for each in unknown if (price := stripe.fetch("price", each)) is not None]
    return Fetched(found, prices, at)


def fetch_of_event(stripe: StripeGateway, event: Event) -> Fetched | None:
    """What Stripe says now of the event's object; None where there is nothing to ask.

    Raises what `fetch` does, and MissingObject.
    """
    if event.kind is None:
        return None
    if event.kind != "cash_transaction":
        return fetch(stripe, event.kind, event.object_id)
    # It never changes, and lives below its customer, whom a thin event does not name.
    return Fetched(_snapshot(stripe, event), (), clock.now()) if event.is_thin else None


def _snapshot(stripe: StripeGateway, event: Event) -> Mapping[str, Any] | None:
    """The object as the event shows it that Stripe made beside a thin one."""
    whole = stripe.fetch("v2_event", event.id) or {}
    beside = whole.get("snapshot_event")
    snapshot = stripe.fetch("event", beside) if beside else None
    return snapshot["data"]["object"] if snapshot else None
