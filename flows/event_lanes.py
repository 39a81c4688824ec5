"""The lanes of a delivery: threads that send the events of many accounts at once.

Each account's events are sent by one lane at a time, in order.
"""

import datetime as dt
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, Self

from billing.errors import TryLater
from billing.events.deliveries import Outgoing
from billing_client.events import Event
from worker import clock
from worker.logs import logger

log = logger(__name__)

#: Events that are being sent at once, and so connections to the receiver. A receiver that takes
#: 50 ms gets up to 640 a second.
LANES = 32
#: Seconds for which outcomes are collected, so that many are recorded in one statement.
COLLECT_S = 0.1


class Channel(Protocol):
    """A channel to the main app, which several threads use at once."""

    name: str

    def send(self, event: Event, *, now: dt.datetime) -> None:
        """Send an event. Raises TryLater; the fact `is_away` says that no event can be sent."""


def by_account(claimed: Iterable[Outgoing]) -> list[list[Outgoing]]:
    """Split events by account, each account's in order; one without an account is on its own."""
    accounts: dict[object, list[Outgoing]] = {}
    for outgoing in claimed:
        account_id = outgoing.event.account_id or f"event {outgoing.event.id}"
        accounts.setdefault(account_id, []).append(outgoing)
    return list(accounts.values())


class Lanes:
    """Threads that send events until `deadline` (monotonic); what is not begun by then is left.

    A channel that is unavailable is not used again. `open` are the events that were added, and that
    `done` has not returned yet, by id.
    """

    def __init__(self, to: Sequence[Channel], *, deadline: float) -> None:
        self.open: dict[int, Outgoing] = {}
        self._to, self._deadline = to, deadline
        self._away: set[str] = set()
        self._done: queue.SimpleQueue[Outgoing] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(LANES, "events")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the answers that are outstanding; nothing else is sent."""
        self._deadline = 0.0
        self._threads.shutdown()

    @property
    def time_is_up(self) -> bool:
        """Whether no event may be begun any more."""
        return time.monotonic() >= self._deadline

    @property
    def have_ended(self) -> bool:
        """Whether the time is up, or every channel unavailable."""
        return self.time_is_up or len(self._away) == len(self._to)

    def add(self, accounts: Iterable[list[Outgoing]]) -> None:
        """Send each account's events in order; accounts without a failed try come first."""
        for events in sorted(accounts, key=lambda events: events[0].attempts > 0):
            self.open |= {outgoing.event.id: outgoing for outgoing in events}
            self._threads.submit(self._send_in_order, events)

    def done(self) -> list[Outgoing]:
        """Collect the events that are done with, for a moment."""
        done: list[Outgoing] = []
        until = time.monotonic() + COLLECT_S
        while len(done) < len(self.open):
            try:
                done.append(self._done.get(timeout=max(until - time.monotonic(), 0)))
            except queue.Empty:
                break
        for outgoing in done:
            del self.open[outgoing.event.id]
        return done

    def _send_in_order(self, events: Sequence[Outgoing]) -> None:
        """Send one account's events; after one that could not be sent, the others are left."""
        has_failed = False
        for outgoing in events:
            if not has_failed:
                self.send(outgoing)
            has_failed = has_failed or not outgoing.is_tried or outgoing.error is not None
            self._done.put(outgoing)

    def send(self, outgoing: Outgoing) -> None:
        """Send an event in this thread; nothing, if the time is up or no channel available."""
        if not self.have_ended:
            outgoing.is_tried = True
            outgoing.error = "; ".join(self._errors(outgoing)) or None

    def _errors(self, outgoing: Outgoing) -> Iterator[str]:
        """Send an event by the channels that have not taken it, and yield why one did not."""
        for channel in self._to:
            if channel.name in outgoing.sent_to:
                continue
            if channel.name in self._away:
                yield f"{channel.name}: away"
                continue
            try:
                channel.send(outgoing.event, now=clock.now())
                outgoing.sent_to.add(channel.name)
            except TryLater as error:
                if error.facts.get("is_away"):
                    self._leave(channel, outgoing)
                yield f"{channel.name}: {error.name}({error})"
            except Exception as error:  # an event that can't be sent at all stops no other
                # No traceback: its text may quote the event.
                name = type(error).__name__
                log.error("event_broke", event_id=outgoing.event.id, error=name)  # noqa: TRY400
                yield f"{channel.name}: {name}"

    def _leave(self, channel: Channel, outgoing: Outgoing) -> None:
        """Note an unavailable channel; of all lanes that notice it, one event has had a try."""
        with self._lock:
            outgoing.is_tried = channel.name not in self._away or bool(outgoing.sent_to)
            self._away.add(channel.name)
