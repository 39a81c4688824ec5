"""The events of paid months of the bench's accounts, in order for each account, and mixed."""

import itertools
import json
import random
from collections.abc import Iterator

from bench.ground import ACCOUNTS
from tests.billing.stripe.writing import MONTH_S, Shop
from worker import clock

PLAN = "bench"
#: The events of one paid month, in order.
LIFE = (
    "customer.created",
    "customer.subscription.created",
    "invoice.created",
    "invoice.finalized",
    "payment_intent.succeeded",
    "invoice_payment.paid",
    "charge.succeeded",
    "invoice.paid",
    "invoice.payment_succeeded",
    "customer.subscription.updated",
)


def _life(name: str, number: int) -> list[dict[str, object]]:
    """Return the events of one paid month of one account, in the shapes since "basil"."""
    account_id = 1 + number % ACCOUNTS
    shop = Shop(
        now=int(clock.now().timestamp()),
        customer=f"cus_{account_id}",
        basil=True,
        names=(f"{name}_{number}_{index}" for index in itertools.count(1)),
    )
    price = plan_price()
    shop.event("customer.created", _customer(shop))
    subscription = shop.subscription(
        price,
        start=shop.now,
        end=shop.now + MONTH_S,
        id=f"sub_{name}_{number}",
        status="incomplete",
    )
    item = {"id": f"si_{name}_{number}", "subscription": subscription["id"]}
    subscription["items"]["data"][0].update(item)
    subscription["items"].update({"has_more": False, "url": "/v1/subscription_items"})
    shop.event("customer.subscription.created", subscription)
    invoice = shop.bills(
        price, start=shop.now, end=shop.now + MONTH_S, subscription=subscription["id"]
    )
    invoice["lines"]["url"] = f"/v1/invoices/{invoice['id']}/lines"
    charge = shop.pays(invoice)
    shop.event("payment_intent.succeeded", _intent(charge))
    paid = {"status": "active", "latest_invoice": invoice["id"]}
    shop.event("customer.subscription.updated", subscription | paid)
    return sorted(shop.events, key=lambda event: LIFE.index(event["type"]))


def plan_price() -> dict[str, object]:
    """Return the price that buys the bench's plan."""
    return Shop(now=0).price(PLAN)


def _customer(shop: Shop) -> dict[str, object]:
    return {
        "id": shop.customer,
        "object": "customer",
        "created": shop.now,
        "livemode": False,
        "metadata": {},
    }


def _intent(charge: dict[str, object]) -> dict[str, object]:
    return {
        "id": charge["payment_intent"],
        "object": "payment_intent",
        "amount": charge["amount"],
        "amount_received": charge["amount"],
        "created": charge["created"],
        "currency": charge["currency"],
        "customer": charge["customer"],
        "latest_charge": charge["id"],
        "livemode": False,
        "metadata": {},
        "status": "succeeded",
    }


def lives(name: str, months: int) -> Iterator[str]:
    """Yield the bodies of the events of this many paid months; `name` makes their ids unique.

    A month's events come in order; many months are mixed, as on a day of renewals.
    """
    mixed = [number for number in range(months) for _ in LIFE]
    random.Random(name).shuffle(mixed)
    running: dict[int, Iterator[dict[str, object]]] = {}
    for number in mixed:
        if number not in running:
            running[number] = iter(_life(name, number))
        yield json.dumps(next(running[number]))
