"""The run of a sweep: bounded batches, each in its own transaction, until none is left."""

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
from worker.transport import queues

log = logger(__name__)

#: Seconds after which a run leaves the rest to the next tick; beat ticks each minute.
BUDGET_S = 50.0
#: Threads of a large sweep: while one waits for Postgres, the other makes its rows. A third would
#: only take the processor from other queues.
LANES = 2
#: Seconds that a turn of a large sweep lasts, and after which a turn that no worker took expires:
#: by then beat has ticked again.
TURN_S = 2.0
TURN_WITHIN_S = 60.0
#: Seconds that a run removes old rows: well within a task's time limit.
REMOVE_S = 20.0
#: The key in Redis of the place that a sweep over all accounts has reached.
_PLACE = "billing.swept."
_ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('billing.large_sweep'))"


class Sweep(Protocol):
    """An act that does a bounded batch of what is due."""

    def __call__(self, ctx: Context) -> list[SweepResult]:
        """Do one batch; empty when nothing is due."""


class PagedSweep(Protocol):
    """An act that goes through all accounts, a page at a time."""

    def __call__(self, ctx: Context, *, after: int) -> Page:
        """Do one page, of accounts above this id; its `last` is None after the last page."""


def until_done(*sweeps: Sweep, budget_s: float = BUDGET_S, lanes: int = 1) -> list[SweepResult]:
    """Run each sweep until nothing is due or the time is up; returns the results.

    Rows that another process has locked are left to it, or to the next run. `lanes`: the number of
    threads, for a sweep that skips locked rows.
    """
    deadline = time.monotonic() + budget_s
    results: list[SweepResult] = []
    for sweep in sweeps:
        if lanes == 1:
            results += _lane(sweep, deadline)
            continue
        with ThreadPoolExecutor(lanes) as pool:
            # A copy of the context carries the task's fields of the log.
            runs = [
                pool.submit(contextvars.copy_context().run, _lane, sweep, deadline)
                for _ in range(lanes)
            ]
        results += [result for run in runs for result in run.result()]
    return results


def in_turns(again: Callable[..., object], *sweeps: Sweep) -> list[SweepResult]:
    """Run each sweep, in lanes, for one turn; if more is due, send the task `again`.

    `again`: a task's `apply_async`. One large sweep of any kind runs at a time, and the next turn
    waits behind the messages that came before it. So a hundred thousand accounts that are due at
    one minute take neither all the workers nor all the time.
    """
    with transaction() as ctx:
        # The lock is held by this transaction, which does nothing else, until the turn is over.
        if not ctx.session.execute(text(_ALONE)).scalar_one():
            again(countdown=TURN_S, expires=TURN_WITHIN_S)
            return []
        began = time.monotonic()
        results = until_done(*sweeps, budget_s=TURN_S, lanes=LANES)
    if time.monotonic() - began >= TURN_S:
        again(expires=TURN_WITHIN_S)
    return results


def remove_in_turns(
    again: Callable[..., object], remove: Callable[[], int], *, budget_s: float = REMOVE_S
) -> int:
    """Call `remove` until nothing is left or the time is up; then send the task `again`.

    `remove` removes a bounded batch and returns its size. Returns the sum.
    """
    deadline, removed = time.monotonic() + budget_s, 0
    while count := remove():
        removed += count
        if time.monotonic() >= deadline:
            again(expires=TURN_WITHIN_S)
            break
    return removed


def _lane(sweep: Sweep, deadline: float) -> list[SweepResult]:
    results: list[SweepResult] = []
    while time.monotonic() < deadline:
        with transaction() as ctx:
            batch = sweep(ctx)
        _log_broken(batch)
        results += batch
        if all(result.error for result in batch):
            break
    return results


def over_all(
    sweep: PagedSweep, *, budget_s: float = BUDGET_S, name: str | None = None
) -> list[SweepResult]:
    """Run a sweep over every account, a page at a time; returns the results.

    With a `name`, a run goes on behind the last account of the run before it, if that one's time
    was up. Else, of more accounts than one run can look at, the last would never have their turn.
    """
    deadline = time.monotonic() + budget_s
    results: list[SweepResult] = []
    after: int | None = _place_of(name)
    while after is not None:
        with transaction() as ctx:
            page = sweep(ctx, after=after)
        _log_broken(page.results)
        results += page.results
        after = page.last
        if time.monotonic() >= deadline:
            break
    _keep_place(name, after)
    return results


def _place_of(name: str | None) -> int:
    """The account behind which a sweep goes on."""
    return int(queues.connection().get(_PLACE + name) or 0) if name else 0


def _keep_place(name: str | None, after: int | None) -> None:
    """Keep the place; if Redis loses it, the sweep begins anew."""
    if name and after is None:
        queues.connection().delete(_PLACE + name)
    elif name:
        queues.connection().set(_PLACE + name, str(after))


def _log_broken(batch: list[SweepResult]) -> None:
    for result in batch:
        if result.error:
            log.error("sweep_broke", account_id=result.account_id, error=result.error)


def counts(results: Iterable[SweepResult]) -> dict[str, object]:
    """Count the results of each kind, for the log line."""
    return dict(Counter(result.what for result in results))
