"""`billing stripe`: list, show, replay and ignore Stripe's events; link customers."""

import getpass
import json
from collections.abc import Callable, Sequence

import click

from billing.context import Context
from billing.errors import Rejected
from billing.stripe import inbox_upkeep, links
from billing.stripe.errors import CustomerTaken
from billing.stripe.inbox_upkeep import UnknownEvent
from cli.screen import console, json_option, show_json, table
from cli.stripe.backfill import backfill, fill_gaps
from cli.stripe.drift import drift, sync
from cli.stripe.prices import prices
from cli.topic import Topic
from flows.stripe import apply as stripe_apply
from models.stripe import StripeEvent
from worker.database import rehearsal, transaction

#: Events that a command lists or takes by default.
AT_ONCE = 100
STATES = ("received", "applied", "ignored", "parked", "failed", "refused")

numbers_argument = click.argument("numbers", nargs=-1, type=int)
dry_run_option = click.option("--dry-run", is_flag=True, help="Change nothing.")
state_option = click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Events in this state; may be repeated. Default: parked and failed.",
)
reason_option = click.option("--reason", help="Events with this reason, such as UnknownCustomer.")
limit_option = click.option("--limit", default=AT_ONCE, show_default=True, help="The most events.")


@click.group(cls=Topic)
def stripe() -> None:
    """Inspect and repair Stripe's events and objects; link prices and customers."""


stripe.add_command(prices)
stripe.add_command(backfill)
stripe.add_command(fill_gaps)
stripe.add_command(drift)
stripe.add_command(sync)


@stripe.command()
@state_option
@reason_option
@limit_option
@json_option
def events(states: Sequence[str], reason: str | None, limit: int, as_json: bool) -> None:
    """List events, newest first; by default those that wait or failed."""
    with transaction() as ctx:
        rows = inbox_upkeep.listed(ctx.session, states=_open_or(states), reason=reason, limit=limit)
        counts = inbox_upkeep.counts(ctx.session)
    if as_json:
        show_json({"counts": counts, "events": rows})
        return
    shown = ", ".join(f"{number:,} {state}" for state, number in sorted(counts.items()))
    table(
        f"{len(rows)} events ({shown or 'none open'})",
        ("number", "happened", "type", "object", "account", "state", "reason", "tries", "due"),
        [
            (
                row.id,
                row.happened_at,
                row.type,
                row.object_id,
                row.account_id,
                row.state,
                _why(row),
                row.attempts,
                row.due_at,
            )
            for row in rows
        ],
    )


@stripe.command()
@click.argument("number", type=int)
@json_option
def show(number: int, as_json: bool) -> None:
    """Show event NUMBER in full."""
    with transaction() as ctx:
        row = ctx.session.get(StripeEvent, number)
    if row is None:
        raise click.ClickException(f"No event has the number {number}.")
    if as_json:
        show_json(row)
        return
    console.print(f"event {row.id}  {row.event_id}  {row.type}  {row.state}  {_why(row)}")
    console.print(f"delivered {row.deliveries} times, first at {row.received_at}, by {row.source}")
    if row.payload is not None:
        console.print(json.dumps(row.payload, indent=2), markup=False)
    elif row.raw is not None:
        console.print(row.raw.decode(errors="backslashreplace"), markup=False)
    else:
        console.print("its payload was deleted")


@stripe.command()
@numbers_argument
@click.option("--all", "take_all", is_flag=True, help="Take all that --state and --reason select.")
@state_option
@reason_option
@limit_option
@dry_run_option
@json_option
def replay(
    *,
    numbers: Sequence[int],
    take_all: bool,
    states: Sequence[str],
    reason: str | None,
    limit: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Apply events again, now. Effects that they had are not repeated."""
    chosen = _chosen(numbers, take_all, states, reason, limit)
    outcomes = []
    if not dry_run:
        _act_on(chosen, inbox_upkeep.replay)
        outcomes = [stripe_apply.apply(number) for number in chosen]
    if as_json:
        show_json(
            {"dry_run": dry_run, "numbers": chosen, "outcomes": [o._asdict() for o in outcomes]}
        )
        return
    for outcome in outcomes:
        console.print(f"{outcome.number}  {outcome.state}  {outcome.reason or ''}")
    console.print(f"{len(chosen)} {'would be ' if dry_run else ''}replayed")


@stripe.command()
@numbers_argument
@click.option("--all", "take_all", is_flag=True, help="Take all that --state and --reason select.")
@state_option
@reason_option
@limit_option
@dry_run_option
@json_option
def ignore(
    *,
    numbers: Sequence[int],
    take_all: bool,
    states: Sequence[str],
    reason: str | None,
    limit: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Ignore events that wait or failed; their rows stay."""
    chosen = _chosen(numbers, take_all, states, reason, limit)
    actor = f"operator:{getpass.getuser()}"
    if not dry_run:
        _act_on(
            chosen,
            lambda ctx, number: inbox_upkeep.ignore(ctx.by(actor), number),
        )
    if as_json:
        show_json({"dry_run": dry_run, "numbers": chosen})
    else:
        console.print(f"{len(chosen)} {'would be ' if dry_run else ''}ignored")


@stripe.command()
@click.argument("account_id", type=int)
@click.argument("customer")
@click.option("--move", is_flag=True, help="The account has another customer, and gets this one.")
@dry_run_option
@json_option
def link(*, account_id: int, customer: str, move: bool, dry_run: bool, as_json: bool) -> None:
    """Link ACCOUNT_ID to CUSTOMER (cus_…) at Stripe; events that waited for it are applied.

    A payment without a customer is linked by its Checkout session (cs_…) or intent (pi_…). With
    --move the account's payments by its old customer stay its own: their refunds reach it.
    """
    try:
        with rehearsal() if dry_run else transaction() as ctx:
            operator = ctx.by(f"operator:{getpass.getuser()}")
            linked = links.link_by_hand(operator, account_id, customer, may_move=move)
    except Rejected as error:
        can_move = isinstance(error, CustomerTaken) and not error.facts["others"]
        hint = " Add --move to give the account this customer." if can_move else ""
        raise click.ClickException(f"{error.name}: {error}{hint}") from None
    if as_json:
        moved = {"from": linked.moved_from, "objects": linked.objects}
        facts = {"dry_run": dry_run, "is_new": linked.is_new, "events": linked.events}
        show_json(facts | ({"moved": moved} if linked.moved_from else {}))
        return
    result = "would be linked" if dry_run else "linked" if linked.is_new else "linked before"
    console.print(f"account {account_id} and {customer}: {result}; {linked.events} events resumed")
    if linked.moved_from:
        keeps = "would keep" if dry_run else "keeps"
        console.print(f"it {keeps} the {linked.objects} known objects of {linked.moved_from}")


def _open_or(states: Sequence[str]) -> Sequence[str]:
    return states or ("parked", "failed")


def _chosen(
    numbers: Sequence[int],
    take_all: bool,
    states: Sequence[str],
    reason: str | None,
    limit: int,
) -> list[int]:
    if bool(numbers) == take_all:
        raise click.UsageError("Name events by number, or use --all.")
    if numbers:
        return list(numbers)
    with transaction() as ctx:
        rows = inbox_upkeep.listed(ctx.session, states=_open_or(states), reason=reason, limit=limit)
    return sorted(row.id for row in rows)


def _act_on(numbers: Sequence[int], act: Callable[[Context, int], object]) -> None:
    for number in numbers:
        try:
            with transaction() as ctx:
                act(ctx, number)
        except UnknownEvent as error:
            hint = f"`billing stripe show {number}` shows it."
            raise click.ClickException(f"{error}. {hint}") from None


def _why(row: StripeEvent) -> str:
    facts = ", ".join(f"{name}={value}" for name, value in (row.facts or {}).items())
    is_why = row.reason is not None
    return f"{row.reason} ({facts})" if is_why and facts else row.reason or facts
