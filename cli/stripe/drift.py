"""`billing stripe drift` and `billing stripe sync`: differences from Stripe, and their repair."""

import json

import click

from billing.stripe import drift as differences
from billing.stripe.drift import Report, Shown
from billing.stripe.resync import Resynced, resync
from cli.screen import console, dry_run_option, in_json, json_option, progress, table
from cli.stripe.backfill import gateway
from flows.stripe import apply as stripe_apply
from flows.stripe import fetch as stripe_fetch
from flows.stripe import reconcile as stripe_reconcile
from gateways.stripe_kinds import KINDS
from worker import clock
from worker.database import rehearsal, transaction

#: The kinds of objects that can be synced; an event is no object.
SYNCED = sorted(set(KINDS) - {"event", "v2_event"})


@click.command()
@json_option
def drift() -> None:
    """Compare subscriptions, invoices and customers with Stripe's; exit 1 if something differs.

    Repairs nothing. The differences are stored as findings, like the audit's.
    """
    stripe, now = gateway(), clock.now()
    with progress.status("reading from Stripe") as shown:
        report = stripe_reconcile.look(
            stripe, watch=lambda report: shown.update(f"{_compared(report)} compared")
        )
    with transaction() as ctx:
        differences.keep(ctx.at(now), report)
    if not in_json(report):
        _show(report)
    if report.differences:
        raise SystemExit(1)


@click.command()
@click.argument("kind", type=click.Choice(SYNCED))
@click.argument("object_id", metavar="ID")
@dry_run_option("Show the result, and roll it back.")
@json_option
def sync(kind: str, object_id: str, *, dry_run: bool) -> None:
    """Fetch one object from Stripe, and apply its current state."""
    fetched = stripe_fetch.fetch(gateway(), kind, object_id)
    with rehearsal() if dry_run else transaction() as ctx:
        synced = resync(ctx, kind, object_id, fetched, guard=stripe_apply.guard())
    if not in_json({"dry_run": dry_run, "synced": synced}):
        _show_synced(synced, dry_run=dry_run)


def _compared(report: Report) -> str:
    return ", ".join([f"{count:,} {kind}s" for kind, count in report.compared.items()])


def _show(report: Report) -> None:
    if not report.differences:
        console.print(f"{_compared(report)} compared: nothing differs", style="green")
        return
    table(
        f"{len(report.differences)} differences ({_compared(report)} compared)",
        "object: id, account: account_id, what, ours, Stripe's, command",
        report.differences,
        {"ours": lambda item: _shown(item.ours), "Stripe's": lambda item: _shown(item.stripe)},
    )
    if report.is_cut:
        console.print("there are more: repair these, or check the API key and the webhooks first")


def _shown(facts: Shown) -> str:
    return ", ".join([f"{name} {json.dumps(value)}" for name, value in facts.items()]) or "-"


def _show_synced(synced: Resynced, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    result = "synced" if synced.done.get("is_newer") else "unchanged, as we have a newer state"
    console.print(f"{synced.kind} {synced.id}: {would}{result}")
    before, after = synced.before, synced.after
    if before is None or after is None:
        return
    credits = synced.done.get("credits") or 0
    console.print(f"account {synced.account_id}: {credits:,} credits {would}given")
    console.print(f"  credits  {before.credits:,} -> {after.credits:,}")
    console.print(f"  status   {before.status} -> {after.status}")
    console.print(f"  plan     {before.plan_id} -> {after.plan_id}")
