"""The lines of an invoice that can be read: one that can't be must not lose the others.

Prorations count together, so one of them that can't be read sets all of them aside.
"""

from collections.abc import Callable
from dataclasses import replace

from billing.errors import Rejected
from billing.purchases.purchases import Bought
from billing.stripe import catalog as prices
from billing.stripe.catalog import Catalog
from billing.stripe.errors import LinesIncomplete, NeedsPerson, UnknownPlan, UnknownPrice
from billing.stripe.objects.invoice import Invoice, Line

#: What the lines of an invoice bought. Raises a NeedsPerson for lines that make no sense.
Reader = Callable[[Invoice], list[Bought]]


def purchases_of(
    invoice: Invoice, catalog: Catalog, read: Reader
) -> tuple[list[Bought], list[Rejected]]:
    """Read what the invoice bought; return an error for each line that can't be read."""
    flaws = [flaw_of(invoice, line, catalog) for line in invoice.lines]
    errors = [error for error in flaws if error is not None]
    if invoice.has_more_lines:
        errors.append(LinesIncomplete(invoice=invoice.id, lines=len(invoice.lines)))
    is_complete = not invoice.has_more_lines and not any(
        line.is_proration for line, error in zip(invoice.lines, flaws, strict=True) if error
    )
    good = [
        line
        for line, error in zip(invoice.lines, flaws, strict=True)
        if error is None and (is_complete or not line.is_proration)
    ]
    try:
        return read(_with(invoice, good) if errors else invoice), errors
    except NeedsPerson:
        sound, more = _one_by_one(invoice, good, read)
        return read(_with(invoice, sound)), errors + more


def flaw_of(invoice: Invoice, line: Line, catalog: Catalog) -> Rejected | None:
    """Return the reason why a line of this invoice can't be read."""
    if line.flaw:
        return line.error(invoice.id)
    try:
        catalog.meaning(line.price)
    except UnknownPlan as error:
        return error
    if prices.is_unexplained(line.price, catalog):
        return UnknownPrice(prices=[line.price.id], object=invoice.id)
    return None


def _one_by_one(
    invoice: Invoice, lines: list[Line], read: Reader
) -> tuple[list[Line], list[Rejected]]:
    """Read each line alone, and the prorations together; return those that can be read."""
    prorations = [line for line in lines if line.is_proration]
    parts = [[line] for line in lines if not line.is_proration]
    sound: list[Line] = []
    errors: list[Rejected] = []
    for part in [*parts, prorations]:
        try:
            read(_with(invoice, part))
        except NeedsPerson as error:
            errors.append(error)
        else:
            sound += part
    return sound, errors


def _with(invoice: Invoice, lines: list[Line]) -> Invoice:
    return replace(invoice, lines=tuple(lines), has_more_lines=False)
