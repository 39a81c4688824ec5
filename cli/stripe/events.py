"""`billing stripe`: list, show, replay and ignore Stripe's events; link customers."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

from billing.context import Context
from billing.stripe import inbox_upkeep, links
from billing.stripe.errors import CustomerTaken
from billing.stripe.inbox_upkeep import UnknownEvent
from cli.screen import (
    console,
    dry_run_option,
    in_json,
    json_option,
    limit_option,
    operator,
    options,
    show_list,
)
from cli.stripe.backfill import backfill, fill_gaps
from cli.stripe.drift import drift, sync
from cli.stripe.prices import prices
from cli.topic import Topic
from flows.stripe import apply as stripe_apply
from models.stripe import StripeEvent
from worker.database import rehearsal, transaction

STATES = ("received", "applied", "ignored", "parked", "failed", "refused")

rehearsal_options = options(dry_run_option("Change nothing."), json_option)
filter_options = options(
    click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice(STATES),
        help="Events in this state; may be repeated. Default: parked and failed.",
    ),
    click.option("--reason", help="Events with this reason, such as UnknownCustomer."),
    limit_option("The most events."),
)
choice_options = options(
    click.argument("numbers", nargs=-1, type=int),
    click.option(
        "--all", "take_all", is_flag=True, help="Take all that --state and --reason select."
    ),
    filter_options,
    rehearsal_options,
)


@click.group(cls=Topic)
def stripe() -> None:
    """Inspect and repair Stripe's events and objects; link prices and customers."""


for command in (prices, backfill, fill_gaps, drift, sync):
    stripe.add_command(command)


@stripe.command()
@filter_options
@json_option
def events(**filters: Any) -> None:
    """List events, newest first; by default those that wait or failed."""
    rows = _listed(**filters)
    with transaction() as ctx:
        counts = inbox_upkeep.counts(ctx.session)
    counted = ", ".join(f"{number:,} {state}" for state, number in sorted(counts.items()))
    show_list(
        {"counts": counts, "events": rows},
        f"{len(rows)} events ({counted or 'none open'})",
        "number: id, happened: happened_at, type, object: object_id, account: account_id, state"
        ", reason, tries: attempts, due: due_at",
        rows,
        {"reason": _why},
    )


@stripe.command()
@click.argument("number", type=int)
@json_option
def show(number: int) -> None:
    """Show event NUMBER in full."""
    with transaction() as ctx:
        row = ctx.session.get(StripeEvent, number)
    if row is None:
        raise click.ClickException(f"No event has the number {number}.")
    if in_json(row):
        return
    console.print(f"event {row.id}  {row.event_id}  {row.type}  {row.state}  {_why(row)}")
    console.print(f"delivered {row.deliveries} times, first at {row.received_at}, by {row.source}")
    if row.payload is not None:
        for line in json.dumps(row.payload, indent=2).splitlines():
            console.print(line)
    elif row.raw is not None:
        console.print(row.raw.decode(errors="backslashreplace"))
    else:
        console.print("its payload was deleted")


@stripe.command()
@choice_options
def replay(dry_run: bool, **choice: Any) -> None:
    """Apply events again, now. Effects that they had are not repeated."""
    chosen = _chosen(**choice)
    outcomes = []
    if not dry_run:
        _act_on(chosen, inbox_upkeep.replay)
        outcomes = [stripe_apply.apply(number) for number in chosen]
    ended = [outcome._asdict() for outcome in outcomes]
    if in_json({"dry_run": dry_run, "numbers": chosen, "outcomes": ended}):
        return
    for outcome in outcomes:
        console.print(f"{outcome.number}  {outcome.state}  {outcome.reason or ''}")
    console.print(f"{len(chosen)} {'would be ' if dry_run else ''}replayed")


@stripe.command()
@choice_options
def ignore(dry_run: bool, **choice: Any) -> None:
    """Ignore events that wait or failed; their rows stay."""
    chosen = _chosen(**choice)
    if not dry_run:
        _act_on(chosen, inbox_upkeep.ignore)
    if not in_json({"dry_run": dry_run, "numbers": chosen}):
        console.print(f"{len(chosen)} {'would be ' if dry_run else ''}ignored")


@stripe.command()
@click.argument("account_id", type=int)
@click.argument("customer")
@click.option("--move", is_flag=True, help="The account has another customer, and gets this one.")
@rehearsal_options
def link(*, account_id: int, customer: str, move: bool, dry_run: bool) -> None:
    """Link ACCOUNT_ID to CUSTOMER (cus_…) at Stripe; events that waited for it are applied.

    A payment without a customer is linked by its Checkout session (cs_…) or intent (pi_…). With
    --move the account's payments by its old customer stay its own: their refunds reach it.
    """
    try:
        with rehearsal() if dry_run else transaction() as ctx:
            linked = links.link_by_hand(ctx.by(operator()), account_id, customer, may_move=move)
    except CustomerTaken as error:
        hint = "" if error.facts["others"] else " Add --move to give the account this customer."
        raise click.ClickException(f"{error.name}: {error}{hint}") from None
    moved = {"from": linked.moved_from, "objects": linked.objects}
    facts = {"dry_run": dry_run, "is_new": linked.is_new, "events": linked.events}
    if in_json(facts | ({"moved": moved} if linked.moved_from else {})):
        return
    result = "would be linked" if dry_run else "linked" if linked.is_new else "linked before"
    console.print(f"account {account_id} and {customer}: {result}; {linked.events} events resumed")
    if linked.moved_from:
        keeps = "would keep" if dry_run else "keeps"
        console.print(f"it {keeps} the {linked.objects} known objects of {linked.moved_from}")


def _listed(states: Sequence[str], reason: str | None, limit: int) -> Sequence[StripeEvent]:
    states = states or ("parked", "failed")
    with transaction() as ctx:
        return inbox_upkeep.listed(ctx.session, states=states, reason=reason, limit=limit)


def _chosen(numbers: Sequence[int], take_all: bool, **filters: Any) -> list[int]:
    if bool(numbers) == take_all:
        raise click.UsageError("Name events by number, or use --all.")
    return list(numbers) or sorted(row.id for row in _listed(**filters))


def _act_on(numbers: Sequence[int], act: Callable[[Context, int], object]) -> None:
    for number in numbers:
        try:
            with transaction(actor=operator()) as ctx:
                act(ctx, number)
        except UnknownEvent as error:
            hint = f"`billing stripe show {number}` shows it."
            raise click.ClickException(f"{error}. {hint}") from None


def _why(row: StripeEvent) -> str:
    facts = ", ".join(f"{name}={value}" for name, value in (row.facts or {}).items())
    is_why = row.reason is not None
    return f"{row.reason} ({facts})" if is_why and facts else row.reason or facts
