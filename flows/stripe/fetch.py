"""This process's access to Stripe, as the settings say, and what is fetched with it."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

from billing.errors import BillingError, StripeAway
from billing.stripe import catalog
from billing.stripe.apply_one import Fetched
from billing.stripe.errors import BadObject
from billing.stripe.events import Event
from billing.stripe.parse import facts_of
from gateways.stripe_api import StripeGateway
from worker import clock
from worker.database import transaction
from worker.settings import settings

#: Stripe takes 25 reads a second in test mode, and 100 in live mode: docs.stripe.com/rate-limits
ASKED_AT_ONCE = 4


class Asked(NamedTuple):
    """What was fetched for events, by number: None where nothing was to ask; and what failed."""

    fetched: dict[int, Fetched | None]
    failed: dict[int, BillingError]


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
    with transaction() as ctx:
        known = catalog.load(ctx.session, catalog.prices_of(facts))
        unknown = catalog.unexplained(facts, known)
    prices = [price for each in unknown if (price := stripe.fetch("price", each)) is not None]
    return Fetched(found, prices, at)


def fetch_all(stripe: StripeGateway, wanted: Mapping[int, Event]) -> Asked:
    """What Stripe says now of many events' objects, each asked for once, a few at a time.

    Once Stripe is away no other is asked for: its time-outs would add up.
    """
    is_away = threading.Event()
    by_object: dict[object, list[int]] = {}
    for number, event in wanted.items():
        is_apart = event.kind is None or event.kind == "cash_transaction"
        name = number if is_apart else (event.kind, event.object.get("id"))
        by_object.setdefault(name, []).append(number)

    def ask(numbers: list[int]) -> Asked:
        if is_away.is_set():
            return Asked({}, {})
        try:
            return Asked(dict.fromkeys(numbers, fetch_of_event(stripe, wanted[numbers[0]])), {})
        except BillingError as error:
            if isinstance(error, StripeAway):
                is_away.set()
            if isinstance(error, BadObject):
                return Asked(dict.fromkeys(numbers), {})
            return Asked({}, dict.fromkeys(numbers, error))

    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        answers = list(pool.map(ask, by_object.values()))
    return Asked(
        {number: found for each in answers for number, found in each.fetched.items()},
        {number: error for each in answers for number, error in each.failed.items()},
    )


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
