"""Events to the main app as Celery messages on a queue of its own."""

import datetime as dt

from kombu.exceptions import OperationalError

from billing.errors import TryLater
from billing_client.client import HIDDEN, sender
from billing_client.events import TASK, Event

NAME = "queue"


class QueueAway(TryLater):
    """The broker did not confirm the message."""


class EventQueue:
    """A sender of events to one queue: task `billing.receive_event`, argument `event`."""

    name = NAME

    def __init__(self, broker_url: str, queue: str) -> None:
        self._app = sender(broker_url)
        self._queue = queue

    def send(self, event: Event, *, now: dt.datetime) -> None:
        """Send an event. Raises QueueAway."""
        try:
            self._app.send_task(
                TASK,
                kwargs={"event": event.as_json()},
                queue=self._queue,
                ignore_result=True,
                argsrepr=HIDDEN,
                kwargsrepr=HIDDEN,
            )
        except OperationalError as error:
            raise QueueAway(error=type(error).__name__, is_away=True) from None
