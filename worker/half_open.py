"""The watch over statements that Postgres does not answer: a hanging connection is cut.

libpq waits for an answer for ever, and TCP's own timeouts see nothing while some proxy or kernel
in between still acknowledges. So a thread looks at each connection of this process twice a second.
If one waits for an answer, the thread asks Postgres on a new connection. Postgres may not answer,
or it may say that it has long been waiting for us. Then the socket is shut down, and the statement
ends with an error that is transient. A statement that is at work may take as long as it needs.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from psycopg2.extensions import TRANSACTION_STATUS_ACTIVE  # type: ignore[import-untyped]
from sqlalchemy import Engine, event

from worker.logs import logger

log = logger(__name__)

#: Seconds between two looks, and for which a statement may wait before Postgres is asked about it.
LOOK_EVERY_S, WAITS_S = 0.5, 2.0
#: Seconds for Postgres to accept a connection, and then to answer the question about ours.
ANSWERS_WITHIN_S = 3.0
_HAS_WAITED = """
SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s) AND state LIKE 'idle%%'
  AND state_change < clock_timestamp() - make_interval(secs => %s)
"""


class Watch:
    """The watch over the connections of one engine."""

    def __init__(self, engine: Engine, url: Mapping[str, Any]) -> None:
        self._url = url
        self._open: dict[int, Any] = {}
        self._waits_since: dict[int, float] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        event.listen(engine, "connect", self._add)
        event.listen(engine, "close", self._remove)
        event.listen(engine, "close_detached", self._remove)

    def forget(self) -> None:
        """Forget the parent's connections and thread, in a forked child."""
        self._open, self._waits_since, self._thread = {}, {}, None
        self._lock = threading.Lock()

    def _add(self, connection: Any, _record: object) -> None:
        with self._lock:
            self._open[id(connection)] = connection
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="half-open", daemon=True)
                self._thread.start()

    def _remove(self, connection: Any, _record: object = None) -> None:
        with self._lock:
            self._open.pop(id(connection), None)

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_EVERY_S)
            try:
                self._look()
            except Exception as error:
                log.warning("connections_not_watched", error=type(error).__name__)

    def _look(self) -> None:
        with self._lock:
            connections = list(self._open.values())
        now = time.monotonic()
        active = [c for c in connections if _is_waiting(c)]
        self._waits_since = {id(c): self._waits_since.get(id(c), now) for c in active}
        overdue = [c for c in active if now - self._waits_since[id(c)] >= WAITS_S]
        if not overdue:
            return
        for connection in _unanswered(self._url, overdue):
            log.error("connection_cut", why="Postgres did not answer")
            self._waits_since.pop(id(connection), None)
            _cut(connection)
        # Those that Postgres is at work for are asked about again, but not at once.
        self._waits_since.update((id(c), now) for c in overdue if id(c) in self._waits_since)


def _is_waiting(connection: Any) -> bool:
    """Whether a statement of the connection waits for its answer."""
    try:
        return bool(
            not connection.closed
            and connection.get_transaction_status() == TRANSACTION_STATUS_ACTIVE
        )
    except psycopg2.Error:
        return False


def _unanswered(url: Mapping[str, Any], connections: list[Any]) -> list[Any]:
    """Return those of these connections whose answer will not come."""
    pids = {connection.info.backend_pid: connection for connection in connections}
    began = time.monotonic()
    try:
        hanging = _ask(url, list(pids))
    except (psycopg2.Error, OSError):
        # A refusal, as of one connection too many, comes fast, from a server that lives.
        hanging = list(pids) if time.monotonic() - began > ANSWERS_WITHIN_S * 0.9 else []
    return [pids[pid] for pid in hanging if not _has_answer(pids[pid])]


def _has_answer(connection: Any) -> bool:
    """Whether the answer has come, and only this process had no time to read it."""
    with suppress(psycopg2.Error, OSError, ValueError):
        return bool(select.select([connection.fileno()], [], [], 0)[0])
    return True


def _ask(url: Mapping[str, Any], pids: list[int]) -> list[int]:
    """Ask Postgres which of these backends wait for us. Raises psycopg2.Error without an answer."""
    asking = psycopg2.connect(**url, connect_timeout=int(ANSWERS_WITHIN_S))
    timer = threading.Timer(ANSWERS_WITHIN_S, _cut, (asking,))
    timer.start()
    try:
        with asking.cursor() as cursor:
            cursor.execute(_HAS_WAITED, (pids, WAITS_S))
            return [pid for (pid,) in cursor.fetchall()]
    finally:
        timer.cancel()
        asking.close()


def _cut(connection: Any) -> None:
    """Shut the connection's socket down: whoever waits for it gets an error at once."""
    with suppress(psycopg2.Error, OSError):
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))
        with duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
