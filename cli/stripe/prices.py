"""`billing stripe prices`: link Stripe's prices to plans and credits."""

import click
from sqlalchemy.orm import Session

from billing.host import accounts
from billing.stripe import catalog, inbox_upkeep
from cli.screen import console, in_json, json_option, operator, show_list
from cli.topic import Topic
from models.stripe import StripePrice
from worker.database import transaction


@click.group(cls=Topic)
def prices() -> None:
    """Link prices and products of Stripe's to plans or credits."""


@prices.command("list")
@json_option
def list_prices() -> None:
    """List the links. A price whose own metadata names a plan or credits needs none."""
    with transaction() as ctx:
        rows = catalog.links(ctx.session)
        slugs = {plan.id: plan.slug for plan in accounts.plans_by_slug(ctx.session).values()}
    show_list(
        {"prices": rows},
        f"{len(rows)} prices and products",
        "id, meaning, linked by: actor, at: recorded_at",
        rows,
        {"meaning": lambda row: _meaning(row, slugs)},
    )


@prices.command()
@click.argument("price")
@click.option("--plan", help="The slug of its plan.")
@click.option("--credits", type=click.IntRange(1, 100_000_000), help="Credits a unit: a top-up.")
@click.option("--foreign", is_flag=True, help="It is not ours: its events are ignored.")
@json_option
def link(price: str, plan: str | None, credits: int | None, foreign: bool) -> None:
    """Link PRICE (price_… or prod_…); events that waited for it, or were foreign, are applied."""
    if [plan is not None, credits is not None, foreign].count(True) != 1:
        raise click.UsageError("Use one of --plan, --credits and --foreign.")
    with transaction(actor=operator()) as ctx:
        plan_id = _plan_id(ctx.session, plan) if plan else None
        catalog.link(ctx, price, plan_id=plan_id, credits=credits)
        woken = inbox_upkeep.wake_price(ctx, price)
    if not in_json({"id": price, "plan_id": plan_id, "credits": credits, "events": woken}):
        console.print(f"{price} is linked; {woken} events resumed")


@prices.command()
@click.argument("price")
def unlink(price: str) -> None:
    """Remove the link of PRICE; its effects stay."""
    with transaction() as ctx:
        is_removed = catalog.unlink(ctx.session, price)
    if not is_removed:
        raise click.ClickException(f"{price} has no link.")
    console.print(f"{price} is no longer linked")


def _plan_id(session: Session, slug: str) -> int:
    plans = accounts.plans_by_slug(session)
    if slug not in plans:
        slugs = ", ".join(sorted(plans))
        raise click.ClickException(f"No plan has the slug {slug!r}; there are {slugs}.")
    return plans[slug].id


def _meaning(row: StripePrice, slugs: dict[int, str]) -> str:
    if row.plan_id is not None:
        return f"plan {slugs.get(row.plan_id, row.plan_id)}"
    return f"{row.credits:,} credits a unit" if row.credits else "not ours"
