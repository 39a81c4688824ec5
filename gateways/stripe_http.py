"""The SDK's HTTP client with patience: time-outs, and a bounded number of tries, 429 among them.

The SDK by itself waits 80 seconds, and never tries again what Stripe throttled. All that we send
are reads, which are harmless to repeat.
"""

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import stripe

#: To connect, and to read: Stripe answers a read in well under a second.
TIMEOUT_S = 10.0
#: With the pauses between them well within a task's soft time limit.
TRIES = 4
#: Doubled from try to try, less up to a half as jitter, so that workers do not come back at once.
FIRST_PAUSE_S = 0.5
#: A longer pause, also one that Stripe asks for, is the queue's business: there no worker waits.
MAX_PAUSE_S = 8.0

#: 409: another request holds the object; 429: too many requests, or a lock not had in time.
#: https://docs.stripe.com/rate-limits
_PASSING = frozenset({409, 429})

_Answer = tuple[bytes, int, Mapping[str, str]]


def is_transient(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the same request may well succeed in a while."""
    advice = headers.get("Stripe-Should-Retry")
    if advice in {"true", "false"}:
        return advice == "true"
    return status in _PASSING or status >= 500


class PatientClient(stripe.RequestsClient):
    """Gives each request several tries. `sleep` is told the seconds between two of them."""

    def __init__(
        self, *, sleep: Callable[[float], None] = time.sleep, timeout_s: float = TIMEOUT_S
    ) -> None:
        super().__init__(timeout=(timeout_s, timeout_s))
        self._sleep = sleep

    def request(  # type: ignore[override]  # as the SDK's own does: bytes, no `_usage`
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> _Answer:
        """The last answer; raises the SDK's APIConnectionError if the last try brought none."""
        for tried in range(1, TRIES):
            pause = FIRST_PAUSE_S * 2 ** (tried - 1) * random.uniform(0.5, 1.0)  # noqa: S311
            try:
                answer = super().request(method, url, headers, post_data)
            except stripe.APIConnectionError as error:
                if not error.should_retry:
                    raise
            else:
                _, status, answered = answer
                pause = max(pause, asked_pause(answered))
                if not is_transient(status, answered) or pause > MAX_PAUSE_S:
                    return answer
            self._sleep(pause)
        return super().request(method, url, headers, post_data)


def asked_pause(headers: Mapping[str, str]) -> float:
    """The seconds of Retry-After, 0 without one. As a date, which Stripe never sends, it is 0."""
    asked = headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() else 0.0
