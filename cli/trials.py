"""`billing trials`: who tries, until when, and what a person does about it."""

import datetime as dt
import getpass
from collections.abc import Callable, Sequence

import click

from billing.context import Context
from billing.errors import Rejected
from billing.host import accounts
from billing.lifecycle.trials import overrides as trials_act
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.sweep import SweepResult
from cli.screen import console, json_option, show_json, table
from flows import sweeps
from models.life import Trial
from worker import clock
from worker.database import rehearsal, transaction

#: Trials that a list shows, or a rehearsal takes, unless told otherwise.
AT_ONCE = 100
REHEARSED = 10_000

days_option = click.option("--days", type=click.IntRange(1, 365), help="So many days from now on.")
until_option = click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="To this day, UTC.")


@click.group()
def trials() -> None:
    """List, extend, restore and end trials."""


@trials.command("list")
@click.option("--due", is_flag=True, help="Only those whose grace is over.")
@click.option("--limit", default=AT_ONCE, show_default=True)
@json_option
def list_trials(due: bool, limit: int, as_json: bool) -> None:
    """List open trials, the soonest suspension first."""
    now = clock.now()
    with transaction() as ctx:
        found = trials_act.listed(ctx.session, due_at=now if due else None, limit=limit)
        to_confirm = trial_sweeps.to_confirm(ctx.at(now))
    if as_json:
        show_json({"to_confirm": to_confirm, "trials": found})
        return
    _show(f"{len(found)} open trials", found)
    if to_confirm:
        console.print(f"{to_confirm} are due: `billing trials expire` asks before it suspends")


@trials.command()
@click.argument("account")
@days_option
@until_option
def extend(account: str, days: int | None, until: dt.datetime | None) -> None:
    """Give the running trial of ACCOUNT (id or slug) a later end."""
    _move(account, days, until, trials_act.extend)


@trials.command()
@click.argument("account")
@days_option
@until_option
def restore(account: str, days: int | None, until: dt.datetime | None) -> None:
    """Put ACCOUNT, whose trial was over, back into it. Its lapsed credits do not come back."""
    _move(account, days, until, trials_act.restore)


def _move(
    account: str, days: int | None, until: dt.datetime | None, act: Callable[..., bool]
) -> None:
    if (days is None) == (until is None):
        raise click.UsageError("say --days or --until")
    now = clock.now()
    ends_at = until.replace(tzinfo=dt.UTC) if until else now + dt.timedelta(days=days or 0)
    try:
        with transaction() as ctx:
            found = accounts.read(ctx.session, account)
            if found is None:
                raise click.ClickException(f"no account has the id or slug {account!r}")
            has_moved = act(ctx.at(now).by(_who()), found.id, ends_at=ends_at)
    except Rejected as error:
        raise click.ClickException(f"{error.name}: {error}") from None
    console.print(f"{account}: {'ends' if has_moved else 'ended already'} {ends_at:%Y-%m-%d %H:%M}")


@trials.command()
@click.option("--dry-run", is_flag=True, help="Say who would be suspended; do nothing.")
@click.option("--confirm", type=int, help="How many you expect; without it you are asked.")
@json_option
def expire(dry_run: bool, confirm: int | None, as_json: bool) -> None:
    """End the trials that are due, as beat does; many at once only on your word."""
    now = clock.now()
    with rehearsal() as ctx:
        trial_sweeps.begin_missing(ctx.at(now), limit=REHEARSED)
        would = _rehearsed(ctx.at(now))
    over = [one for one in would if one.what == "trial_over"]
    if dry_run:
        _show_swept(would, as_json=as_json, title="would be done")
        return
    if confirm is None:
        click.confirm(f"{len(over)} accounts will be suspended. Go on?", abort=True)
    elif confirm != len(over):
        raise click.ClickException(f"{len(over)} accounts would be suspended, not {confirm}")
    sweeps.until_done(trial_sweeps.begin_missing)
    with transaction() as ctx:
        trials_act.confirm(ctx.at(now).by(_who()), until=now)
    _show_swept(sweeps.until_done(trial_sweeps.expire_due), as_json=as_json, title="done")


def _rehearsed(ctx: Context) -> list[SweepResult]:
    trials_act.confirm(ctx.by(_who()), until=ctx.now)
    return trial_sweeps.expire_due(ctx, limit=REHEARSED)


def _show_swept(swept: list[SweepResult], *, as_json: bool, title: str) -> None:
    if as_json:
        show_json({"swept": swept})
        return
    table(title, ("account", "what", "due"), [(one.account_id, one.what, one.at) for one in swept])


def _show(title: str, found: Sequence[Trial]) -> None:
    rows = [(t.account_id, t.started_at, t.ends_at, t.suspends_at) for t in found]
    table(title, ("account", "started", "ends", "suspended"), rows)


def _who() -> str:
    return f"operator:{getpass.getuser()}"
