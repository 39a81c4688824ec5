"""`billing credits`: run the sweeps of credits by hand, or show what they would do."""

from collections.abc import Callable

import click

from billing.context import Context
from billing.purchases import purchases
from billing.renewal import expiry, plan_changes, renewals, repairs
from billing.sweep import SweepResult
from cli.screen import console, json_option, show_json, table
from flows import sweeps
from worker.database import rehearsal

#: The most accounts of a dry run: it keeps them locked until it is rolled back.
REHEARSED = 1000

dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would happen.")


@click.group()
def credits() -> None:
    """Renew, expire or repair credits now, as beat does."""


@credits.command()
@dry_run_option
@json_option
def renew(dry_run: bool, as_json: bool) -> None:
    """Renew the accounts whose period has ended, and follow plan changes."""

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
    """Expire the credits that are due; renew accounts that are due first."""

    def rehearse(ctx: Context) -> list[SweepResult]:
        return expiry.sweep(ctx, limit=REHEARSED)

    swept = _rehearsed(rehearse) if dry_run else sweeps.until_done(expiry.sweep)
    _show(swept, dry_run=dry_run, as_json=as_json)


@credits.command()
@dry_run_option
@json_option
def repair(dry_run: bool, as_json: bool) -> None:
    """Add signup grants and credit cycles that are missing."""

    def rehearse(ctx: Context) -> list[SweepResult]:
        return repairs.sweep(ctx, limit=REHEARSED).swept

    swept = _rehearsed(rehearse) if dry_run else sweeps.over_all(repairs.sweep)
    _show(swept, dry_run=dry_run, as_json=as_json)


def _rehearsed(act: Callable[[Context], list[SweepResult]]) -> list[SweepResult]:
    """Do the act and roll it back, so that a dry run can't differ from the run."""
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
                result.account_id,
                result.what,
                result.at,
                result.granted,
                result.carried,
                result.expired,
                result.period_number,
                result.plan_id,
                result.lot_id,
            )
            for result in swept
        ],
    )
    console.print(f"{len(swept):,} {title}")
