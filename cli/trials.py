"""`billing trials`: list, extend, restore and end trials."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import click

from billing.errors import UnknownAccount
from billing.host import accounts
from billing.lifecycle.trials import overrides
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.sweep import SweepResult
from cli.screen import (
    console,
    dry_run_option,
    json_option,
    limit_option,
    operator,
    options,
    show_list,
    wants_json,
)
from cli.topic import Topic
from flows import sweeps
from worker import clock
from worker.database import rehearsal, transaction

#: The most trials of a dry run.
REHEARSED = 10_000

end_options = options(
    click.argument("account"),
    click.option("--days", type=click.IntRange(1, 365), help="Days from now."),
    click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="A day, in UTC."),
)


@click.group(cls=Topic)
def trials() -> None:
    """List, extend, restore and end trials."""


@trials.command("list")
@click.option("--due", is_flag=True, help="Only trials whose grace period is over.")
@limit_option("The most trials to list.")
@json_option
def list_trials(due: bool, limit: int) -> None:
    """List open trials, the soonest suspension first."""
    with transaction() as ctx:
        open_trials = overrides.listed(ctx.session, due_at=ctx.now if due else None, limit=limit)
        to_confirm = trial_sweeps.to_confirm(ctx)
    show_list(
        {"to_confirm": to_confirm, "trials": open_trials},
        f"{len(open_trials)} open trials",
        "account: account_id, started: started_at, ends: ends_at, suspended: suspends_at",
        open_trials,
    )
    if to_confirm and not wants_json():
        console.print(f"{to_confirm} are due: `billing trials expire` asks before it suspends")


@trials.command()
@end_options
def extend(**end: Any) -> None:
    """Give the running trial of ACCOUNT (id or slug) a later end."""
    _move(overrides.extend, **end)


@trials.command()
@end_options
def restore(**end: Any) -> None:
    """Put ACCOUNT, whose trial is over, back on trial, with its plan's credits."""
    _move(overrides.restore, **end)


def _move(
    act: Callable[..., bool], account: str, days: int | None, until: dt.datetime | None
) -> None:
    if (days is None) == (until is None):
        raise click.UsageError("Give --days or --until.")
    with transaction(actor=operator()) as ctx:
        row = accounts.read(ctx.session, account)
        if row is None:
            raise UnknownAccount(account_id=account)
        ends_at = until.replace(tzinfo=dt.UTC) if until else ctx.now + dt.timedelta(days=days or 0)
        has_moved = act(ctx, row.id, ends_at=ends_at)
    verb = "ends" if has_moved else "already ends"
    console.print(f"{account}: {verb} {ends_at:%Y-%m-%d %H:%M}")


@trials.command()
@dry_run_option("Show which accounts would be suspended.")
@click.option("--confirm", type=int, help="The number that you expect, instead of a question.")
@json_option
def expire(dry_run: bool, confirm: int | None) -> None:
    """End the trials that are due, as beat does, after your confirmation."""
    now = clock.now()
    with rehearsal() as ctx:
        trial_sweeps.begin_missing(ctx.at(now), limit=REHEARSED)
        overrides.confirm(ctx.at(now).by(operator()), until=now)
        results = trial_sweeps.expire_due(ctx.at(now), limit=REHEARSED)
    suspended_count = sum(result.what == "trial_over" for result in results)
    if dry_run:
        _show(results, "would be done")
        return
    if confirm is None:
        click.confirm(f"{suspended_count} accounts will be suspended. Continue?", abort=True)
    elif confirm != suspended_count:
        raise click.ClickException(f"{suspended_count} accounts would be suspended, not {confirm}.")
    sweeps.until_done(trial_sweeps.begin_missing)
    with transaction() as ctx:
        overrides.confirm(ctx.at(now).by(operator()), until=now)
    _show(sweeps.until_done(trial_sweeps.expire_due), "done")


def _show(results: list[SweepResult], title: str) -> None:
    show_list({"swept": results}, title, "account: account_id, what, due: at", results)
