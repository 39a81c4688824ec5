"""The Redis transport of our workers: kombu's, with the safe pop of `worker.transport.queues`.

It differs from kombu's in six ways (decisions 0002 and 0037):

- A message is popped and registered in one step.
- Its lease is renewed while a worker holds it (`leases`).
- A message that would crash a worker is quarantined.
- A message's arguments are hidden from events and logs, for every sender.
- An empty queue is polled with a pause, because Redis can't block and register in one step.
- A message that is to run later waits in Redis, not in a worker's memory: there a hundred of them
  would keep every other message out.
"""

import time
from queue import Empty
from typing import Any

from celery import current_app
from kombu.asynchronous import get_event_loop
from kombu.connection import Connection
from kombu.transport import redis as stock
from kombu.transport.virtual import QoS as PlainQoS

from billing.errors import Malformed
from billing_client.client import HIDDEN
from worker import clock
from worker.logs import logger
from worker.transport import envelope
from worker.transport import queues as redis_queues

log = logger(__name__)

#: Seconds between two polls of an idle worker. The debit reader blocks instead.
POLL_S = 0.05
#: The end of the names of queues that take replies to remote control.
PIDBOX = ".pidbox"
#: Errors of Celery's code for a message of an unexpected form.
_FORM_ERRORS = (TypeError, ValueError, AttributeError, ArithmeticError, LookupError)


class QoS(stock.QoS):
    """The messages that a worker has taken and not acknowledged."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Record a message; one that was popped by our script is registered already."""
        if delivery_tag in self.channel.registered:
            self.channel.registered.discard(delivery_tag)
            PlainQoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Requeue a message; one that can't be read is quarantined and holds up no other."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (ValueError, RecursionError) as error:
            log.warning("message_quarantined", problem=f"can't be requeued: {type(error).__name__}")
            with self.channel.conn_or_acquire(client) as redis:
                redis_queues.quarantine_held(redis, tag)

    def held(self) -> list[str]:
        """Return the delivery tags of the messages that this worker holds."""
        return list(self._delivered)


class Channel(stock.Channel):
    """A channel that loses no message between Redis and the worker, and survives malformed ones."""

    QoS = QoS
    #: Set in a worker's process. Other processes only read answers to remote control, which are not
    #: tasks, and have no event loop to poll with: they read as stock kombu does.
    takes_tasks = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.registered: set[str] = set()
        self._poll_at = 0.0
        self._polls_tasks = False
        super().__init__(*args, **kwargs)

    def _brpop_start(self, timeout: float | None = None) -> None:
        # The replies to a starting worker's `mingle` come on a queue too, and are no tasks.
        self._polls_tasks = self.takes_tasks and not any(map(_is_of_replies, self.active_queues))
        if not self._polls_tasks:
            super()._brpop_start(timeout)
            return
        if time.monotonic() < self._poll_at:
            return
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        lists = [self._q_for_pri(queue, pri) for pri in self.priority_steps for queue in queues]
        self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        self.client.connection.send_command(*redis_queues.pop_command(lists, 1))

    def _brpop_read(self, **options: Any) -> bool:
        if not self._polls_tasks:
            return bool(super()._brpop_read(**options))
        try:
            try:
                answer = self.client.parse_response(self.client.connection, "EVAL", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if not answer:
            self._pause()
            raise Empty
        for list_name, messages in redis_queues.messages_of(answer):
            queue = redis_queues.queue_of(list_name)
            self._queue_cycle.rotate(queue)
            for tag, raw in messages:
                self._deliver_raw(raw, tag, queue)
        return True

    def _pause(self) -> None:
        self._poll_at = time.monotonic() + POLL_S
        loop = get_event_loop()
        if loop is not None:
            loop.call_later(POLL_S, _wake)

    def _deliver_raw(self, raw: bytes, tag: str, queue: str) -> None:
        try:
            opened = envelope.read(raw, known_tasks=current_app.tasks)
        except Malformed as error:
            self._quarantine(raw, tag, queue, error.facts["problem"])
            return
        if opened.eta is not None and opened.eta > clock.now():
            with self.conn_or_acquire() as client:
                redis_queues.put_off(client, tag, until=opened.eta)
            return
        message = stock.loads(stock.bytes_to_str(raw))
        message["headers"].update(argsrepr=HIDDEN, kwargsrepr=HIDDEN)
        self.registered.add(tag)
        try:
            self.connection._deliver(message, queue)
        except _FORM_ERRORS as error:
            # Celery fails although the envelope is well-formed; it would fail in any worker.
            self._quarantine(raw, tag, queue, f"Celery can't read it: {type(error).__name__}")
            self.qos.ack(tag)

    def _do_restore_message(self, payload: Any, *args: Any, **kwargs: Any) -> None:
        """Requeue a message. Kombu would log and drop one that it can't mark as redelivered."""
        if not isinstance(payload, dict) or not isinstance(payload.get("headers"), dict):
            raise ValueError("no headers")  # noqa: TRY004 - restore_by_tag expects a ValueError
        super()._do_restore_message(payload, *args, **kwargs)

    def _quarantine(self, raw: bytes, tag: str, queue: str, problem: str) -> None:
        log.warning("message_quarantined", queue=queue, problem=problem)
        with self.conn_or_acquire() as client:
            redis_queues.quarantine(client, raw, tag)


def _is_of_replies(queue: str) -> bool:
    return queue.endswith(PIDBOX)


def _wake() -> None:
    """Do nothing: the timer itself makes the event loop poll the queues again."""


class Transport(stock.Transport):
    """kombu's Redis transport with our channel; named in `celeryconfig.broker_transport`."""

    Channel = Channel


#: The name under which our connections appear: Flower shows queue lengths only for names it knows.
Connection.resolve_aliases[f"{Transport.__module__}:{Transport.__name__}"] = "redis"
