"""A paid Stripe invoice, posted to the relay with a signature, turns into credits once."""

import http.client
import json
import urllib.error
import urllib.request

from sqlalchemy import select

from billing.context import Context
from billing.stripe.signature import sign
from cli.demo.accounts import CARD_PAYER, status_and_credits
from cli.demo.outcome import Outcome
from cli.demo.stage import Stage
from cli.demo.stripe_event import invoice_paid
from models.stripe import StripeEvent
from worker import clock
from worker.database import transaction

ABOUT = "The relay verifies a signed invoice.paid event and stores it; a worker applies it."
GENUINE, FORGED = "evt_demo_1", "evt_demo_2"
WRONG_SECRET = "whsec_of_somebody_else"  # noqa: S105 - no secret of anybody
#: Stripe repeats a webhook whose answer it did not get.
TIMES = 2
HTTP_TIMEOUT_S = 20.0


def run(stage: Stage) -> list[Outcome]:
    """Post a genuine webhook twice and a forged one, and read what became of them."""
    genuine, forged = invoice_paid(GENUINE), invoice_paid(FORGED)
    for _ in range(TIMES):
        _post(stage, genuine, secret=stage.webhook_secret)
        stage.settle()
    answer = _post(stage, forged, secret=WRONG_SECRET)
    with transaction() as ctx:
        return _outcomes(ctx, answer)


def _outcomes(ctx: Context, answer_to_forged: str) -> list[Outcome]:
    return [
        Outcome(
            f"{CARD_PAYER}: 89.00 USD paid, sent {TIMES} times",
            f"{_state(ctx, GENUINE)}: {status_and_credits(ctx, CARD_PAYER)}",
            "applied once: account active, 1,000 credits",
        ),
        Outcome(
            f"{CARD_PAYER}: another, signature forged",
            f"{answer_to_forged}: {_state(ctx, FORGED)}",
            "400 BadSignature: not stored",
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
