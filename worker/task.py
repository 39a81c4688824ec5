"""The base of every task: builds the message, decides what an error means, writes one log line.

Rejected, InvalidMessage     an answer: kept as a dead letter, not retried
TryLater, transient errors   retried with backoff and jitter, then kept as a dead letter
a locked account             retried likewise, more often: it waits in Redis and holds no process
any other error              a bug: logged with its traceback and kept as a dead letter
a killed process             retried a few times, then kept; at its time limit kept at once
"""

import random
import time
from typing import Any, ClassVar, NoReturn

import redis
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import Task, signals
from celery.exceptions import Reject

from billing.errors import BillingError, Rejected, TryLater
from billing.operations.dead_letters import DeadMessage
from billing.postgres import transient
from billing_client import InvalidMessage
from billing_client.client import HIDDEN
from billing_client.message import Message
from worker import dead_letters
from worker.database import task_lock_wait_ms
from worker.logs import logger
from worker.server_errors import sentence_of
from worker.settings import settings

log = logger(__name__)


#: Milliseconds that a task waits for a lock. A tick waits as long as the setting says: its sweeps
#: pass locked accounts over.
LOCK_WAIT_MS = 50
#: Retries of a task whose account stays locked, and the longest pause: half an hour in all.
LOCKED_RETRIES, LOCKED_BACKOFF_S = 200, 10


class Dead(Exception):
    """The end of a task for Celery's events: only the error's name, as its text may quote data."""

    #: So that the line of Celery's own about it is left out.
    is_logged = True


def is_transient(error: BaseException) -> bool:
    """Whether the next try may succeed."""
    errors = (TryLater, redis.ConnectionError, redis.TimeoutError)
    return isinstance(error, errors) or transient.is_transient(error)


class BillingTask(Task):  # type: ignore[type-arg]
    """A task that takes one typed message, or nothing.

    Attributes:
        message: The class of its message; None for a task without arguments.
        is_tick: Whether beat sends it. A tick is not retried: the next one follows anyway.
    """

    abstract = True
    typing = False
    Request = "worker.request:Request"
    message: ClassVar[type[Message] | None] = None
    is_tick: ClassVar[bool] = False
    #: Celery's retries of a task whose process was killed, and the seconds before each.
    max_retries = 2
    default_retry_delay = 5

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Do the work of one message; Flower shows the answer. Called by Celery."""
        began, about = time.monotonic(), {"task": self.name, "message_id": self.request.id}
        waits = task_lock_wait_ms.set(None if self.is_tick else LOCK_WAIT_MS)
        try:
            answer = self.run(*self._message(args, kwargs))
        except (Rejected, InvalidMessage) as error:
            self._die(error, kwargs)
        except Exception as error:
            if is_transient(error):
                self._try_later(error, kwargs)
            log.exception("task_broke", error=type(error).__name__, **about)
            self._die(error, kwargs)
        finally:
            task_lock_wait_ms.reset(waits)
        took_ms = round((time.monotonic() - began) * 1000, 1)
        # The answer under a name of its own: a field of it could be one of the logger's.
        log.info("task_done", **about, took_ms=took_ms, answer=answer or {})
        return answer

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Send a message; its contents stay out of events and logs."""
        options.update(argsrepr=HIDDEN, kwargsrepr=HIDDEN)
        return super().apply_async(*args, **options)

    def _message(self, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[Message, ...]:
        if args:
            raise InvalidMessage("args", f"must be empty: {self.name} takes keyword arguments only")
        if self.message is None:
            return ()
        return (self.message.from_arguments(kwargs),)

    def _try_later(self, error: Exception, kwargs: dict[str, object]) -> NoReturn:
        retries = self.request.retries or 0
        if self.is_tick:
            log.warning("tick_failed", task=self.name, **_named(error))
            raise Dead(type(error).__name__)
        config, is_held_up = settings(), transient.is_locked(error)
        if retries >= (LOCKED_RETRIES if is_held_up else config.max_retries):
            self._die(error, kwargs)
        longest = min(2**retries, LOCKED_BACKOFF_S if is_held_up else config.max_backoff_s)
        countdown = longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        about = {"task": self.name, "message_id": self.request.id} | _named(error)
        log.warning("task_delayed", **about, countdown_s=round(countdown, 1))
        end = Dead(type(error).__name__)
        try:
            # max_retries is a number because None would mean the class's own.
            raise self.retry(countdown=countdown, max_retries=retries + 1, exc=end)
        except Reject as not_sent:
            # Celery would drop this message because it can't send the retry.
            raise Reject(str(not_sent), requeue=True) from None

    def _die(self, error: Exception, kwargs: dict[str, object]) -> NoReturn:
        try:
            name = self.bury(error, kwargs, self.request.id or "")
        except redis.RedisError as redis_error:
            # Neither Postgres nor Redis took the dead letter, so the message is requeued.
            raise Reject(type(redis_error).__name__, requeue=True) from None
        raise Dead(name) from None

    def bury(self, error: Exception, kwargs: dict[str, object], message_id: str) -> str:
        """Keep a message as a dead letter; return the error's name."""
        name = error.name if isinstance(error, BillingError) else type(error).__name__
        dead_letters.keep(
            DeadMessage(
                # One dead letter for all failures of a tick, or a bug would fill the table.
                message_id=f"tick:{self.name}" if self.is_tick else message_id,
                error=name,
                reason=str(error),
                queue=(self.request.delivery_info or {}).get("routing_key"),
                task=self.name,
                arguments=kwargs,
                attempts=(self.request.retries or 0) + 1,
            )
        )
        log.warning("task_died", task=self.name, message_id=message_id, error=name)
        return name


def _named(error: BaseException) -> dict[str, str]:
    """Return an error's name and, if a server gave it, the server's words."""
    words = sentence_of(error)
    return {"error": type(error).__name__} | ({"reason": words} if words else {})


@signals.task_failure.connect
def _keep_killed(
    sender: Any, task_id: str, exception: Exception, kwargs: dict[str, object], **_: object
) -> None:
    """Keep what Celery acknowledges: tasks over their time limit, or killed too often."""
    if isinstance(exception, TimeLimitExceeded | WorkerLostError):
        sender.bury(exception, kwargs, task_id)
