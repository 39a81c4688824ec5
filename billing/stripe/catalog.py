"""What Stripe's prices mean here: a plan, a top-up of credits, or nothing of ours.

A person's link (`billing stripe prices link`) comes first, then what the price itself says:
metadata `plan` (a slug) or `credits`, or a lookup key that is a plan's slug, alone or with `_…`
behind it; then what its product says.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.host import accounts
from billing.host.accounts import HostPlan
from billing.postgres import arrays
from billing.stripe import object_rows
from billing.stripe.errors import ForeignProduct, UnknownPlan, UnknownPrice
from billing.stripe.types import CatalogPrice, CheckoutSession, Facts, Invoice, Price, Subscription
from models.stripe import StripePrice


@dataclass(frozen=True, slots=True)
class Meaning:
    """A plan, or a top-up of `credits` a unit."""

    plan: HostPlan | None = None
    credits: int | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that tells what the prices and products with these `names` mean."""

    names: frozenset[str]
    links: Mapping[str, Meaning | None]
    plans: Mapping[str, HostPlan]
    known: Mapping[str, Price]

    def meaning(self, price: Price) -> Meaning | None:
        """What the price means; None for one that is not ours. Raises UnknownPlan."""
        names = [each for each in (price.id, price.product) if each]
        for name in names:
            if name in self.links:
                return self.links[name]
        said = [price, *[self.known[name] for name in names if name in self.known]]
        return next((meaning for each in said if (meaning := self._said_by(each))), None)

    def _said_by(self, price: Price) -> Meaning | None:
        if price.plan is not None:
            if price.plan not in self.plans:
                raise UnknownPlan(plan=price.plan, price=price.id)
            return Meaning(plan=self.plans[price.plan])
        if price.credits is not None and price.is_one_time is not False:
            return Meaning(credits=price.credits)
        key = price.lookup_key or ""
        fitting = [slug for slug in self.plans if key == slug or key.startswith(f"{slug}_")]
        return Meaning(plan=self.plans[max(fitting, key=len)]) if fitting else None


def prices_of(facts: Facts) -> list[Price]:
    """The prices that an object mentions."""
    if isinstance(facts, Invoice):
        return [line.price for line in facts.lines]
    if isinstance(facts, Subscription | CheckoutSession):
        return [item.price for item in facts.items]
    return []


_NAMED = """
SELECT id, true, plan_id, credits, NULL::jsonb FROM billing.stripe_prices
WHERE id = ANY(%(names)s::text[])
UNION ALL
SELECT id, false, NULL, NULL, facts FROM billing.stripe_objects
WHERE id = ANY(%(names)s::text[]) AND kind IN ('price', 'product')
"""


def load(session: Session, prices: Iterable[Price], *, known: Catalog | None = None) -> Catalog:
    """What is known of these prices; `known`, where that says it already."""
    wanted = frozenset([each for price in prices for each in (price.id, price.product) if each])
    if known is not None and wanted <= known.names:
        return known
    if not wanted:
        return Catalog(wanted, {}, {}, {})
    plans = accounts.plans_by_slug(session)
    by_id = {plan.id: plan for plan in plans.values()}
    rows = session.connection().exec_driver_sql(_NAMED, {"names": arrays.texts(sorted(wanted))})
    links: dict[str, Meaning | None] = {}
    said: dict[str, Price] = {}
    for name, is_link, plan_id, credits, facts in rows.all():
        if is_link:
            links[name] = _linked(name, plan_id, credits, by_id)
        else:
            said[name] = CatalogPrice.from_json(facts).price
    return Catalog(wanted, links, plans, said)


def _linked(
    name: str, plan_id: int | None, credits: int | None, plans: Mapping[int, HostPlan]
) -> Meaning | None:
    if plan_id is not None:
        if plan_id not in plans:
            raise UnknownPlan(plan=plan_id, price=name)
        return Meaning(plan=plans[plan_id])
    return Meaning(credits=credits) if credits is not None else None


def unexplained(facts: Facts, catalog: Catalog) -> list[str]:
    """Ids of prices that the object only names, and that nothing known explains."""
    return sorted(
        {
            price.id
            for price in prices_of(facts)
            if price.id
            and price.is_one_time is None
            and price.id not in catalog.known
            and catalog.meaning(price) is None
        }
    )


def check(facts: Facts, catalog: Catalog) -> None:
    """Raises ForeignProduct for an object that has prices, and none of ours.

    And UnknownPrice where that can't be said yet.
    """
    prices = prices_of(facts)
    if unknown := unexplained(facts, catalog):
        raise UnknownPrice(prices=unknown, object=facts.id)
    if prices and not any(catalog.meaning(price) for price in prices):
        named = {each for price in prices for each in (price.id, price.product) if each}
        raise ForeignProduct(object=facts.id, prices=sorted(named))


def unlearned(facts: Facts, catalog: Catalog) -> list[Price]:
    """The prices that an object carries whole, and that are not known yet."""
    return [
        price
        for price in prices_of(facts)
        if price.id and price.is_one_time is not None and price.id not in catalog.known
    ]


def learn(ctx: Context, facts: Facts, catalog: Catalog, *, version_at: dt.datetime) -> bool:
    """Keep the prices that an object carries whole, so that others may only name them."""
    learned = False
    for price in unlearned(facts, catalog):
        whole = CatalogPrice(price.id or "", None, None, price, is_deleted=False)
        learned |= object_rows.keep(ctx, whole, account_id=None, version_at=version_at)
    return learned


def links(session: Session) -> list[StripePrice]:
    """What a person has said of prices and products."""
    return list(session.scalars(select(StripePrice).order_by(StripePrice.id)))


def link(ctx: Context, price: str, *, plan_id: int | None, credits: int | None) -> None:
    """Say what a price or a product is: a plan, credits a unit, or (neither) none of ours."""
    said = insert(StripePrice).values(
        id=price, plan_id=plan_id, credits=credits, actor=ctx.actor, recorded_at=ctx.now
    )
    new = said.excluded
    ctx.session.execute(
        said.on_conflict_do_update(
            index_elements=[StripePrice.id],
            set_={
                "plan_id": new.plan_id,
                "credits": new.credits,
                "actor": new.actor,
                "recorded_at": new.recorded_at,
            },
        )
    )


def unlink(session: Session, price: str) -> bool:
    """Take back what was said of a price or a product; whether anything was."""
    gone = delete(StripePrice).where(StripePrice.id == price).returning(StripePrice.id)
    return session.execute(gone).first() is not None
