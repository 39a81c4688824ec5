"""How a sweep is run: bounded sets, each in its own transaction, until none is left."""

import contextvars
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from sqlalchemy import text

from billing.context import Context
from billing.sweep import Page, SweepResult
from worker.database import transaction
from worker.logs import logger

log = logger(__name__)

#: A run stops after so long, and leaves the rest to the next tick: beat's come each minute.
BUDGET_S = 50.0
#: Sets of a large sweep that are worked on at once: while one waits for Postgres, the other's rows
#: are made. A third would only take the processor from other queues.
LANES = 2
#: Of a sweep that goes in turns, each lasts so long; one that nobody took until beat's next tick
#: is of no use any more.
TURN_S = 2.0
TURN_WITHIN_S = 60.0
_ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('billing.large_sweep'))"


class Sweep(Protocol):
    """An act that does what is due, a bounded set at a time, and says what it did."""

    def __call__(self, ctx: Context) -> list[SweepResult]:
        """Do one set; empty when there is nothing more to do."""


class PagedSweep(Protocol):
    """An act that looks at accounts above an id, a bounded set at a time."""

    def __call__(self, ctx: Context, *, after: int) -> Page:
        """Do one set; its `last` is None when there was none left."""


def until_done(*sweeps: Sweep, budget_s: float = BUDGET_S, lanes: int = 1) -> list[SweepResult]:
    """Run each sweep until it finds nothing more, or the time is spent; returns all that was done.

    What another process has locked is left to that, or to the next run. `lanes`: so many threads
    take sets at once, of a sweep that passes by what another holds.
    """
    deadline = time.monotonic() + budget_s
    swept: list[SweepResult] = []
    for sweep in sweeps:
        if lanes == 1:
            swept += _lane(sweep, deadline)
            continue
        with ThreadPoolExecutor(lanes) as pool:
            # Each with what the log says of the task.
            runs = [
                pool.submit(contextvars.copy_context().run, _lane, sweep, deadline)
                for _ in range(lanes)
            ]
        swept += [one for run in runs for one in run.result()]
    return swept


def in_turns(again: Callable[..., object], *sweeps: Sweep) -> list[SweepResult]:
    """Run each sweep, in lanes, for one turn; ask for another with `again` if that was too little.

    `again`: a task's `apply_async`. One large sweep runs at a time, whatever their kind, and a
    turn waits behind the messages that were there before: so a hundred thousand accounts that are
    due at one minute take neither all the workers nor all the time.
    """
    with transaction() as ctx:
        # Until the turn is over: this transaction does nothing else.
        if not ctx.session.execute(text(_ALONE)).scalar_one():
            again(countdown=TURN_S, expires=TURN_WITHIN_S)
            return []
        began = time.monotonic()
        swept = until_done(*sweeps, budget_s=TURN_S, lanes=LANES)
    if time.monotonic() - began >= TURN_S:
        again(expires=TURN_WITHIN_S)
    return swept


def _lane(sweep: Sweep, deadline: float) -> list[SweepResult]:
    swept: list[SweepResult] = []
    while time.monotonic() < deadline:
        with transaction() as ctx:
            done = sweep(ctx)
        swept += told(done)
        if not any(one.is_done for one in done):
            break
    return swept


def over_all(sweep: PagedSweep, *, budget_s: float = BUDGET_S) -> list[SweepResult]:
    """Run a sweep over every account, a page at a time; returns all that was done."""
    deadline = time.monotonic() + budget_s
    swept: list[SweepResult] = []
    after: int | None = 0
    while after is not None and time.monotonic() < deadline:
        with transaction() as ctx:
            page = sweep(ctx, after=after)
        swept += told(page.swept)
        after = page.last
    return swept


def told(swept: list[SweepResult]) -> list[SweepResult]:
    """Say in the log which accounts broke, once a set; returns what was given."""
    for one in swept:
        if not one.is_done:
            log.error("sweep_broke", account_id=one.account_id, error=one.error)
    return swept


def counts(swept: Iterable[SweepResult]) -> dict[str, object]:
    """How often what was done, for the log line."""
    return dict(Counter(one.what for one in swept))
