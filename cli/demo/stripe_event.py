"""An `invoice.paid` event in the shape that Stripe has sent since 2025-03-31.

https://docs.stripe.com/api/invoices/object
"""

import datetime as dt

from cli.demo.accounts import CUSTOMER
from worker import clock

PRICE, AMOUNT_MINOR = "price_demo_starter", 8900
MONTH = dt.timedelta(days=30)


def invoice_paid(event_id: str) -> dict[str, object]:
    """Make the event: the demo's customer has paid a month of the Starter plan."""
    return {
        "id": event_id,
        "object": "event",
        "api_version": "2025-03-31.basil",
        "created": int(clock.now().timestamp()),
        "data": {"object": _invoice(f"in_{event_id}")},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "invoice.paid",
    }


def _invoice(id: str) -> dict[str, object]:
    return {
        "id": id,
        "object": "invoice",
        "amount_due": AMOUNT_MINOR,
        "amount_paid": AMOUNT_MINOR,
        "attempt_count": 1,
        "billing_reason": "subscription_create",
        "created": int(clock.now().timestamp()),
        "currency": "usd",
        "customer": CUSTOMER,
        "due_date": None,
        "lines": {"object": "list", "data": [_line(f"il_{id}")], "has_more": False},
        "metadata": {},
        "next_payment_attempt": None,
        "number": "DEMO-0001",
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": "sub_demo", "metadata": {}},
        },
        "status": "paid",
        "total": AMOUNT_MINOR,
    }


def _line(id: str) -> dict[str, object]:
    now = clock.now()
    return {
        "id": id,
        "object": "line_item",
        "amount": AMOUNT_MINOR,
        "currency": "usd",
        "metadata": {},
        "parent": {
            "type": "subscription_item_details",
            "subscription_item_details": {"proration": False, "subscription": "sub_demo"},
        },
        "period": {"start": int(now.timestamp()), "end": int((now + MONTH).timestamp())},
        "pricing": {
            "type": "price_details",
            "price_details": {"price": PRICE, "product": "prod_demo_starter"},
            "unit_amount_decimal": str(AMOUNT_MINOR),
        },
        "quantity": 1,
    }
