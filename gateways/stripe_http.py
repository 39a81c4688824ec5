"""The SDK's HTTP client with time-outs and a bounded number of retries, also on 429.

The SDK itself waits 80 seconds and never retries a throttled request. We only send reads, which are
harmless to repeat.
"""

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import stripe

#: For connecting and for reading; Stripe usually answers a read in well under a second.
TIMEOUT_S = 10.0
#: With the pauses between them they stay well within a task's soft time limit.
TRIES = 4
#: Doubles with each try, minus up to half as jitter, so that workers do not retry together.
FIRST_PAUSE_S = 0.5
#: A longer pause, also one that Stripe requests, is left to the queue, where no worker waits.
MAX_PAUSE_S = 8.0

#: 409: another request has locked the object; 429: too many requests, or a lock time-out.
#: https://docs.stripe.com/rate-limits
_TRANSIENT = frozenset({409, 429})

_Answer = tuple[bytes, int, Mapping[str, str]]


def is_transient(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the same request may succeed later."""
    advice = headers.get("Stripe-Should-Retry")
    if advice in {"true", "false"}:
        return advice == "true"
    return status in _TRANSIENT or status >= 500


class PatientClient(stripe.RequestsClient):
    """An HTTP client that retries. `sleep` waits the given seconds between two tries."""

    def __init__(
        self, *, sleep: Callable[[float], None] = time.sleep, timeout_s: float = TIMEOUT_S
    ) -> None:
        super().__init__(timeout=(timeout_s, timeout_s))
        self._sleep = sleep

    def request(  # type: ignore[override]  # as the SDK's own does: bytes, no `_usage`
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> _Answer:
        """Return the last answer. Raises the SDK's APIConnectionError if the last try got none."""
        for attempt in range(1, TRIES):
            pause = FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311
            try:
                answer = super().request(method, url, headers, post_data)
            except stripe.APIConnectionError as error:
                if not error.should_retry:
                    raise
            else:
                _, status, answer_headers = answer
                pause = max(pause, requested_pause(answer_headers))
                if not is_transient(status, answer_headers) or pause > MAX_PAUSE_S:
                    return answer
            self._sleep(pause)
        return super().request(method, url, headers, post_data)


def requested_pause(headers: Mapping[str, str]) -> float:
    """Return the seconds of Retry-After, 0 without one. Stripe never sends it as a date."""
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 0.0
