"""The meaning of Stripe's prices: a plan, a top-up of credits, or none of ours.

An operator's link (`billing stripe prices link`) comes first, of the price, then of its product;
then the price's own metadata, `plan` (a slug) or `credits`; then a lookup key that is a plan's
slug, alone or with `_…` behind it; then the product's metadata.

A plan that only the product names is not what a one-time price sells: that is a fee. Metadata that
gives a recurring price `credits` counts last, for many plans' prices say there what they include.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

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
from billing.stripe.objects.product import Product
from billing.stripe.objects.subscription import Subscription
from models.stripe import StripePrice

Value = TypeVar("Value")


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
        id_, product = price.id or "", price.product or ""
        if id_ in self.links:
            return self.links[id_]
        known = [price, *self._known(id_)]
        is_one_time = price.is_of_item or any(item.is_one_time for item in known)
        if product in self.links:
            meaning = self.links[product]
            return None if is_one_time and meaning and meaning.plan else meaning
        is_recurring = not is_one_time and any(item.is_one_time is False for item in known)
        products = [*known, *self._known(product)]
        credits = _first([item.credits for item in known])
        slug = _first([item.plan for item in known])
        if slug is None and (credits is None or is_recurring):
            slug = self._by_lookup_key(known)
            if slug is None and not is_one_time:
                slug = _first([item.product_plan for item in products])
        if slug is None:
            credits = credits or _first([item.product_credits for item in products])
            return Meaning(credits=credits) if credits is not None else None
        if slug not in self.plans:
            raise UnknownPlan(plan=slug, price=price.id)
        return Meaning(plan=self.plans[slug])

    def is_linked(self, price: Price) -> bool:
        """Whether an operator said what the price is, also that it is none of ours."""
        return any(name in self.links for name in (price.id, price.product) if name)

    def _known(self, name: str) -> list[Price]:
        return [self.prices[name]] if name in self.prices else []

    def _by_lookup_key(self, prices: Iterable[Price]) -> str | None:
        keys = [price.lookup_key for price in prices if price.lookup_key]
        fitting = [s for s in self.plans if any(k == s or k.startswith(f"{s}_") for k in keys)]
        return max(fitting, key=len, default=None)


def _first(values: Iterable[Value | None]) -> Value | None:
    return next((value for value in values if value is not None), None)


_NAMED = """
SELECT id, 'link', plan_id, credits, NULL::jsonb FROM billing.stripe_prices
WHERE id = ANY(%(names)s::text[])
UNION ALL
SELECT id, kind, NULL, NULL, facts FROM billing.stripe_objects
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
    for name, kind, plan_id, credits, facts in rows.all():
        if kind == "link":
            links[name] = _linked(name, plan_id, credits, by_id)
        else:
            of_product = kind == Product.KIND
            price = Product.from_json(facts).price if of_product else Price(**facts["price"])
            prices_by_id[name] = price
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
    prices = prices_of(facts)
    return sorted({price.id for price in prices if price.id and is_unexplained(price, catalog)})


def is_unexplained(price: Price, catalog: Catalog) -> bool:
    """Whether the price is only named, and nothing known explains it."""
    is_known = price.is_one_time is not None or price.id in catalog.prices
    if price.id is None or is_known or catalog.is_linked(price):
        return False
    try:
        # A product with a plan explains its fee, too.
        return catalog.meaning(replace(price, is_of_item=False)) is None
    except UnknownPlan:
        return False


def refusal(facts: Facts, catalog: Catalog) -> Rejected | None:
    """ForeignProduct for an object that has prices, and none of ours; before that a line's error.

    A session's own metadata outweigh its prices. A line that can't be read yet does not refuse an
    invoice that has another of ours, unless prorations are among them: they count together.
    """
    prices = prices_of(facts)
    if not prices or (isinstance(facts, CheckoutSession) and facts.is_top_up):
        return None
    lines = facts.lines if isinstance(facts, Invoice) else ()
    errors: list[Rejected] = [line.error(facts.id) for line in lines if line.flaw]
    is_ours = False
    for price in prices:
        try:
            is_ours = catalog.meaning(price) is not None or is_ours
        except UnknownPlan as error:
            errors.append(error)
    if unknown := unexplained(facts, catalog):
        errors.insert(0, UnknownPrice(prices=unknown, object=facts.id))
    can_be_parted = bool(lines) and not any(line.is_proration for line in lines)
    if is_ours and (can_be_parted or not errors):
        return None
    names = {name for price in prices for name in (price.id, price.product) if name}
    return errors[0] if errors else ForeignProduct(object=facts.id, prices=sorted(names))


def is_refused_by_link(facts: Facts, catalog: Catalog) -> bool:
    """Whether an operator said of each price of the object that it is none of ours."""
    return all(catalog.is_linked(price) for price in prices_of(facts))


def sells(invoice: Invoice, catalog: Catalog) -> bool:
    """Whether a line of the invoice is ours, or may be: it can't be read."""
    try:
        return any(line.flaw or catalog.meaning(line.price) for line in invoice.lines)
    except UnknownPlan:
        return True


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
