"""`billing credits`: run the sweeps of credits now, or show what they would do."""

from collections.abc import Callable

import click

from billing.purchases import purchases
from billing.renewal import expiry, plan_changes, renewals, repairs
from billing.support import repair_times
from billing.sweep import SweepResult
from cli.screen import (
    console,
    dry_run_option,
    in_json,
    json_option,
    operator,
    show_list,
    table,
)
from cli.topic import Topic
from flows import sweeps
from worker.database import rehearsal, transaction

#: The most accounts of a dry run: it keeps them locked until it is rolled back.
REHEARSED = 1000
#: The columns of a table, from the fields of SweepResult.
COLUMNS = (
    "account: account_id, what, due: at, granted, carried, expired"
    ", period: period_number, plan: plan_id, lot: lot_id"
)


@click.group(cls=Topic)
def credits() -> None:
    """Renew, expire or repair credits now, as beat does."""


@credits.command()
@dry_run_option()
@json_option
def renew(dry_run: bool) -> None:
    """Renew the accounts whose period has ended, and follow plan changes."""
    _run(purchases.sweep_due, renewals.sweep_due, plan_changes.sweep, dry_run=dry_run)


@credits.command()
@dry_run_option()
@json_option
def expire(dry_run: bool) -> None:
    """Expire the credits that are due; renew accounts that are due first."""
    _run(expiry.sweep, dry_run=dry_run)


@credits.command()
@dry_run_option()
@json_option
def repair(dry_run: bool) -> None:
    """Add signup grants and credit cycles that are missing."""
    if dry_run:
        with rehearsal() as ctx:
            results = repairs.sweep(ctx, limit=REHEARSED).results
    else:
        results = sweeps.over_all(repairs.sweep, budget_s=float("inf"))
    _show(results, dry_run=dry_run)


@credits.command("repair-times")
@dry_run_option()
@json_option
def repair_unreadable_times(dry_run: bool) -> None:
    """Replace times that no program can read, such as the year 20000, and record each repair.

    Before migration 0018 the main app could pass such a time when it placed a hold.
    """
    with rehearsal() if dry_run else transaction(actor=operator()) as ctx:
        times = repair_times.repair(ctx)
    show_list(
        {"dry_run": dry_run, "times": times},
        f"{len(times)} times {'would be' if dry_run else 'were'} replaced",
        "table, row, column, before, after",
        times,
    )


def _run(*acts: Callable[..., list[SweepResult]], dry_run: bool) -> None:
    """Run these sweeps; a dry run is the same, rolled back."""
    if dry_run:
        with rehearsal() as ctx:
            results = [result for act in acts for result in act(ctx, limit=REHEARSED)]
    else:
        results = sweeps.until_done(*acts)
    _show(results, dry_run=dry_run)


def _show(results: list[SweepResult], *, dry_run: bool) -> None:
    if in_json({"dry_run": dry_run, "swept": results}):
        return
    title = "would be done" if dry_run else "done"
    if dry_run and len(results) >= REHEARSED:
        title += f" to the first {REHEARSED:,} accounts"
    table(title, COLUMNS, results)
    console.print(f"{len(results):,} {title}")
