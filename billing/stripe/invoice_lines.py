"""What a payment at Stripe bought, as a pure function of what Stripe says of it.

A paid invoice's line with a plan's price buys that plan's credits for the line's period; one with a
one-time price with `credits` buys a top-up; quantity counts. A line of nothing, as in a trial, buys
nothing, unless its price is nothing. Proration lines follow `plan_changes`: more credits a
month give the difference at once, fewer wait for the next invoice, which will say so by itself.
"""

import datetime as dt
from collections.abc import Iterator, Sequence

from billing.purchases.purchases import Bought
from billing.stripe import json_fields as read
from billing.stripe.catalog import Catalog, Meaning
from billing.stripe.errors import AbsurdCredits, AbsurdPeriod, LinesIncomplete, LineWithoutPeriod
from billing.stripe.types import CheckoutSession, Facts, Invoice, Line, PaymentIntent

#: More credits than any plan or pack has: somebody's mistake, which a person should see.
MAX_CREDITS = 100_000_000
#: Stripe bills every three years at most; prorations may begin in the period before.
#: https://docs.stripe.com/api/prices/create, recurring.interval_count
MAX_PERIOD_S = 6 * 366 * 86_400


def first(payment: Sequence[Facts], kind: type[Facts]) -> Facts | None:
    """The payment's object of this kind, if there is one."""
    return next((each for each in payment if isinstance(each, kind)), None)


def of_payment(payment: Sequence[Facts], catalog: Catalog, account_id: int) -> list[Bought]:
    """What was bought by this payment, once it is paid; empty until then.

    Raises AbsurdCredits, AbsurdPeriod, LinesIncomplete, LineWithoutPeriod or UnknownPlan.
    """
    invoice = first(payment, Invoice)
    if isinstance(invoice, Invoice):
        if invoice.status != "paid":
            return []
        if invoice.has_more_lines:
            raise LinesIncomplete(invoice=invoice.id, lines=len(invoice.lines))
        return [*_of_lines(invoice, catalog, account_id)]
    return _top_up_of(payment, catalog, account_id)


def _of_lines(invoice: Invoice, catalog: Catalog, account_id: int) -> Iterator[Bought]:
    prorations: list[tuple[Line, Meaning]] = []
    last_end = max([line.end or 0 for line in invoice.lines], default=0)
    for line in invoice.lines:
        meaning = catalog.meaning(line.price)
        if meaning is None:
            continue
        if meaning.plan is None:
            if line.amount > 0 or line.is_free_price:
                yield _line_top_up(invoice, line, meaning, account_id)
        elif line.is_proration:
            prorations.append((line, meaning))
        elif _is_paid_for(line) and meaning.plan.included_credits:
            yield _line_plan(invoice, line, meaning, account_id)
    if prorations:
        yield from _difference(invoice, prorations, last_end, account_id)


def pays_for_a_plan(invoice: Invoice, catalog: Catalog) -> bool:
    """Whether a paid invoice lets the account in: it has a plan's line that is no trial's."""
    meanings = [(line, catalog.meaning(line.price)) for line in invoice.lines]
    return invoice.status == "paid" and any(
        meaning and meaning.plan and (_is_paid_for(line) or line.is_proration)
        for line, meaning in meanings
    )


def _is_paid_for(line: Line) -> bool:
    """A trial's line costs nothing though its price costs something. Discounts stand apart."""
    return line.amount > 0 or (line.is_free_price is True and line.quantity > 0)


def _line_plan(invoice: Invoice, line: Line, meaning: Meaning, account_id: int) -> Bought:
    assert meaning.plan is not None, "a plan's line"
    starts_at, ends_at = _period(invoice, line)
    return Bought(
        key=_key(invoice, line),
        account_id=account_id,
        origin=invoice.id,
        source="plan",
        credits=_checked(meaning.plan.included_credits * line.quantity, invoice),
        starts_at=starts_at,
        ends_at=ends_at,
        plan_id=meaning.plan.id,
    )


def _period(invoice: Invoice, line: Line, *, until: int = 0) -> tuple[dt.datetime, dt.datetime]:
    """When what the line bought begins and ends, which is not before `until`, in seconds."""
    if line.start is None or line.end is None or line.end <= line.start:
        raise LineWithoutPeriod(invoice=invoice.id, line=line.id)
    end = max(line.end, until)
    if end - line.start > MAX_PERIOD_S:
        raise AbsurdPeriod(invoice=invoice.id, line=line.id, seconds=end - line.start)
    return read.moment(line.start), read.moment(end)


def _line_top_up(invoice: Invoice, line: Line, meaning: Meaning, account_id: int) -> Bought:
    assert meaning.credits is not None, "a top-up's line"
    return Bought(
        key=_key(invoice, line),
        account_id=account_id,
        origin=invoice.id,
        source="top_up",
        credits=_checked(meaning.credits * line.quantity, invoice),
        starts_at=read.moment(line.start or invoice.created or read.FIRST_SECOND),
    )


def _difference(
    invoice: Invoice, lines: Sequence[tuple[Line, Meaning]], last_end: int, account_id: int
) -> Iterator[Bought]:
    """The monthly credits that the new plans give more than the old; for the rest of the period.

    Prorations may come with the next period's invoice: then what they bought lasts as long as that.
    """
    total, new = 0, []
    for line, meaning in lines:
        assert meaning.plan is not None, "a plan's line"
        is_new = line.amount >= 0
        total += (1 if is_new else -1) * meaning.plan.included_credits * line.quantity
        new += [(line, meaning.plan)] if is_new else []
    if total <= 0 or not new:
        return
    line, plan = max(new, key=lambda each: (each[0].start or 0, each[0].id))
    starts_at, ends_at = _period(invoice, line, until=last_end)
    yield Bought(
        key=f"stripe:{invoice.id}:proration",
        account_id=account_id,
        origin=invoice.id,
        source="plan",
        credits=_checked(total, invoice),
        starts_at=starts_at,
        ends_at=ends_at,
        plan_id=plan.id,
    )


def _top_up_of(payment: Sequence[Facts], catalog: Catalog, account_id: int) -> list[Bought]:
    """What a payment without an invoice bought: by the session's items, else by metadata."""
    checkout = first(payment, CheckoutSession)
    intent = first(payment, PaymentIntent)
    credits: int | None = None
    if isinstance(checkout, CheckoutSession):
        if checkout.mode != "payment" or checkout.payment_status != "paid" or checkout.invoice:
            return []
        meanings = [(catalog.meaning(each.price), each.quantity) for each in checkout.items]
        sold = sum([m.credits * quantity for m, quantity in meanings if m and m.credits])
        credits = sold or checkout.credits
    if isinstance(intent, PaymentIntent):
        if intent.status != "succeeded":
            return []
        if checkout is None and not intent.invoice:
            credits = intent.credits if intent.received > 0 else None
    origin = intent or checkout
    if credits is None or not isinstance(origin, PaymentIntent | CheckoutSession):
        return []
    named = checkout.payment_intent if isinstance(checkout, CheckoutSession) else None
    name = named or origin.id
    return [
        Bought(
            key=f"stripe:{name}",
            account_id=account_id,
            origin=name,
            source="top_up",
            credits=_checked(credits, origin),
            starts_at=read.moment(origin.created or read.FIRST_SECOND),
        )
    ]


def _checked(credits: int, origin: Facts) -> int:
    if not 0 < credits <= MAX_CREDITS:
        raise AbsurdCredits(credits=credits, object=origin.id)
    return credits


def _key(invoice: Invoice, line: Line) -> str:
    """The old API gave each of a subscription's lines the subscription's id."""
    return f"stripe:{invoice.id}:{line.id}:{line.price.id or line.price.product or '-'}"
