"""Growth: what one act costs at first, and beside a hundred times as much, in a table of rows.

A row is a name, the sizes, a function that brings the database to a size, and the act. Each size
has a database of its own, so that no row pays for another's. To add a row: write `seed(n)` and
`act()` and add a line to the `ROWS` of a module in `MODULES`.
"""

import ctypes
import gc
import importlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import psycopg2.extensions  # type: ignore[import-untyped]
import sqlalchemy as sa
from sqlalchemy import event

from bench import ground
from bench.measure import Result
from devstack.fresh import fresh_database
from worker import database, schema
from worker.settings import settings

#: Modules of this package with `ROWS: tuple[Growth, ...]`.
MODULES = ("growth_bank", "growth_life")
TIMES = 100


@dataclass(frozen=True, slots=True)
class Growth:
    """One row.

    Attributes:
        name: Its name.
        small: The size at 1x; at 100x it is `TIMES` as much.
        seed: Brings an empty database to this size, by COPY or INSERT ... SELECT.
        act: What is measured, once; it may return the number of things that it did.
        grows: Whether the act does as much more as its size; then the cost of each one counts.
    """

    name: str
    small: int
    seed: Callable[[int], None]
    act: Callable[[], object]
    grows: bool = False


class Cost(NamedTuple):
    """The cost of an act: statements, CPU of the client and of Postgres, memory and WAL."""

    size: int
    statements: int
    client_ms: float
    postgres_ms: float
    mb: float
    wal_mb: float

    @property
    def cpu_ms(self) -> float:
        """CPU of both."""
        return self.client_ms + self.postgres_ms

    def of_each(self, row: Growth) -> dict[str, float]:
        """The figures, of each thing that was done if the act grows with its size."""
        count = self.size if row.grows else 1
        return {
            "size": self.size,
            "statements": round(self.statements / count, 2),
            "cpu_ms": round(self.cpu_ms / count, 3),
            "client_ms": round(self.client_ms / count, 3),
            "postgres_ms": round(self.postgres_ms / count, 3),
            "mb": round(self.mb, 1),
            "wal_kb": round(self.wal_mb * 1024 / count, 1),
        }


def run(*, count: int, rounds: int) -> Result:
    """Measure every row at both sizes; `BENCH_GROWTH` names some of them, separated by commas."""
    rows = [row for name in MODULES for row in importlib.import_module(f"bench.{name}").ROWS]
    names = [name for name in os.environ.get("BENCH_GROWTH", "").split(",") if name]
    if unknown := set(names) - {row.name for row in rows}:
        known = ", ".join(row.name for row in rows)
        raise click.ClickException(f"BENCH_GROWTH names no row: {sorted(unknown)}. Rows: {known}.")
    result = Result()
    for row in rows:
        if names and row.name not in names:
            continue
        first, last = (measured(row, size) for size in (row.small, row.small * TIMES))
        at_first, at_last = first.of_each(row), last.of_each(row)
        result.ratios[row.name] = round(at_last["cpu_ms"] / max(at_first["cpu_ms"], 0.001), 2)
        result.facts[row.name] = {"1x": at_first, f"{TIMES}x": at_last}
    return result


def measured(row: Growth, size: int) -> Cost:
    """Seed a database to this size, and measure the act there."""
    with _database():
        row.seed(size)
        ground.settle()
        return cost(row.act, size)


@contextmanager
def _database() -> Iterator[None]:
    before = os.environ["DATABASE_URL"]
    with fresh_database(before, prefix="billing_growth") as url:
        try:
            _connect(url)
            schema.upgrade()
            yield
        finally:
            _connect(before)


def _connect(url: str) -> None:
    """Let this process use another database."""
    database.engine().dispose()
    os.environ["DATABASE_URL"] = url
    settings.cache_clear()
    database.engine.cache_clear()


class _Counting(psycopg2.extensions.cursor):  # type: ignore[misc]
    """A cursor that counts what it sends, also where the driver is used directly."""

    statements = 0

    def execute(self, query: Any, parameters: Any = None) -> None:
        _Counting.statements += 1
        super().execute(query, parameters)

    def executemany(self, query: Any, parameters: Any) -> None:
        _Counting.statements += len(parameters)
        super().executemany(query, parameters)

    def copy_expert(self, *arguments: Any, **named: Any) -> None:
        _Counting.statements += 1
        super().copy_expert(*arguments, **named)


def cost(act: Callable[[], object], size: int) -> Cost:
    """Do it once on a new connection, and count."""
    engine = database.engine()
    engine.dispose()
    event.listen(engine, "connect", _count)
    with engine.connect() as connection:
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    wal, backend, own = _wal(), _backend_s(pid), time.process_time()
    _Counting.statements = 0
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what the seed has freed is not counted as used
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    memory = _kilobytes("VmRSS")
    act()
    own, statements, peak = time.process_time() - own, _Counting.statements, _kilobytes("VmHWM")
    return Cost(
        size,
        statements,
        own * 1000,
        (_backend_s(pid) - backend) * 1000,
        max(peak - memory, 0) / 1024,
        (_wal() - wal) / 2**20,
    )


def _count(connection: Any, _record: object) -> None:
    connection.cursor_factory = _Counting


def _kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{name}:")[2].split()[0])


def _backend_s(pid: int) -> float:
    """CPU seconds of a backend of Postgres on this machine, to the nanosecond."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    except (OSError, ValueError):
        return 0.0


def _wal() -> int:
    with database.engine().connect() as connection:
        place = sa.text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(connection.execute(place).scalar_one())
