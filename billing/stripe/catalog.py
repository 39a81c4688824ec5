"""The meaning of Stripe's prices: a plan, a top-up of credits, or none of ours.

An operator's link (`billing stripe prices link`) comes first, then the price itself: metadata
`plan` (a slug) or `credits`, or a lookup key that is a plan's slug, alone or with `_…` behind it;
then its product.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import Rejected
from billing.host import accounts
from billing.host.accounts import HostPlan
from billing.stripe.errors import ForeignProduct, UnknownPlan, UnknownPrice
from billing.stripe.fields import Price
from billing.stripe.objects.base import Facts
from billing.stripe.objects.checkout_session import CheckoutSession
from billing.stripe.objects.invoice import Invoice
from billing.stripe.objects.subscription import Subscription
from models.stripe import StripePrice


@dataclass(frozen=True, slots=True)
class Meaning:
    """A plan, or a top-up of `credits` a unit."""

    plan: HostPlan | None = None
    credits: int | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """Operators' links, plans, and known prices, for the prices and products with these `names`."""

    names: frozenset[str]
    links: Mapping[str, Meaning | None]
    plans: Mapping[str, HostPlan]
    prices: Mapping[str, Price]

    def meaning(self, price: Price) -> Meaning | None:
        """Return the price's meaning; None for one that is not ours. Raises UnknownPlan."""
        names = [name for name in (price.id, price.product) if name]
        for name in names:
            if name in self.links:
                return self.links[name]
        sources = [price, *[self.prices[name] for name in names if name in self.prices]]
        return next((meaning for source in sources if (meaning := self._own_meaning(source))), None)

    def _own_meaning(self, price: Price) -> Meaning | None:
        if price.plan is not None:
            if price.plan not in self.plans:
                raise UnknownPlan(plan=price.plan, price=price.id)
            return Meaning(plan=self.plans[price.plan])
        if price.credits is not None and price.is_one_time is not False:
            return Meaning(credits=price.credits)
        key = price.lookup_key or ""
        fitting = [slug for slug in self.plans if key == slug or key.startswith(f"{slug}_")]
        return Meaning(plan=self.plans[max(fitting, key=len)]) if fitting else None


_NAMED = """
SELECT id, true, plan_id, credits, NULL::jsonb FROM billing.stripe_prices
WHERE id = ANY(%(names)s::text[])
UNION ALL
SELECT id, false, NULL, NULL, facts FROM billing.stripe_objects
WHERE id = ANY(%(names)s::text[]) AND kind IN ('price', 'product')
"""


def prices_of(facts: Facts) -> list[Price]:
    """The prices that an object mentions."""
    if isinstance(facts, Invoice):
        return [line.price for line in facts.lines]
    if isinstance(facts, Subscription | CheckoutSession):
        return [item.price for item in facts.items]
    return []


def load(session: Session, objects: Iterable[Facts], *, loaded: Catalog | None = None) -> Catalog:
    """Load the catalog of the prices of these objects; return `loaded` if it has them all."""
    prices = [price for facts in objects for price in prices_of(facts)]
    names = frozenset([name for price in prices for name in (price.id, price.product) if name])
    if loaded is not None and names <= loaded.names:
        return loaded
    if not names:
        return Catalog(names, {}, {}, {})
    plans = accounts.plans_by_slug(session)
    by_id = {plan.id: plan for plan in plans.values()}
    rows = session.connection().exec_driver_sql(_NAMED, {"names": sorted(names)})
    links: dict[str, Meaning | None] = {}
    prices_by_id: dict[str, Price] = {}
    for name, is_link, plan_id, credits, facts in rows.all():
        if is_link:
            links[name] = _linked(name, plan_id, credits, by_id)
        else:
            prices_by_id[name] = Price(**facts["price"])
    return Catalog(names, links, plans, prices_by_id)


def _linked(
    name: str, plan_id: int | None, credits: int | None, plans: Mapping[int, HostPlan]
) -> Meaning | None:
    if plan_id is not None:
        if plan_id not in plans:
            raise UnknownPlan(plan=plan_id, price=name)
        return Meaning(plan=plans[plan_id])
    return Meaning(credits=credits) if credits is not None else None


def unexplained(facts: Facts, catalog: Catalog) -> list[str]:
    """The ids of prices that the object only names, and that nothing known explains."""
    return sorted(
        {
            price.id
            for price in prices_of(facts)
            if price.id
            and price.is_one_time is None
            and price.id not in catalog.prices
            and catalog.meaning(price) is None
        }
    )


def refusal(facts: Facts, catalog: Catalog) -> Rejected | None:
    """ForeignProduct for an object that has prices, and none of ours; UnknownPrice before that."""
    try:
        if unknown := unexplained(facts, catalog):
            return UnknownPrice(prices=unknown, object=facts.id)
        prices = prices_of(facts)
        if not prices or any(catalog.meaning(price) for price in prices):
            return None
    except UnknownPlan as error:
        return error
    names = {name for price in prices for name in (price.id, price.product) if name}
    return ForeignProduct(object=facts.id, prices=sorted(names))


def unlearned(facts: Facts, catalog: Catalog) -> list[Price]:
    """The prices that the object carries in full, and that are not stored yet."""
    return [
        price
        for price in prices_of(facts)
        if price.id and price.is_one_time is not None and price.id not in catalog.prices
    ]


def links(session: Session) -> list[StripePrice]:
    """List the operators' links of prices and products."""
    return list(session.scalars(select(StripePrice).order_by(StripePrice.id)))


def link(ctx: Context, price: str, *, plan_id: int | None, credits: int | None) -> None:
    """Link a price or a product to a plan, to credits a unit, or (neither) to nothing of ours."""
    row = insert(StripePrice).values(
        id=price, plan_id=plan_id, credits=credits, actor=ctx.actor, recorded_at=ctx.now
    )
    new = row.excluded
    ctx.session.execute(
        row.on_conflict_do_update(
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
    """Remove the link of a price or a product; whether there was one."""
    gone = delete(StripePrice).where(StripePrice.id == price).returning(StripePrice.id)
    return session.execute(gone).first() is not None
