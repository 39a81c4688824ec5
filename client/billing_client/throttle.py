"""How often an account may ask: a moving window in Redis that all the app's processes share.

Needs the extra: `pip install "billing-client[throttle]"`. Nothing else of the package imports it.
"""

import datetime as dt
import logging
import time
from dataclasses import dataclass
from functools import lru_cache

from billing_client import fields

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

#: What every key begins with, so that the Redis may serve others too.
KEY_PREFIX = "billing:throttle"
#: A throttle that makes requests wait for itself is worse than none.
TIMEOUT_S = 0.25
#: A Redis that failed is left alone for so long; meanwhile everything passes.
REST_S = 5.0
#: No request costs more; a larger number is a mistake.
MAX_COST = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The answer: `remaining` of the rate, and when the window's oldest request drops out of it.

    `is_counted` false: Redis was away, so that the request passed unseen.
    """

    is_allowed: bool
    remaining: int
    reset_at: dt.datetime
    is_counted: bool = True

    def __bool__(self) -> bool:
        return self.is_allowed


class AccountThrottle:
    """Counts what each account asks, in any process. Make one, and keep it.

    It fails open: with Redis away, slow or full every request passes, with one warning in the log
    each few seconds. A throttle protects the product; it must not take it down.
    """

    def __init__(self, redis_url: str, rate: str = "120/minute") -> None:
        """`rate`: such as `120/minute` or `10 per 5 minutes`. Raises ValueError if it is none."""
        _parsed(rate)
        self._rate = rate
        pool = redis.ConnectionPool.from_url(
            redis_url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # redis-py would try again for seconds.
            retry=Retry(NoBackoff(), 0),
        )
        storage = RedisStorage(
            redis_url, connection_pool=pool, key_prefix=KEY_PREFIX, wrap_exceptions=True
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._rests_until = 0.0

    def allow(self, account_id: int, cost: int = 1, *, rate: str | None = None) -> Allowed:
        """Count a request of `cost` if the account's rate has room for it, else refuse it.

        `rate` is the account's own, by its plan perhaps; each rate has a window of its own. What
        is refused does not count. Raises ValueError for a bad id, cost or rate.
        """
        fields.account_id(account_id)
        fields.whole("cost", cost, low=1, high=MAX_COST)
        item = _parsed(rate or self._rate)
        if time.monotonic() >= self._rests_until:
            try:
                is_allowed = self._limiter.hit(item, str(account_id), cost=cost)
                stats = self._limiter.get_window_stats(item, str(account_id))
            except StorageError as error:
                self._rests_until = time.monotonic() + REST_S
                _log.warning("throttle lets all pass: %s", type(error.storage_error).__name__)
            else:
                reset_at = dt.datetime.fromtimestamp(stats.reset_time, dt.UTC)
                return Allowed(is_allowed, max(stats.remaining, 0), reset_at)
        return Allowed(True, item.amount, dt.datetime.now(dt.UTC), is_counted=False)


@lru_cache(maxsize=256)
def _parsed(rate: str) -> limits.RateLimitItem:
    return limits.parse(rate)
