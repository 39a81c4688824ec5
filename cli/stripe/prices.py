"""`billing stripe prices`: what Stripe's prices are here, said by a person."""

import getpass

import click
from sqlalchemy.orm import Session

from billing.host import accounts
from billing.stripe import catalog, inbox
from cli.screen import console, json_option, show_json, table
from models.stripe import StripePrice
from worker import clock
from worker.database import transaction


@click.group()
def prices() -> None:
    """Say which plan, or how many credits, a price or a product of Stripe's is."""


@prices.command("list")
@json_option
def list_prices(as_json: bool) -> None:
    """List what a person has said; prices whose own metadata says it need no line here."""
    with transaction() as ctx:
        found = catalog.links(ctx.session)
        slugs = {plan.id: plan.slug for plan in accounts.plans_by_slug(ctx.session).values()}
    if as_json:
        show_json({"prices": found})
        return
    table(
        f"{len(found)} prices and products",
        ("id", "means", "said by", "at"),
        [(row.id, _meaning(row, slugs), row.actor, row.recorded_at) for row in found],
    )


@prices.command()
@click.argument("price")
@click.option("--plan", help="The slug of the plan that it is.")
@click.option("--credits", type=click.IntRange(1, 100_000_000), help="Credits a unit: a top-up.")
@click.option("--foreign", is_flag=True, help="It is none of ours: its events are ignored.")
@json_option
def link(price: str, plan: str | None, credits: int | None, foreign: bool, as_json: bool) -> None:
    """Say what PRICE (price_… or prod_…) is; events that waited for it, or were foreign, go on."""
    if [plan is not None, credits is not None, foreign].count(True) != 1:
        raise click.UsageError("say one of --plan, --credits and --foreign")
    now = clock.now()
    with transaction() as ctx:
        plan_id = _plan_id(ctx.session, plan) if plan else None
        catalog.link(
            ctx.at(now).by(f"operator:{getpass.getuser()}"), price, plan_id=plan_id, credits=credits
        )
        woken = inbox.wake(ctx.at(now), reason="UnknownPrice")
        woken += inbox.wake_foreign(ctx.at(now), price)
    if as_json:
        show_json({"id": price, "plan_id": plan_id, "credits": credits, "events": woken})
    else:
        console.print(f"{price} is linked; {woken} events go on")


@prices.command()
@click.argument("price")
def unlink(price: str) -> None:
    """Take back what was said of PRICE; what it brought stays."""
    with transaction() as ctx:
        known = catalog.unlink(ctx.session, price)
    if not known:
        raise click.ClickException(f"nobody has said what {price} is")
    console.print(f"{price} is no longer linked")


def _plan_id(session: Session, slug: str) -> int:
    plans = accounts.plans_by_slug(session)
    if slug not in plans:
        raise click.ClickException(f"no plan has the slug {slug!r}: {', '.join(sorted(plans))}")
    return plans[slug].id


def _meaning(row: StripePrice, slugs: dict[int, str]) -> str:
    if row.plan_id is not None:
        return f"plan {slugs.get(row.plan_id, row.plan_id)}"
    return f"{row.credits:,} credits a unit" if row.credits else "none of ours"
