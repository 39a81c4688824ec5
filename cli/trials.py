"""`billing trials`: list, extend, restore and end trials."""

import datetime as dt
from collections.abc import Callable, Sequence

import click

from billing.context import Context
from billing.errors import UnknownAccount
from billing.host import accounts
from billing.lifecycle.trials import overrides
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.sweep import SweepResult
from cli.screen import console, json_option, operator, show_json, table
from cli.topic import Topic
from flows import sweeps
from models.life import Trial
from worker import clock
from worker.database import rehearsal, transaction

#: The default limit of a list.
AT_ONCE = 100
#: The most trials of a dry run.
REHEARSED = 10_000

days_option = click.option("--days", type=click.IntRange(1, 365), help="Days from now.")
until_option = click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="A day, in UTC.")


@click.group(cls=Topic)
def trials() -> None:
    """List, extend, restore and end trials."""


@trials.command("list")
@click.option("--due", is_flag=True, help="Only trials whose grace period is over.")
@click.option("--limit", default=AT_ONCE, show_default=True, help="The most trials to list.")
@json_option
def list_trials(due: bool, limit: int, as_json: bool) -> None:
    """List open trials, the soonest suspension first."""
    with transaction() as ctx:
        open_trials = overrides.listed(ctx.session, due_at=ctx.now if due else None, limit=limit)
        to_confirm = trial_sweeps.to_confirm(ctx)
    if as_json:
        show_json({"to_confirm": to_confirm, "trials": open_trials})
        return
    _show(f"{len(open_trials)} open trials", open_trials)
    if to_confirm:
        console.print(f"{to_confirm} are due: `billing trials expire` asks before it suspends")


@trials.command()
@click.argument("account")
@days_option
@until_option
def extend(account: str, days: int | None, until: dt.datetime | None) -> None:
    """Give the running trial of ACCOUNT (id or slug) a later end."""
    _move(account, days, until, lambda ctx, id, at: overrides.extend(ctx, id, ends_at=at))


@trials.command()
@click.argument("account")
@days_option
@until_option
def restore(account: str, days: int | None, until: dt.datetime | None) -> None:
    """Put ACCOUNT, whose trial is over, back on trial, with its plan's credits."""
    _move(account, days, until, lambda ctx, id, at: overrides.restore(ctx, id, ends_at=at))


def _move(
    id_or_slug: str,
    days: int | None,
    until: dt.datetime | None,
    act: Callable[[Context, int, dt.datetime], bool],
) -> None:
    if (days is None) == (until is None):
        raise click.UsageError("Give --days or --until.")
    with transaction(actor=operator()) as ctx:
        account = accounts.read(ctx.session, id_or_slug)
        if account is None:
            raise UnknownAccount(account_id=id_or_slug)
        ends_at = until.replace(tzinfo=dt.UTC) if until else ctx.now + dt.timedelta(days=days or 0)
        has_moved = act(ctx, account.id, ends_at)
    verb = "ends" if has_moved else "already ends"
    console.print(f"{id_or_slug}: {verb} {ends_at:%Y-%m-%d %H:%M}")


@trials.command()
@click.option("--dry-run", is_flag=True, help="Show which accounts would be suspended.")
@click.option("--confirm", type=int, help="The number that you expect, instead of a question.")
@json_option
def expire(dry_run: bool, confirm: int | None, as_json: bool) -> None:
    """End the trials that are due, as beat does, after your confirmation."""
    now = clock.now()
    with rehearsal() as ctx:
        trial_sweeps.begin_missing(ctx.at(now), limit=REHEARSED)
        results = _rehearsed(ctx.at(now))
    suspended_count = sum(result.what == "trial_over" for result in results)
    if dry_run:
        _show_results(results, as_json=as_json, title="would be done")
        return
    if confirm is None:
        click.confirm(f"{suspended_count} accounts will be suspended. Continue?", abort=True)
    elif confirm != suspended_count:
        raise click.ClickException(f"{suspended_count} accounts would be suspended, not {confirm}.")
    sweeps.until_done(trial_sweeps.begin_missing)
    with transaction() as ctx:
        overrides.confirm(ctx.at(now).by(operator()), until=now)
    _show_results(sweeps.until_done(trial_sweeps.expire_due), as_json=as_json, title="done")


def _rehearsed(ctx: Context) -> list[SweepResult]:
    overrides.confirm(ctx.by(operator()), until=ctx.now)
    return trial_sweeps.expire_due(ctx, limit=REHEARSED)


def _show_results(results: list[SweepResult], *, as_json: bool, title: str) -> None:
    if as_json:
        show_json({"swept": results})
        return
    table(title, ("account", "what", "due"), [(r.account_id, r.what, r.at) for r in results])


def _show(title: str, trials: Sequence[Trial]) -> None:
    rows = [(t.account_id, t.started_at, t.ends_at, t.suspends_at) for t in trials]
    table(title, ("account", "started", "ends", "suspended"), rows)
