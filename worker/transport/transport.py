"""The Redis transport of our workers: kombu's, taking messages as `worker.transport.queues` does.

It differs from stock in five ways (docs/decisions/0002): a message is popped and registered in
one step; its lease is renewed while a worker holds it (`leases`); a message that a worker
could not survive is set aside; what onlookers see of a message is hidden, whoever sent it; and an
empty queue is asked again after a pause instead of with a blocking pop, for Redis can't block and
register at once.
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
from worker.logs import logger
from worker.transport import envelope
from worker.transport import queues as redis_queues

log = logger(__name__)

#: How long an idle worker waits before it asks again; debits have a reader that does not wait.
IDLE_S = 0.05
#: What Celery's code raises over a message of a shape that it did not expect.
_MISSHAPEN = (TypeError, ValueError, AttributeError, ArithmeticError, LookupError)


class QoS(stock.QoS):
    """What a worker has taken and not yet acknowledged."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a message; one that the channel has registered needs no second registration."""
        if delivery_tag in self.channel.registered:
            self.channel.registered.discard(delivery_tag)
            PlainQoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back; one that can't be read is set aside, and holds up no other."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (ValueError, RecursionError) as error:
            log.warning("message_quarantined", problem=f"can't be restored: {type(error).__name__}")
            with self.channel.conn_or_acquire(client) as redis:
                redis_queues.quarantine_held(redis, tag)

    def held(self) -> list[str]:
        """The delivery tags of the messages that this worker holds."""
        return list(self._delivered)


class Channel(stock.Channel):
    """A channel that loses no message between Redis and the worker, and outlives the bad ones."""

    QoS = QoS
    #: Set in a worker's process. Another one only waits for answers to its remote control, which
    #: are no tasks, and has no timer to ask again with: it asks as stock does.
    takes_tasks = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.registered: set[str] = set()
        self._ask_again_at = 0.0
        super().__init__(*args, **kwargs)

    def _brpop_start(self, timeout: float | None = None) -> None:
        if not self.takes_tasks:
            super()._brpop_start(timeout)
            return
        if time.monotonic() < self._ask_again_at:
            return
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        lists = [self._q_for_pri(queue, pri) for pri in self.priority_steps for queue in queues]
        self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        self.client.connection.send_command(*redis_queues.pop_command(lists, 1))

    def _brpop_read(self, **options: Any) -> bool:
        if not self.takes_tasks:
            return bool(super()._brpop_read(**options))
        try:
            try:
                taken = self.client.parse_response(self.client.connection, "EVAL", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if not taken:
            self._pause()
            raise Empty
        for list_name, messages in redis_queues.messages_of(taken):
            queue = redis_queues.queue_of(list_name)
            self._queue_cycle.rotate(queue)
            for tag, raw in messages:
                self._hand_over(raw, tag, queue)
        return True

    def _pause(self) -> None:
        self._ask_again_at = time.monotonic() + IDLE_S
        loop = get_event_loop()
        if loop is not None:
            loop.call_later(IDLE_S, _wake)

    def _hand_over(self, raw: bytes, tag: str, queue: str) -> None:
        try:
            envelope.read(raw, known_tasks=current_app.tasks)
        except Malformed as error:
            self._quarantine(raw, tag, queue, error.facts["problem"])
            return
        message = stock.loads(stock.bytes_to_str(raw))
        message["headers"].update(argsrepr=HIDDEN, kwargsrepr=HIDDEN)
        self.registered.add(tag)
        try:
            self.connection._deliver(message, queue)
        except _MISSHAPEN as error:
            # The envelope was well-formed, and Celery stumbled all the same: the next worker would.
            self._quarantine(raw, tag, queue, f"Celery can't read it: {type(error).__name__}")
            self.qos.ack(tag)

    def _do_restore_message(self, payload: Any, *args: Any, **kwargs: Any) -> None:
        """Put a message back; what kombu can't mark as redelivered it would log whole and drop."""
        if not isinstance(payload, dict) or not isinstance(payload.get("headers"), dict):
            raise ValueError("no headers")  # noqa: TRY004 - what a sweep takes for unreadable
        super()._do_restore_message(payload, *args, **kwargs)

    def _quarantine(self, raw: bytes, tag: str, queue: str, problem: str) -> None:
        log.warning("message_quarantined", queue=queue, problem=problem)
        with self.conn_or_acquire() as client:
            redis_queues.quarantine(client, raw, tag)


def _wake() -> None:
    """Nothing: that a timer fires makes the event loop ask the queues again."""


class Transport(stock.Transport):
    """kombu's Redis transport with our channel; named in `celeryconfig.broker_transport`."""

    Channel = Channel


#: How a connection of ours shows itself: Flower asks a broker of this name how long its queues are,
#: and has no answer for a name that it does not know.
Connection.resolve_aliases[f"{Transport.__module__}:{Transport.__name__}"] = "redis"
