"""Events to the main app as signed webhooks, by the specification Standard Webhooks.

Source: https://www.standardwebhooks.com; its own library signs.
"""

import datetime as dt
import json
from collections.abc import Sequence

import urllib3
from standardwebhooks.webhooks import Webhook

from billing.errors import TryLater
from billing_client.events import Event

#: The specification recommends 15 to 30 seconds; a receiver should answer first and work later.
TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
NAME = "webhook"


class WebhookRefused(TryLater):
    """The receiver did not answer with a 2xx: `status`, or `error` if it was not reached."""


class Webhooks:
    """A sender of events to one URL, signed with each secret (two during a rotation)."""

    name = NAME

    def __init__(self, url: str, secrets: Sequence[str]) -> None:
        """`secrets`: `whsec_` and base64, as in the specification."""
        self._url = url
        self._signers = [Webhook(secret) for secret in secrets]
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=TIMEOUT_S)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False, maxsize=1)

    def send(self, event: Event, *, now: dt.datetime) -> None:
        """Post an event without following redirects. Raises WebhookRefused unless it gets a 2xx."""
        body = json.dumps(event.as_json(), separators=(",", ":"))
        message_id = f"evt_{event.id}"
        signatures = [
            signer.sign(msg_id=message_id, timestamp=now, data=body) for signer in self._signers
        ]
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        try:
            answer = self._pool.request(
                "POST", self._url, body=body.encode(), headers=headers, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise WebhookRefused(error=type(error).__name__, is_away=True) from None
        if not 200 <= answer.status < 300:
            raise WebhookRefused(status=answer.status)
