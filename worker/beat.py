"""Beat's sign of life: the time of its last tick, in Redis.

Beat sends a tick every 5 seconds or more often, so a silent beat is stopped, or can't reach Redis.
"""

import redis
from celery import signals

from worker import clock
from worker.logs import logger
from worker.transport import queues

log = logger(__name__)

KEY = "billing.beat"
#: A beat that sent nothing for so many seconds counts as dead.
SILENT_AFTER_S = 30.0


def begin(**_: object) -> None:
    """Note each tick from now on. Called by Celery when beat starts."""
    signals.after_task_publish.connect(note, weak=False)


def note(**_: object) -> None:
    """Store the time of a tick. Called after beat has sent one."""
    try:
        queues.connection().set(KEY, clock.now().timestamp())
    except redis.RedisError as error:
        log.warning("beat_not_noted", error=type(error).__name__)


def silent_s(client: "queues.Redis") -> float | None:
    """Return the seconds since beat's last tick; None if it never sent one to this Redis."""
    noted = client.get(KEY)
    return None if noted is None else max(clock.now().timestamp() - float(noted), 0.0)
