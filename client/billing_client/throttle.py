"""A request limit for each account: a moving window in Redis that all processes share.

Needs an extra: `pip install "billing-client[throttle]"`. No other module imports this one.
"""

import datetime as dt
import logging
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from billing_client import fields, tls

try:
    import limits
    import redis
    from limits.errors import StorageError
    from limits.storage import RedisStorage
    from limits.strategies import MovingWindowRateLimiter
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise ImportError(
        "billing_client.throttle needs its extra: pip install 'billing-client[throttle]'"
    ) from error

#: The prefix of every key, so that the Redis may hold other data too.
KEY_PREFIX = "billing:throttle"
#: A throttle that delays requests by more is worse than none.
TIMEOUT_S = 0.25
#: Pause before a Redis that failed is used again; meanwhile every request is allowed.
REST_S = 5.0
#: The highest cost of a request; a larger number is a mistake.
MAX_COST = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The answer of the throttle; true only if the request may go on.

    Attributes:
        is_allowed: Whether the request is within the rate.
        remaining: The part of the rate that remains.
        reset_at: When the oldest request leaves the window.
        is_counted: False if Redis did not answer and the request was allowed without counting.
    """

    is_allowed: bool
    remaining: int
    reset_at: dt.datetime
    is_counted: bool = True

    def __bool__(self) -> bool:
        return self.is_allowed


class AccountThrottle:
    """A counter of each account's requests across processes. Make one and keep it.

    It fails open: while Redis is away, slow or full, every request is allowed, with one warning in
    the log every few seconds. A throttle must not take the product down.

    Example:
        ```python
        throttle = AccountThrottle("redis://redis:6379/1", rate="120/minute")
        if not throttle.allow(request.account.id):
            return HttpResponse(status=429)
        ```
    """

    def __init__(self, redis_url: str, rate: str = "120/minute") -> None:
        """Read the rate and connect lazily.

        Args:
            redis_url: The app's own Redis; not the worker's, which must never evict keys.
            rate: Such as `120/minute` or `10 per 5 minutes`.

        Raises:
            ValueError: The rate can't be read.
        """
        _parsed(rate)
        self._rate = rate
        timeouts: Any = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        # redis-py would retry for seconds.
        redis_url = tls.checked(redis_url)
        pool = redis.ConnectionPool.from_url(redis_url, retry=Retry(NoBackoff(), 0), **timeouts)
        storage = RedisStorage(
            redis_url, connection_pool=pool, key_prefix=KEY_PREFIX, wrap_exceptions=True
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._rests_until = 0.0

    def allow(self, account_id: int, cost: int = 1, *, rate: str | None = None) -> Allowed:
        """Count a request if it is within the account's rate, else refuse it.

        A refused request does not count.

        Args:
            account_id: The main app's id of the account.
            cost: The part of the rate that the request takes, 1 to 1,000,000.
            rate: The account's own rate, such as its plan's; None: the throttle's. Each rate has a
                window of its own.

        Returns:
            The answer, true if the request may go on.

        Raises:
            ValueError: The id, cost or rate is out of bounds.
        """
        fields.whole("account_id", account_id, low=1, high=fields.MAX_ID)
        fields.whole("cost", cost, low=1, high=MAX_COST)
        item = _parsed(rate or self._rate)
        if time.monotonic() >= self._rests_until:
            try:
                is_allowed = self._limiter.hit(item, str(account_id), cost=cost)
                stats = self._limiter.get_window_stats(item, str(account_id))
            except StorageError as error:
                self._rests_until = time.monotonic() + REST_S
                name = type(error.storage_error).__name__
                _log.warning("throttle allows all requests, Redis failed: %s", name)
            else:
                reset_at = dt.datetime.fromtimestamp(stats.reset_time, dt.UTC)
                return Allowed(is_allowed, max(stats.remaining, 0), reset_at)
        return Allowed(True, item.amount, dt.datetime.now(dt.UTC), is_counted=False)


@lru_cache(maxsize=256)
def _parsed(rate: str) -> limits.RateLimitItem:
    return limits.parse(rate)
