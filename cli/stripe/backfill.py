"""`billing stripe backfill`: store and apply events that no webhook brought."""

import collections
import datetime as dt

import click

from billing.errors import BillingError
from cli.screen import console, dry_run_option, in_json, json_option, progress
from flows.stripe import backfill as stripe_backfill
from flows.stripe import fetch as stripe_fetch
from flows.stripe.backfill import Progress
from gateways.stripe_api import StripeGateway
from worker import clock

#: Ids that are printed; `--json` shows all.
SHOWN = 20


class Moment(click.ParamType[dt.datetime]):
    """A past time in ISO 8601; UTC unless it has a zone."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.datetime:
        """Parse the time. Fails as click's types do."""
        try:
            time = dt.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-01T12:00", param, ctx)
        time = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
        if time >= clock.now():
            self.fail(f"{value} is in the future", param, ctx)
        return time


def gateway() -> StripeGateway:
    """The gateway to Stripe; without an API key the command ends."""
    stripe = stripe_fetch.gateway()
    if stripe is None:
        raise click.ClickException("Set BILLING_STRIPE_API_KEY. A read-only key is enough.")
    return stripe


@click.command("backfill")
@click.option("--since", type=Moment(), help="Read from this time on. Default: the last run's end.")
@dry_run_option("List the missing events; store and apply nothing.")
@json_option
def backfill(*, since: dt.datetime | None, dry_run: bool) -> None:
    """Read Stripe's list of events, and apply those that no webhook brought; safe to repeat."""
    stripe = gateway()
    try:
        with progress.status("reading from Stripe") as shown:
            done = stripe_backfill.fill(
                stripe,
                since=since,
                is_rehearsal=dry_run,
                watch=lambda done: shown.update(_so_far(done)),
            )
    except BillingError as error:
        hint = "The events read so far are stored; run the command again."
        raise click.ClickException(f"{error.name}: {error}. {hint}") from None
    window = done.window
    facts = {
        "dry_run": dry_run,
        "since": window.since,
        "until": window.until,
        "lost_s": window.lost.total_seconds(),
        "listed": done.listed,
        "unreadable": done.unreadable,
        "new": sorted(done.new),
        "outcomes": [outcome._asdict() for outcome in done.outcomes],
    }
    if not in_json(facts):
        _show(done, dry_run=dry_run)


fill_gaps = click.Command(
    "fill-gaps",
    callback=backfill.callback,
    params=backfill.params,
    help="Old name of `backfill`.",
    hidden=True,
    deprecated="use `billing stripe backfill`",
)


def _so_far(done: Progress) -> str:
    return f"{done.listed:,} events read, {len(done.new):,} new, {len(done.outcomes):,} applied"


def _show(done: Progress, *, dry_run: bool) -> None:
    window = done.window
    if window.lost:
        console.print(
            f"Stripe no longer lists the {window.lost} before; run billing stripe drift",
            style="red",
        )
    console.print(f"from {window.since:%Y-%m-%d %H:%M} to {window.until:%Y-%m-%d %H:%M} UTC:")
    verb = "would be stored" if dry_run else "stored"
    console.print(f"{done.listed:,} events listed, {len(done.new):,} of them new and {verb}")
    for event_id in sorted(done.new)[:SHOWN]:
        console.print(f"  {event_id}")
    if done.unreadable:
        console.print(f"{done.unreadable:,} can't be parsed: billing stripe events --state refused")
    states = collections.Counter(outcome.state for outcome in done.outcomes)
    for state, count in sorted(states.items()):
        console.print(f"{count:,} {state}")
