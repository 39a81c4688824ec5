"""Fetch the current objects of events from Stripe, with this process's API key."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from billing.errors import BillingError, StripeAway
from billing.stripe import catalog
from billing.stripe.apply import Answer, Fetched, facts_of
from billing.stripe.errors import BadObject
from billing.stripe.events import Event
from billing.stripe.objects.cash_transaction import CashTransaction
from gateways.stripe_api import StripeGateway
from worker import clock
from worker.database import transaction
from worker.settings import settings

#: Stripe takes 25 reads a second in test mode, and 100 in live mode: docs.stripe.com/rate-limits
READS_AT_ONCE = 4


@cache
def gateway() -> StripeGateway | None:
    """The gateway to Stripe; None without an API key."""
    config = settings()
    if config.stripe_api_key is None:
        return None
    return StripeGateway(config.stripe_api_key.get_secret_value(), api_base=config.stripe_api_base)


def fetch(stripe: StripeGateway, kind: str, object_id: str) -> Fetched:
    """Fetch an object, and the prices that it names and that nothing known explains.

    Raises StripeAway or StripeRefused, and a BadObject for an object that can't be parsed.
    """
    at = clock.now()
    source = stripe.fetch(kind, object_id)
    if source is None:
        return Fetched(None, (), at)
    facts = facts_of(kind, source)
    with transaction() as ctx:
        unknown = catalog.unexplained(facts, catalog.load(ctx.session, [facts]))
    prices = [price for id_ in unknown if (price := stripe.fetch("price", id_)) is not None]
    return Fetched(source, prices, at)


def fetch_all(stripe: StripeGateway, events: Mapping[int, Event]) -> dict[int, Answer]:
    """Fetch the objects of many events, each object once, a few at a time.

    Once Stripe is away the rest is not asked, for the time-outs would add up: it has no answer.
    """
    is_away = threading.Event()
    by_object: dict[object, list[int]] = {}
    for number, event in events.items():
        is_apart = event.kind in (None, CashTransaction)
        name = number if is_apart else (event.kind, event.object.get("id"))
        by_object.setdefault(name, []).append(number)

    def ask(numbers: list[int]) -> dict[int, Answer]:
        if is_away.is_set():
            return {}
        try:
            return dict.fromkeys(numbers, fetch_of_event(stripe, events[numbers[0]]))
        except BadObject:
            return dict.fromkeys(numbers)
        except BillingError as error:
            if isinstance(error, StripeAway):
                is_away.set()
            return dict.fromkeys(numbers, error)

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        answers = list(pool.map(ask, by_object.values()))
    return {number: answer for group in answers for number, answer in group.items()}


def fetch_of_event(stripe: StripeGateway, event: Event) -> Fetched | None:
    """Fetch the event's object; None where there is nothing to ask.

    Raises as `fetch` does, and MissingObject.
    """
    if event.kind is None:
        return None
    if event.kind is not CashTransaction:
        return fetch(stripe, event.kind.KIND, event.object_id)
    # It never changes, and lives below its customer, which a thin event does not name.
    return Fetched(_snapshot(stripe, event), (), clock.now()) if event.is_thin else None


def _snapshot(stripe: StripeGateway, event: Event) -> Mapping[str, Any] | None:
    """The object in the snapshot event that Stripe made beside a thin one."""
    thin = stripe.fetch("v2_event", event.id) or {}
    snapshot_id = thin.get("snapshot_event")
    snapshot = stripe.fetch("event", snapshot_id) if snapshot_id else None
    return snapshot["data"]["object"] if snapshot else None
