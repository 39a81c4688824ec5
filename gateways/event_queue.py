"""Events to the main app as Celery messages on a queue of its own."""

import datetime as dt

from kombu.exceptions import OperationalError

from billing.errors import TryLater
from billing_client.client import QUIET, sender
from billing_client.events import TASK, Event

NAME = "queue"


class QueueAway(TryLater):
    """The broker did not confirm the message."""


class EventQueue:
    """A sender of events to one queue: task `billing.receive_event`, argument `event`."""

    name = NAME

    def __init__(self, broker_url: str, queue: str) -> None:
        self._app = sender(broker_url)
        # Made here and not at the first event: several threads may send at once.
        self._app.amqp.producer_pool  # noqa: B018
        self._queue = queue

    def send(self, event: Event, *, now: dt.datetime) -> None:
        """Send an event. Raises QueueAway."""
        try:
            kwargs = {"event": event.as_json()}
            self._app.send_task(TASK, kwargs=kwargs, queue=self._queue, **QUIET)
        except OperationalError as error:
            raise QueueAway(error=type(error).__name__, is_away=True) from None
