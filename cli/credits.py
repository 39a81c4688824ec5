"""`billing credits`: the timetable's sweeps by hand, or as a rehearsal that changes nothing."""

from collections.abc import Callable

import click

from billing.context import Context
from billing.purchases import purchases
from billing.renewal import expiry, plan_changes, renewals, repairs
from billing.sweep import SweepResult
from cli.screen import console, json_option, show_json, table
from flows import sweeps
from worker.database import rehearsal

#: Accounts that a rehearsal takes at most: it holds their locks until it is rolled back.
REHEARSED = 1000

dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would happen; do nothing.")


@click.group()
def credits() -> None:
    """Renew, expire and repair credits, as beat does."""


@credits.command()
@dry_run_option
@json_option
def renew(dry_run: bool, as_json: bool) -> None:
    """Cross the boundaries that are due, and follow changes of plan."""

    def rehearse(ctx: Context) -> list[SweepResult]:
        renewed = purchases.sweep_due(ctx, limit=REHEARSED)
        renewed += renewals.sweep_due(ctx, limit=REHEARSED)
        return renewed + plan_changes.sweep(ctx, limit=REHEARSED)

    all_due = (purchases.sweep_due, renewals.sweep_due, plan_changes.sweep)
    swept = _rehearsed(rehearse) if dry_run else sweeps.until_done(*all_due)
    _show(swept, dry_run=dry_run, as_json=as_json)


@credits.command()
@dry_run_option
@json_option
def expire(dry_run: bool, as_json: bool) -> None:
    """Take credits whose time is over out of the books; accounts that are due are renewed first."""

    def rehearse(ctx: Context) -> list[SweepResult]:
        return expiry.sweep(ctx, limit=REHEARSED)

    swept = _rehearsed(rehearse) if dry_run else sweeps.until_done(expiry.sweep)
    _show(swept, dry_run=dry_run, as_json=as_json)


@credits.command()
@dry_run_option
@json_option
def repair(dry_run: bool, as_json: bool) -> None:
    """Seed accounts that never were, and begin calendars that are missing."""

    def rehearse(ctx: Context) -> list[SweepResult]:
        return repairs.sweep(ctx, limit=REHEARSED).results

    swept = _rehearsed(rehearse) if dry_run else sweeps.over_all(repairs.sweep)
    _show(swept, dry_run=dry_run, as_json=as_json)


def _rehearsed(act: Callable[[Context], list[SweepResult]]) -> list[SweepResult]:
    """What the act does, which is then rolled back: a dry run can't differ from the run."""
    with rehearsal() as ctx:
        return act(ctx)


def _show(swept: list[SweepResult], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        show_json({"dry_run": dry_run, "swept": swept})
        return
    title = "would be done" if dry_run else "done"
    if dry_run and len(swept) >= REHEARSED:
        title += f" to the first {REHEARSED:,} accounts"
    table(
        title,
        ("account", "what", "due", "granted", "carried", "expired", "period", "plan", "lot"),
        [
            (
                one.account_id,
                one.what,
                one.at,
                one.granted,
                one.carried,
                one.expired,
                one.period_number,
                one.plan_id,
                one.lot_id,
            )
            for one in swept
        ],
    )
    console.print(f"{len(swept):,} {title}")
