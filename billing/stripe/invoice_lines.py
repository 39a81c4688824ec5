"""The purchases of a paid invoice, as a pure function of its lines and the catalog.

A line with a plan's price buys the plan's credits for the line's period, a line with a top-up's
price buys credits; the quantity multiplies both. A line of 0, as in a trial, buys nothing, unless
its price is 0. Proration lines follow `plan_changes`: more credits a month give the difference at
once; fewer take effect with the next invoice. The usage of a metered price never multiplies a plan.

A line that can't be read must not lose the others. Prorations count together, so one of them that
can't be read sets all of them aside.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from billing.errors import Rejected
from billing.purchases.purchases import Bought, months_of
from billing.renewal import periods
from billing.stripe import fields, plan_changes
from billing.stripe.catalog import Catalog, Meaning, is_unexplained
from billing.stripe.errors import (
    AbsurdCredits,
    AbsurdPeriod,
    LinesIncomplete,
    LineWithoutPeriod,
    NeedsPerson,
    UnknownPlan,
    UnknownPrice,
)
from billing.stripe.objects.invoice import Invoice, Line
from billing.stripe.plan_changes import OurLine, PlanChange

#: More credits than any plan or pack has: a mistake that an operator should see.
MAX_CREDITS = 100_000_000
#: Stripe bills every three years at most; prorations may begin in the period before.
#: https://docs.stripe.com/api/prices/create, recurring.interval_count
MAX_PERIOD_S = 6 * 366 * 86_400
#: The reason of an invoice that usage above a threshold made, within a period:
#: docs.stripe.com/billing/subscriptions/usage-based/thresholds
THRESHOLD = "subscription_threshold"


class Sold(NamedTuple):
    """The purchases of an invoice's readable lines, and an error for each other line.

    `pays_for_plan`: whether it paid for a plan, and so gives access.
    """

    bought: list[Bought]
    errors: list[Rejected]
    pays_for_plan: bool


#: A readable line with the meaning of its price; None: it is not ours.
Readable = tuple[Line, Meaning | None]


def sold(invoice: Invoice, catalog: Catalog, account_id: int) -> Sold:
    """Read what a paid invoice sold."""
    read = [(line, _meaning_or_flaw(invoice, line, catalog)) for line in invoice.lines]
    errors = [flaw for _, flaw in read if isinstance(flaw, Rejected)]
    is_complete = not any(line.is_proration for line, flaw in read if isinstance(flaw, Rejected))
    if invoice.has_more_lines:
        is_complete = False
        errors.append(LinesIncomplete(invoice=invoice.id, lines=len(invoice.lines)))
    lines: list[Readable] = [
        (line, meaning)
        for line, meaning in read
        if not isinstance(meaning, Rejected) and (is_complete or not line.is_proration)
    ]
    try:
        bought = _of_readable(invoice, lines, catalog, account_id)
    except NeedsPerson:
        lines, more = _one_by_one(invoice, lines, catalog)
        errors += more
        bought = _of_readable(invoice, lines, catalog, account_id)
    pays_for_plan = any(gives_access(*line) for line in _ours(lines, catalog))
    return Sold(bought, errors, pays_for_plan)


def _meaning_or_flaw(invoice: Invoice, line: Line, catalog: Catalog) -> Meaning | Rejected | None:
    """The meaning of a line's price, or the reason why the line can't be read."""
    if line.flaw:
        return line.error(invoice.id)
    try:
        meaning = catalog.meaning(line.price)
    except UnknownPlan as error:
        return error
    if is_unexplained(line.price, catalog):
        return UnknownPrice(prices=[line.price.id], object=invoice.id)
    return meaning


def _of_readable(
    invoice: Invoice, lines: Sequence[Readable], catalog: Catalog, account_id: int
) -> list[Bought]:
    """The purchases of these lines, as if the invoice had no others. Raises a NeedsPerson."""
    alone = replace(invoice, lines=tuple([line for line, _ in lines]), has_more_lines=False)
    return [*_of_lines(alone, _ours(lines, catalog), account_id)]


def _one_by_one(
    invoice: Invoice, lines: Sequence[Readable], catalog: Catalog
) -> tuple[list[Readable], list[Rejected]]:
    """Read each line alone, and the prorations together; return those that can be read."""
    prorations = [pair for pair in lines if pair[0].is_proration]
    sound: list[Readable] = []
    errors: list[Rejected] = []
    for part in [*[[pair] for pair in lines if not pair[0].is_proration], prorations]:
        try:
            _of_readable(invoice, part, catalog, account_id=0)
        except NeedsPerson as error:
            errors.append(error)
        else:
            sound += part
    return sound, errors


def readable_lines(invoice: Invoice, catalog: Catalog) -> list[OurLine]:
    """The lines of a paid invoice that can be read and have a price of ours."""
    read = [(line, _meaning_or_flaw(invoice, line, catalog)) for line in invoice.lines]
    lines = [(line, meaning) for line, meaning in read if not isinstance(meaning, Rejected)]
    return _ours(lines, catalog)


def _ours(lines: Sequence[Readable], catalog: Catalog) -> list[OurLine]:
    """Those of these lines that have a price of ours."""
    return [(_known(x, meaning, catalog), meaning) for x, meaning in lines if meaning]


def _known(line: Line, meaning: Meaning, catalog: Catalog) -> Line:
    """The line with what the stored price says of it; newer shapes only name the price.

    A newer line of a trial may show an amount of 0 a unit, too. Where no price says more, the plan
    itself must be free.
    """
    stored = catalog.prices.get(line.price.id or "", line.price)
    is_metered = stored.is_metered if line.price.is_metered is None else line.price.is_metered
    is_free = stored.is_free if line.price.is_free is None else line.price.is_free
    if is_free is None:
        is_free = line.is_free_price and meaning.plan is not None and meaning.plan.is_free
    return replace(line, is_free_price=is_free, price=replace(line.price, is_metered=is_metered))


def _of_lines(invoice: Invoice, lines: Sequence[OurLine], account_id: int) -> Iterator[Bought]:
    """The purchases of these lines. Raises AbsurdCredits, AbsurdPeriod or LineWithoutPeriod."""
    whole = [(line, meaning) for line, meaning in lines if not line.is_proration]
    bases = _bases(invoice, [pair for pair in whole if pair[1].plan])
    for line, meaning in whole:
        if meaning.plan is None:
            if line.amount > 0 or line.is_free_price:
                yield _line_top_up(invoice, line, meaning, account_id)
        elif line in bases and _is_paid_for(line) and meaning.plan.included_credits:
            yield _line_plan(invoice, line, meaning, account_id)
    if len(whole) < len(lines):
        yield from _of_prorations(invoice, lines, account_id)


def _of_prorations(invoice: Invoice, lines: Sequence[OurLine], account_id: int) -> Iterator[Bought]:
    for product, change in plan_changes.of_products(lines).items():
        if change.credits > 0 and change.is_paid and change.newest:
            line, meaning = change.newest
            if product is None:
                yield _difference(invoice, change, line, meaning, account_id)
            else:
                yield _more_of_a_pack(invoice, change, line, account_id)


def _bases(invoice: Invoice, lines: Sequence[OurLine]) -> list[Line]:
    """The lines that are a plan's base, and not usage on top of it.

    A plan that is only metered has one base, whatever the usage: its first line.
    """
    bases = [line for line, _ in lines if not line.price.is_metered]
    plans = {meaning.plan for line, meaning in lines if line in bases}
    for line, meaning in lines:
        if meaning.plan not in plans and invoice.reason != THRESHOLD:
            plans.add(meaning.plan)
            bases.append(line)
    return bases


def gives_access(line: Line, meaning: Meaning) -> bool:
    """Whether a paid line is a plan's, and neither a trial's nor mere usage."""
    return meaning.plan is not None and _is_paid_for(line) and not line.price.is_metered


def _is_paid_for(line: Line) -> bool:
    """Whether the line costs something, or its price is 0. A trial's line is 0 at a price above."""
    is_free = line.amount == 0 and line.is_free_price is True and line.quantity > 0
    return line.amount > 0 or is_free


def price_of(invoice: Invoice, line: Line) -> int:
    """The price of a line, net of discounts and of what credit notes took off before payment."""
    gross = sum([item.amount for item in invoice.lines if item.amount > 0])
    discount = line.discount
    if not any(item.discount for item in invoice.lines):
        # Older shapes tell the discount of the whole invoice only, or none.
        shown = sum([item.amount for item in invoice.lines]) - invoice.total
        discount = line.amount * max(invoice.discount or shown, 0) // max(gross, 1)
    return _after_credit_notes(invoice, line.amount - discount)


def _after_credit_notes(invoice: Invoice, amount: int) -> int:
    if invoice.credited and invoice.total > 0:
        amount = amount * max(invoice.total - invoice.credited, 0) // invoice.total
    return max(amount, 0)


def _line_plan(invoice: Invoice, line: Line, meaning: Meaning, account_id: int) -> Bought:
    assert meaning.plan is not None, "a plan's line"
    starts_at, ends_at = _period(invoice, line)
    quantity = 1 if line.price.is_metered else line.quantity
    return Bought(
        key=_key(invoice, line),
        account_id=account_id,
        origin=invoice.id,
        source="plan",
        credits=checked(meaning.plan.included_credits * quantity, invoice.id),
        starts_at=starts_at,
        ends_at=ends_at,
        plan_id=meaning.plan.id,
        price_minor=price_of(invoice, line),
        currency=invoice.currency,
    )


def _period(invoice: Invoice, line: Line) -> tuple[dt.datetime, dt.datetime]:
    """The period that the line buys."""
    if line.start is None or line.end is None or line.end <= line.start:
        raise LineWithoutPeriod(invoice=invoice.id, line=line.id)
    if line.end - line.start > MAX_PERIOD_S:
        raise AbsurdPeriod(invoice=invoice.id, line=line.id, seconds=line.end - line.start)
    return fields.moment(line.start), fields.moment(line.end)


def _line_top_up(invoice: Invoice, line: Line, meaning: Meaning, account_id: int) -> Bought:
    assert meaning.credits is not None, "a top-up's line"
    return Bought(
        key=_key(invoice, line),
        account_id=account_id,
        origin=invoice.id,
        source="top_up",
        credits=checked(meaning.credits * line.quantity, invoice.id),
        starts_at=fields.moment(line.start or invoice.created or fields.FIRST_SECOND),
        price_minor=price_of(invoice, line),
        currency=invoice.currency,
    )


def _more_of_a_pack(invoice: Invoice, change: PlanChange, line: Line, account_id: int) -> Bought:
    """More of a recurring pack, within its period: credits until the period ends."""
    starts_at, ends_at = _period(invoice, line)
    return Bought(
        key=plan_changes.key_of(invoice.id, line.price.id or "-"),
        account_id=account_id,
        origin=invoice.id,
        source="top_up",
        credits=checked(change.credits, invoice.id),
        starts_at=starts_at,
        ends_at=ends_at,
        price_minor=_after_credit_notes(invoice, change.net),
        currency=invoice.currency,
    )


def _difference(
    invoice: Invoice, change: PlanChange, line: Line, meaning: Meaning, account_id: int
) -> Bought:
    """The monthly credits by which the new plans exceed the old, for the rest of the period.

    Prorations that are billed with the next period's invoice come late: then all the months that
    they pay for come together, to be spent in the first month of that period.
    """
    assert meaning.plan is not None, "a plan's line"
    starts_at, ends_at = _period(invoice, line)
    credits = change.credits
    next_ends = [item.end or 0 for item in invoice.lines if (item.start or 0) >= (line.end or 0)]
    if next_ends:
        credits *= months_of(starts_at, ends_at)
        next_end = fields.moment(max(next_ends))
        starts_at, ends_at = ends_at, min(periods.boundary(ends_at, 1), next_end)
    return Bought(
        key=plan_changes.key_of(invoice.id),
        account_id=account_id,
        origin=invoice.id,
        source="plan",
        credits=checked(credits, invoice.id),
        starts_at=starts_at,
        ends_at=ends_at,
        plan_id=meaning.plan.id,
        price_minor=_after_credit_notes(invoice, change.net),
        currency=invoice.currency,
    )


def checked(credits: int, origin: str) -> int:
    """Return the credits of a purchase. Raises AbsurdCredits."""
    if not 0 < credits <= MAX_CREDITS:
        raise AbsurdCredits(credits=credits, object=origin)
    return credits


def _key(invoice: Invoice, line: Line) -> str:
    """The purchase's key. In the old API a subscription's lines all have the subscription's id."""
    return f"stripe:{invoice.id}:{line.id}:{line.price.id or line.price.product or '-'}"
