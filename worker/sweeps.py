"""How a sweep is run: bounded sets, each in its own transaction, until none is left."""

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from sqlalchemy.orm import Session

from billing.swept import Page, Swept
from worker import clock
from worker.database import transaction
from worker.logs import logger

log = logger(__name__)

#: A run stops after so long, and leaves the rest to the next tick: beat's come each minute.
BUDGET_S = 50.0


class Sweep(Protocol):
    """An act that does what is due, a bounded set at a time, and says what it did."""

    def __call__(self, session: Session, *, now: dt.datetime) -> list[Swept]:
        """Do one set; empty when there is nothing more to do."""


class PagedSweep(Protocol):
    """An act that looks at accounts above an id, a bounded set at a time."""

    def __call__(self, session: Session, *, now: dt.datetime, after: int) -> Page:
        """Do one set; its `last` is None when there was none left."""


def until_done(*sweeps: Sweep, budget_s: float = BUDGET_S) -> list[Swept]:
    """Run each sweep until it finds nothing more, or the time is spent; returns all that was done.

    What another process has locked is left to that, or to the next run.
    """
    deadline = time.monotonic() + budget_s
    swept: list[Swept] = []
    for sweep in sweeps:
        while time.monotonic() < deadline:
            with transaction() as session:
                done = sweep(session, now=clock.now())
            swept += told(done)
            if not any(one.is_done for one in done):
                break
    return swept


def over_all(sweep: PagedSweep, *, budget_s: float = BUDGET_S) -> list[Swept]:
    """Run a sweep over every account, a page at a time; returns all that was done."""
    deadline = time.monotonic() + budget_s
    swept: list[Swept] = []
    after: int | None = 0
    while after is not None and time.monotonic() < deadline:
        with transaction() as session:
            page = sweep(session, now=clock.now(), after=after)
        swept += told(page.swept)
        after = page.last
    return swept


def told(swept: list[Swept]) -> list[Swept]:
    """Say in the log which accounts broke, once a set; returns what was given."""
    for one in swept:
        if not one.is_done:
            log.error("sweep_broke", account_id=one.account_id, error=one.error)
    return swept


def counts(swept: Iterable[Swept]) -> dict[str, object]:
    """How often what was done, for the log line."""
    return dict(Counter(one.what for one in swept))
