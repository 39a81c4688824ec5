"""The purchases of a paid invoice, as a pure function of its lines and the catalog.

A line with a plan's price buys the plan's credits for the line's period, a line with a top-up's
price buys credits; the quantity multiplies both. A line of 0, as in a trial, buys nothing, unless
its price is 0. Proration lines follow `plan_changes`: more credits a month give the difference at
once; fewer take effect with the next invoice.
"""

import datetime as dt
from collections.abc import Iterator, Sequence

from billing.purchases.purchases import Bought
from billing.stripe import fields
from billing.stripe.catalog import Catalog, Meaning
from billing.stripe.errors import AbsurdCredits, AbsurdPeriod, LinesIncomplete, LineWithoutPeriod
from billing.stripe.objects.invoice import Invoice, Line

#: More credits than any plan or pack has: a mistake that an operator should see.
MAX_CREDITS = 100_000_000
#: Stripe bills every three years at most; prorations may begin in the period before.
#: https://docs.stripe.com/api/prices/create, recurring.interval_count
MAX_PERIOD_S = 6 * 366 * 86_400


#: A line with the meaning of its price.
OurLine = tuple[Line, Meaning]


def paid_lines(invoice: Invoice, catalog: Catalog) -> list[OurLine]:
    """The lines of a paid invoice that have a price of ours; empty until it is paid.

    Raises UnknownPlan.
    """
    if invoice.status != "paid":
        return []
    meanings = [(line, catalog.meaning(line.price)) for line in invoice.lines]
    return [(line, meaning) for line, meaning in meanings if meaning is not None]


def purchases_of(invoice: Invoice, lines: Sequence[OurLine], account_id: int) -> list[Bought]:
    """The purchases of these `paid_lines`.

    Raises AbsurdCredits, AbsurdPeriod, LinesIncomplete or LineWithoutPeriod.
    """
    if invoice.status == "paid" and invoice.has_more_lines:
        raise LinesIncomplete(invoice=invoice.id, lines=len(invoice.lines))
    return [*_of_lines(invoice, lines, account_id)]


def _of_lines(invoice: Invoice, lines: Sequence[OurLine], account_id: int) -> Iterator[Bought]:
    prorations: list[OurLine] = []
    for line, meaning in lines:
        if meaning.plan is None:
            if line.amount > 0 or line.is_free_price:
                yield _line_top_up(invoice, line, meaning, account_id)
        elif line.is_proration:
            prorations.append((line, meaning))
        elif _is_paid_for(line) and meaning.plan.included_credits:
            yield _line_plan(invoice, line, meaning, account_id)
    if prorations:
        last_end = max([line.end or 0 for line in invoice.lines])
        yield from _difference(invoice, prorations, last_end, account_id)


def gives_access(line: Line, meaning: Meaning) -> bool:
    """Whether a paid line is a plan's, and no trial's."""
    return meaning.plan is not None and (_is_paid_for(line) or line.is_proration)


def _is_paid_for(line: Line) -> bool:
    """Whether the line costs something, or its price is 0. A trial's line is 0 at a price above."""
    return line.amount > 0 or (line.is_free_price is True and line.quantity > 0)


def _line_plan(invoice: Invoice, line: Line, meaning: Meaning, account_id: int) -> Bought:
    assert meaning.plan is not None, "a plan's line"
    starts_at, ends_at = _period(invoice, line)
    return Bought(
        key=_key(invoice, line),
        account_id=account_id,
        origin=invoice.id,
        source="plan",
        credits=checked(meaning.plan.included_credits * line.quantity, invoice.id),
        starts_at=starts_at,
        ends_at=ends_at,
        plan_id=meaning.plan.id,
    )


def _period(invoice: Invoice, line: Line, *, until: int = 0) -> tuple[dt.datetime, dt.datetime]:
    """The period that the line buys; it ends at `until`, in seconds, at the earliest."""
    if line.start is None or line.end is None or line.end <= line.start:
        raise LineWithoutPeriod(invoice=invoice.id, line=line.id)
    end = max(line.end, until)
    if end - line.start > MAX_PERIOD_S:
        raise AbsurdPeriod(invoice=invoice.id, line=line.id, seconds=end - line.start)
    return fields.moment(line.start), fields.moment(end)


def _line_top_up(invoice: Invoice, line: Line, meaning: Meaning, account_id: int) -> Bought:
    assert meaning.credits is not None, "a top-up's line"
    return Bought(
        key=_key(invoice, line),
        account_id=account_id,
        origin=invoice.id,
        source="top_up",
        credits=checked(meaning.credits * line.quantity, invoice.id),
        starts_at=fields.moment(line.start or invoice.created or fields.FIRST_SECOND),
    )


def _difference(
    invoice: Invoice, lines: Sequence[tuple[Line, Meaning]], last_end: int, account_id: int
) -> Iterator[Bought]:
    """The monthly credits by which the new plans exceed the old, for the rest of the period.

    Prorations may come with the next period's invoice; the purchase then lasts as long as that.
    """
    total, new = 0, []
    for line, meaning in lines:
        assert meaning.plan is not None, "a plan's line"
        is_new = line.amount >= 0
        total += (1 if is_new else -1) * meaning.plan.included_credits * line.quantity
        new += [(line, meaning.plan)] if is_new else []
    if total <= 0 or not new:
        return
    line, plan = max(new, key=lambda pair: (pair[0].start or 0, pair[0].id))
    starts_at, ends_at = _period(invoice, line, until=last_end)
    yield Bought(
        key=f"stripe:{invoice.id}:proration",
        account_id=account_id,
        origin=invoice.id,
        source="plan",
        credits=checked(total, invoice.id),
        starts_at=starts_at,
        ends_at=ends_at,
        plan_id=plan.id,
    )


def checked(credits: int, origin: str) -> int:
    """Return the credits of a purchase. Raises AbsurdCredits."""
    if not 0 < credits <= MAX_CREDITS:
        raise AbsurdCredits(credits=credits, object=origin)
    return credits


def _key(invoice: Invoice, line: Line) -> str:
    """The purchase's key. In the old API a subscription's lines all have the subscription's id."""
    return f"stripe:{invoice.id}:{line.id}:{line.price.id or line.price.product or '-'}"
