"""`python -m tests.tools.trips [NAME…] [--show]`: how many files a job passes from task to commit.

A name that ends in `-task` starts at the Celery task; the same name without it starts at the
function that does the task's work. `tests/tools/tracer.py` says what counts.
"""

import functools
import gc

import click
import pytest

from tests.tools.tracer import product_file, trace

NAMES = [
    f"{job}{start}"
    for job in ("debit", "invoice-paid", "bank-match", "bank-import", "trial-end")
    for start in ("", "-task")
]


def trip_of(name):
    """Trace a trip, in the database and the Redis that the environment names; both are emptied.

    The job is done twice before, so that imports and caches are warm, then traced on an account of
    its own.
    """
    from tests.billing.stripe.door import SECRET
    from tests.conftest import empty_database
    from tests.tools import jobs
    from worker.settings import settings
    from worker.transport import queues

    empty_database()
    queues.connection().flushdb()
    _forget_answers()
    make = getattr(jobs, name.removesuffix("-task").replace("-", "_"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BILLING_STRIPE_WEBHOOK_SECRETS", SECRET)
        environment.setenv("BILLING_INVOICE_CURRENCY", "EUR")
        # A slow machine asks for no second turn of a sweep.
        environment.setattr("flows.sweeps.TURN_S", 60.0)
        settings.cache_clear()
        job = make(by_task=name.endswith("-task"))
        for slug in jobs.WARM:
            _run(job(slug))
        trip = _run(job(jobs.TRACED), trace)
    settings.cache_clear()
    return trip


def _run(job, how=lambda run: run()):
    answer = how(job.run)
    assert job.is_done()
    return answer


def _forget_answers():
    """Clear the product's bounded caches, which may know this trip's ids from another one's."""
    for item in gc.get_objects():
        if type(item) is functools._lru_cache_wrapper and item.cache_info().maxsize:
            code = getattr(item.__wrapped__, "__code__", None)
            if code and product_file(code.co_filename):
                item.cache_clear()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--files", is_flag=True, help="List each trip's files, with the entries into each.")
@click.option("--show", is_flag=True, help="Show each trip, one line a change of file.")
def main(names, files, show):
    """Trace trips on servers of their own; print how many files each has, and changes of file."""
    from bench.stack import bench_stack
    from worker import logs

    with bench_stack():
        logs.configure("ERROR")
        trips = {name: trip_of(name) for name in names or NAMES}
    click.echo(f"{'NAME':20}{'files':>6}{'changes':>9}")
    for name, trip in trips.items():
        click.echo(f"{name:20}{trip.files:6}{trip.changes:9}")
    for name, trip in trips.items():
        if files:
            _list(name, [f"{count:4} {file}" for file, count in trip.entries.items()])
        if show:
            _list(name, [f"{visit.file}: {', '.join(visit.functions)}" for visit in trip.visits])


def _list(name, lines):
    click.echo(f"\n{name}")
    for number, line in enumerate(lines, start=1):
        click.echo(f"{number:4} {line}")


if __name__ == "__main__":
    main()
