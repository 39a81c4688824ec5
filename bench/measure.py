"""The results of a bench: rates, CPU times and ratios, and how they are measured and shown."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

#: The clock starts after this part, when start-up, first connections and cold caches are over.
WARM_UP = 0.05
#: A hundred looks at the queue a second do not slow Redis down noticeably.
LOOK_EVERY_S = 0.01
#: Seconds that a run lasts at least: in a shorter one the machine's swings are most of the figure.
#: The option `--seconds` sets it.
LONG_ENOUGH_S = 5.0
#: A contestant that makes no progress for so long is broken, not slow.
STALLED_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one contestant: items a second, and CPU milliseconds for each item.

    `cpu_ms` counts the worker's processes and those of servers on this machine. `low` and `high`
    are the lowest and the highest rate of its rounds. Optional figures: `p50_ms` and `p99_ms`, the
    latency; `wal_bytes`, WAL for each item; `mb`, peak memory above the imports.
    """

    name: str
    per_second: float
    cpu_ms: float
    low: float | None = None
    high: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    wal_bytes: float | None = None
    mb: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the figures that were measured."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of one or more benches, and the ratios between them."""

    rows: list[Row] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    #: Figures that are counted, not timed, such as a simulation's wrong matches.
    facts: dict[str, object] = field(default_factory=dict)

    def __add__(self, other: "Result") -> "Result":
        facts = self.facts | other.facts
        return Result(self.rows + other.rows, self.ratios | other.ratios, facts)

    def as_json(self) -> str:
        """Return `{"rows": [{"name", "per_second", "cpu_ms", …}], "ratios": {"a/b": of rates}}`."""
        shown: dict[str, object] = {
            "rows": [row.as_dict() for row in self.rows],
            "ratios": self.ratios,
        }
        return json.dumps(shown | ({"facts": self.facts} if self.facts else {}))

    def show(self) -> None:
        """Print one table, then the ratios."""
        table = Table(box=None, pad_edge=False)
        table.add_column("", no_wrap=True)
        for heading in (
            "a second",
            "min to max",
            "CPU ms each",
            "p50 ms",
            "p99 ms",
            "WAL bytes",
            "MB",
        ):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in self.rows:
            rest = [row.p50_ms, row.p99_ms, row.wal_bytes, row.mb]
            shown = ["" if value is None else f"{value:,.1f}" for value in rest]
            spread = "" if row.low is None else f"{row.low:,.0f} - {row.high:,.0f}"
            table.add_row(row.name, f"{row.per_second:,.0f}", spread, f"{row.cpu_ms:.3f}", *shown)
        for name, ratio in self.ratios.items():
            table.add_row(name, f"{ratio:.2f} x")
        # Into a file or a pipe, rich would cut the table to 80 characters.
        Console(width=None if sys.stdout.isatty() else 160).print(table)
        for name, fact in self.facts.items():
            Console().print(f"{name}: {fact}")


def machine_speed() -> float:
    """Return million steps of plain Python a second, the best of five tries.

    On a shared machine it halves and doubles within minutes: scale the rates of two runs by it.
    """
    steps = 50_000

    def took() -> float:
        began, seen = time.perf_counter(), {}
        for step in range(steps):
            seen[step % 997] = str(step)
        return time.perf_counter() - began

    return round(steps / min([took() for _ in range(5)]) / 1e6, 2)


class Stalled(Exception):
    """A contestant made no progress for a minute."""


class WorkerEnded(Exception):
    """A contestant's worker has ended."""


def drain(
    name: str,
    count: int,
    *,
    count_open: Callable[[], int],
    workers: Iterable[int],
    servers: Iterable[int],
) -> Row:
    """Time a queue of `count` messages from the warm-up mark until `count_open()` is 0.

    `workers` and `servers`: ids of the processes whose CPU time counts, with their descendants.
    Raises Stalled or WorkerEnded.
    """
    working = [psutil.Process(pid) for pid in workers]
    processes = [*working, *[psutil.Process(pid) for pid in servers]]

    def checked() -> int:
        if any(worker.status() == psutil.STATUS_ZOMBIE for worker in working):
            raise WorkerEnded(name)
        return count_open()

    began, cpu_before = time.monotonic(), _cpu_s(processes)
    measured = _wait_until(checked, at_most=count - max(1, int(count * WARM_UP)))
    if measured:
        began, cpu_before = time.monotonic(), _cpu_s(processes)
    else:
        # So few that one look saw all and the next none: time them from the start.
        measured = count
    _wait_until(checked, at_most=0)
    took, used = time.monotonic() - began, _cpu_s(processes) - cpu_before
    return Row(name, measured / took, used * 1000 / measured)


def timed(name: str, count: int, work: Callable[[], object], *, roots: Iterable[int]) -> Row:
    """Time work on `count` items in this process; `roots` are further processes, as in `drain`."""
    processes = [psutil.Process(pid) for pid in (os.getpid(), *roots)]
    began, cpu_before = time.monotonic(), _cpu_s(processes)
    work()
    took, used = time.monotonic() - began, _cpu_s(processes) - cpu_before
    return Row(name, count / took, used * 1000 / count)


def lasting(measured: Callable[[int], Row], count: int) -> Row:
    """Measure `count` items, and more of them again if that did not take long enough."""
    row = measured(count)
    while (seconds := count / row.per_second) < LONG_ENOUGH_S:
        count = int(count * max(LONG_ENOUGH_S / seconds, 1.0) * 1.2) + 1
        row = measured(count)
    return row


def best_of(rows: Iterable[Row], names: Sequence[str]) -> str:
    """Return the name of the fastest of these contestants."""
    return max([row for row in rows if row.name in names], key=lambda row: row.per_second).name


def median(rows: Sequence[Row]) -> Row:
    """Return the median of each figure over the rounds of one contestant, and the rates' spread."""
    rates = [row.per_second for row in rows]
    return Row(
        rows[0].name,
        round(statistics.median(rates), 1),
        round(statistics.median([row.cpu_ms for row in rows]), 4),
        low=round(min(rates), 1),
        high=round(max(rates), 1),
        **{
            name: round(statistics.median(values), 3)
            for name in ("p50_ms", "p99_ms", "wal_bytes")
            if (values := [getattr(row, name) for row in rows if getattr(row, name) is not None])
        },
    )


def ratios(rows: Iterable[Row], pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Return the first rate divided by the second, for each pair of names."""
    rates = {row.name: row.per_second for row in rows}
    return {f"{name}/{base}": round(rates[name] / rates[base], 2) for name, base in pairs}


def _wait_until(count_open: Callable[[], int], *, at_most: int) -> int:
    """Wait until at most this many items are left; return how many are."""
    before, since = -1, time.monotonic()
    while (remaining := count_open()) > at_most:
        if remaining != before:
            before, since = remaining, time.monotonic()
        if time.monotonic() - since > STALLED_AFTER_S:
            raise Stalled(f"{remaining} items are left, and their number does not change.")
        time.sleep(LOOK_EVERY_S)
    return remaining


def _cpu_s(roots: Iterable[psutil.Process]) -> float:
    """Sum the CPU seconds of these processes and their descendants, with those that have ended.

    Each counts once: embedded servers are also children of the process that runs the bench.
    """
    processes: set[psutil.Process] = set()
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            processes.update((root, *root.children(recursive=True)))
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total
