"""The base of every task: reads the message, decides what an error means, writes one log line.

a typed message  →  the task's own steps  →  done
Rejected, InvalidMessage    an answer: kept as a dead letter, not tried again
TryLater, a passing fault   a not-yet: tried again with backoff and jitter, then a dead letter
anything else               a bug: kept as a dead letter, and loud once
the process is killed       tried again a few times; then, and when it was for its time limit, kept
"""

import random
import time
from typing import Any, ClassVar, NoReturn

import redis
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import Task, signals
from celery.exceptions import Reject

from billing.errors import BillingError, Rejected, TryLater
from billing.operations.dead_letters import Letter
from billing_client import InvalidMessage
from billing_client.client import HIDDEN
from billing_client.message import Message
from worker import database, dead_letters
from worker.logs import logger
from worker.settings import settings

log = logger(__name__)


class Dead(Exception):
    """The task's end for Celery's events: the error's name alone; its text may tell too much."""


def is_transient(error: BaseException) -> bool:
    """Whether an error's cause may be gone at the next try."""
    passing = (TryLater, redis.ConnectionError, redis.TimeoutError)
    return isinstance(error, passing) or database.is_transient(error)


class BillingTask(Task):  # type: ignore[type-arg]
    """`message` is the type of the task's one argument, or None for a task without any."""

    abstract = True
    typing = False
    Request = "worker.request:Request"
    message: ClassVar[type[Message] | None] = None
    #: A tick of the timetable is not tried again, for the next one comes by itself.
    is_tick: ClassVar[bool] = False
    #: Celery's own, for a task whose process was killed: how often again, after how many seconds.
    max_retries = 3
    default_retry_delay = 5

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Do the work of one message; the answer is for Flower's eyes. Called by Celery."""
        began = time.monotonic()
        try:
            answer = self.run(*self._read(args, kwargs))
        except (Rejected, InvalidMessage) as error:
            self._die(error, kwargs)
        except Exception as error:
            if is_transient(error):
                self._try_later(error, kwargs)
            log.exception(
                "task_broke", task=self.name, message_id=self.request.id, error=type(error).__name__
            )
            self._die(error, kwargs)
        took_ms = round((time.monotonic() - began) * 1000, 1)
        log.info(
            "task_done",
            task=self.name,
            message_id=self.request.id,
            took_ms=took_ms,
            **(answer or {}),
        )
        return answer

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Send; the contents stay out of events and logs."""
        options.update(argsrepr=HIDDEN, kwargsrepr=HIDDEN)
        return super().apply_async(*args, **options)

    def _read(self, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[Message, ...]:
        if args:
            raise InvalidMessage("args", f"{self.name} takes keyword arguments only")
        if self.message is None:
            return ()
        return (self.message.from_arguments(kwargs),)

    def _try_later(self, error: Exception, kwargs: dict[str, object]) -> NoReturn:
        retries = self.request.retries or 0
        if self.is_tick:
            log.warning("tick_failed", task=self.name, error=type(error).__name__)
            raise Dead(type(error).__name__)
        if retries >= settings().max_retries:
            self._die(error, kwargs)
        longest = min(2**retries, settings().max_backoff_s)
        countdown = longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        log.warning(
            "task_waits",
            task=self.name,
            message_id=self.request.id,
            error=type(error).__name__,
            countdown_s=round(countdown, 1),
        )
        try:
            # A number, for None would be the class's own.
            raise self.retry(
                countdown=countdown, max_retries=retries + 1, exc=Dead(type(error).__name__)
            )
        except Reject as unsent:
            # Celery would throw the message away when it can't send the next one.
            raise Reject(str(unsent), requeue=True) from None

    def _die(self, error: Exception, kwargs: dict[str, object]) -> NoReturn:
        try:
            name = self.bury(error, kwargs, self.request.id or "")
        except redis.RedisError as away:
            # Neither Postgres nor Redis took the letter: the message stays a message.
            raise Reject(type(away).__name__, requeue=True) from None
        raise Dead(name) from None

    def bury(self, error: Exception, kwargs: dict[str, object], message_id: str) -> str:
        """Keep a message as a dead letter; returns the error's name."""
        name = error.name if isinstance(error, BillingError) else type(error).__name__
        dead_letters.keep(
            Letter(
                # One letter for all the ticks that break, or a bug would fill the table.
                message_id=f"tick:{self.name}" if self.is_tick else message_id,
                error=name,
                reason=str(error),
                queue=(self.request.delivery_info or {}).get("routing_key"),
                task=self.name,
                arguments=kwargs,
                attempts=(self.request.retries or 0) + 1,
            )
        )
        log.warning("task_dead", task=self.name, message_id=message_id, error=name)
        return name


@signals.task_failure.connect
def _keep_killed(
    sender: Any, task_id: str, exception: Exception, kwargs: dict[str, object], **_: object
) -> None:
    """Celery acknowledges a task that took too long, or whose process was killed too often."""
    if isinstance(exception, TimeLimitExceeded | WorkerLostError):
        sender.bury(exception, kwargs, task_id)
