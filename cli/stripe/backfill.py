"""`billing stripe fill-gaps`: what never came by webhook, read from Stripe's list and applied."""

import collections
import datetime as dt

import click

from billing.errors import BillingError
from cli.screen import console, json_option, progress, show_json
from flows.stripe import backfill as stripe_backfill
from flows.stripe import fetch as stripe_fetch
from flows.stripe.backfill import Filled
from gateways.stripe_api import StripeGateway
from worker import clock

#: Ids that are printed; `--json` has all.
SHOWN = 20


class Moment(click.ParamType[dt.datetime]):
    """A time that has passed, in ISO 8601; UTC unless it says a zone."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.datetime:
        """The time, with a zone. Fails as click's types do."""
        try:
            found = dt.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-11-01T12:00", param, ctx)
        found = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
        if found >= clock.now():
            self.fail(f"{value} is still to come", param, ctx)
        return found


def gateway() -> StripeGateway:
    """The gateway to Stripe; ends the command where no API key is set."""
    found = stripe_fetch.gateway()
    if found is None:
        raise click.ClickException("set BILLING_STRIPE_API_KEY: a key that may only read will do")
    return found


@click.command("fill-gaps")
@click.option("--since", type=Moment(), help="From this time on. Default: where the last run was.")
@click.option("--dry-run", is_flag=True, help="Say what never came; keep and apply nothing.")
@json_option
def fill_gaps(*, since: dt.datetime | None, dry_run: bool, as_json: bool) -> None:
    """Read Stripe's list of events, and apply what never came by webhook; safe to repeat."""
    stripe = gateway()
    try:
        with progress.status("asking Stripe") as shown:
            done = stripe_backfill.fill(
                stripe,
                since=since,
                is_rehearsal=dry_run,
                watch=lambda done: shown.update(_so_far(done)),
            )
    except BillingError as error:
        words = "what was read until then is kept; run it again"
        raise click.ClickException(f"{error.name}: {error}; {words}") from None
    if as_json:
        _show_json(done, dry_run=dry_run)
    else:
        _show(done, dry_run=dry_run)


def _so_far(done: Filled) -> str:
    return f"{done.listed:,} events read, {len(done.new):,} new, {len(done.outcomes):,} applied"


def _show_json(done: Filled, *, dry_run: bool) -> None:
    show_json(
        {
            "dry_run": dry_run,
            "since": done.window.since,
            "until": done.window.until,
            "lost_s": done.window.lost.total_seconds(),
            "listed": done.listed,
            "unreadable": done.unreadable,
            "new": sorted(done.new),
            "outcomes": [outcome._asdict() for outcome in done.outcomes],
        }
    )


def _show(done: Filled, *, dry_run: bool) -> None:
    window = done.window
    if window.lost:
        words = (
            f"what happened in the {window.lost} before is no longer listed: billing stripe drift"
        )
        console.print(words, style="red")
    console.print(f"from {window.since:%Y-%m-%d %H:%M} to {window.until:%Y-%m-%d %H:%M} UTC:")
    verb = "would be kept" if dry_run else "kept"
    console.print(f"{done.listed:,} events listed, {len(done.new):,} of them new and {verb}")
    for event_id in sorted(done.new)[:SHOWN]:
        console.print(f"  {event_id}")
    if done.unreadable:
        console.print(f"{done.unreadable:,} can't be read: billing stripe events --state refused")
    states = collections.Counter(outcome.state for outcome in done.outcomes)
    for state, count in sorted(states.items()):
        console.print(f"{count:,} {state}")
