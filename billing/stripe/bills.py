"""The bills of accounts whose balance at Stripe moved: read only for those few."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from billing.context import Context
from billing.purchases import purchases
from billing.purchases.purchases import Bought
from billing.stripe import catalog, invoice_lines, object_rows
from billing.stripe.catalog import Catalog
from billing.stripe.objects.base import Facts
from billing.stripe.objects.invoice import Invoice
from billing.stripe.plan_changes import OurLine
from models.purchases import Purchase


class PaidInvoice(NamedTuple):
    """A paid invoice with all objects of its payment, its lines of ours, and what it bought."""

    invoice: Invoice
    objects: Sequence[Facts]
    lines: Sequence[OurLine]
    bought: Sequence[Purchase]
    prices: dict[str, int]


_PAID = """
SELECT id FROM billing.stripe_objects
WHERE account_id = ANY(%(ids)s::bigint[]) AND kind = 'invoice' AND facts ->> 'status' = 'paid'
"""


def read(ctx: Context, account_ids: Iterable[int], prices: Catalog) -> list[PaidInvoice]:
    """Read the paid invoices of these accounts. `prices`: a catalog that may know their prices."""
    rows = ctx.session.connection().exec_driver_sql(_PAID, {"ids": sorted(account_ids)})
    groups = object_rows.of_payments(ctx.session, [id_ for (id_,) in rows.all()])
    invoices = {
        item.id: item
        for group in groups.values()
        for item in group
        if isinstance(item, Invoice) and item.status == "paid"
    }
    prices = catalog.load(ctx.session, invoices.values(), loaded=prices)
    bought: dict[str, list[Purchase]] = {}
    for purchase in purchases.of_origins(ctx.session, invoices):
        bought.setdefault(purchase.origin, []).append(purchase)
    return [
        PaidInvoice(
            invoice,
            groups[id_],
            invoice_lines.readable_lines(invoice, prices),
            bought.get(id_, []),
            {item.key: item.price_minor or 0 for item in sold(invoice, prices)},
        )
        for id_, invoice in invoices.items()
    ]


def sold(invoice: Invoice, prices: Catalog) -> list[Bought]:
    """Return the purchases of the invoice's readable lines; its events report the others."""
    return invoice_lines.sold(invoice, prices, account_id=0).bought
