"""A paid Stripe invoice, posted to the relay with a signature, turns into credits once."""

import datetime as dt
import http.client
import json
import urllib.error
import urllib.request

from sqlalchemy import select

from billing.context import Context
from billing.stripe.signature import sign
from cli.demo.accounts import CARD_PAYER, CUSTOMER, status_and_credits
from cli.demo.stage import Outcome, Stage
from models.stripe import StripeEvent
from worker import clock
from worker.database import transaction

ABOUT = "The relay verifies a signed invoice.paid event and stores it; a worker applies it."
GENUINE, FORGED = "evt_demo_1", "evt_demo_2"
WRONG_SECRET = "whsec_of_somebody_else"  # noqa: S105 - no secret of anybody
#: Stripe repeats a webhook whose answer it did not get.
TIMES = 2
HTTP_TIMEOUT_S = 20.0
PRICE, AMOUNT_MINOR = "price_demo_starter", 8900
MONTH = dt.timedelta(days=30)


def run(stage: Stage) -> list[Outcome]:
    """Post a genuine webhook twice and a forged one, and read what became of them."""
    genuine, forged = invoice_paid(GENUINE), invoice_paid(FORGED)
    for _ in range(TIMES):
        _post(stage, genuine, secret=stage.webhook_secret)
        stage.settle()
    answer = _post(stage, forged, secret=WRONG_SECRET)
    with transaction() as ctx:
        paid = f"{_state(ctx, GENUINE)}: {status_and_credits(ctx, CARD_PAYER)}"
        refused = f"{answer}: {_state(ctx, FORGED)}"
    sent = f"{CARD_PAYER}: 89.00 USD paid, sent {TIMES} times"
    return [
        Outcome(sent, paid, "applied once: account active, 1,000 credits"),
        Outcome(
            f"{CARD_PAYER}: another, signature forged", refused, "400 BadSignature: not stored"
        ),
    ]


def _post(stage: Stage, payload: dict[str, object], *, secret: str) -> str:
    """Post as Stripe does; return the answer, such as `200 stored`."""
    body = json.dumps(payload).encode()
    signature = sign(body, secret=secret, at=clock.now())
    headers = {"Content-Type": "application/json", "Stripe-Signature": signature}
    request = urllib.request.Request(stage.relay_url, body, headers)  # noqa: S310 - our relay
    try:
        with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:  # noqa: S310
            return f"{answer.status} {answer.read().decode().strip()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode().strip()}"
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({error})"


def _state(ctx: Context, event_id: str) -> str:
    events = ctx.session.scalars(select(StripeEvent).where(StripeEvent.event_id == event_id)).all()
    if len(events) != 1:
        return f"stored {len(events)} times" if events else "not stored"
    [event] = events
    return "applied once" if event.state == "applied" else f"{event.state} ({event.reason})"


def invoice_paid(event_id: str) -> dict[str, object]:
    """Make the event: the demo's customer has paid a month of the Starter plan.

    Its shape, without the fields that we do not read, is Stripe's since 2025-03-31: https://docs.stripe.com/api/invoices/object
    """
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
        "created": int(clock.now().timestamp()),
        "currency": "usd",
        "customer": CUSTOMER,
        "lines": {"object": "list", "data": [_line(f"il_{id}")], "has_more": False},
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
