"""Paid invoices with what they bought, and the money that went back of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from billing.purchases.money import PaymentState
from billing.stripe import plan_changes
from billing.stripe.balance_parts import Part
from billing.stripe.objects.credit_note import CreditNote
from billing.stripe.objects.invoice import Invoice
from billing.stripe.plan_changes import OurLine, PlanChange
from models.purchases import Purchase


@dataclass(slots=True)
class Bill:
    """A paid invoice with what it bought.

    Attributes:
        prices: The price of each of its purchases, by its key.
        state: The cash of its payment.
        changes: Its change of plans, by None, and those of packs, by the price.
        gross: What was paid for it in all: cash, balance, and money that its own lines gave back.
        lost: Money in it that came from another purchase, and went back there after all.
        had: The credits of its rises, by product, that the subscription had bought before.
    """

    invoice: Invoice
    lines: Sequence[OurLine]
    bought: Sequence[Purchase]
    prices: Mapping[str, int]
    state: PaymentState
    notes: Sequence[CreditNote] = ()
    changes: dict[str | None, PlanChange] = field(init=False)
    gross: int = 0
    lost: int = 0
    had: dict[str | None, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.changes = plan_changes.of_products(self.lines)

    @property
    def order(self) -> tuple[int, bool, str]:
        """Its place in time. In one second money arrives in a balance before it is used."""
        invoice = self.invoice
        return invoice.finalized or invoice.created or 0, invoice.from_balance > 0, invoice.id

    def price(self, purchase: Purchase) -> int:
        """The price of one of its purchases; one from before prices has its share of the whole."""
        whole = sum([item.credits * item.lots for item in self.bought])
        return self.prices.get(
            purchase.key,
            self.state.paid * purchase.credits * purchase.lots // whole
            if purchase.price_minor is None
            else purchase.price_minor,
        )

    def is_late(self, purchase: Purchase) -> bool:
        """Whether it is the lot of its rise of plans in a period that had ended before."""
        change = self.changes.get(None)
        if change is None or purchase.key != plan_changes.key_of(self.invoice.id):
            return False
        return change.end <= int(purchase.starts_at.timestamp())

    def had_before(self, purchase: Purchase) -> int:
        """The credits of each lot of its purchase that the subscription had bought before.

        A rise that is billed late gives all its months in one lot.
        """
        for product, credits in self.had.items():
            if purchase.key == plan_changes.key_of(self.invoice.id, product):
                return credits * max(purchase.credits // self.changes[product].credits, 1)
        return 0


@dataclass(slots=True)
class Pot:
    """Money that went back at once: of which purchases, how much is parked, and the bills it paid.

    Without parts it is money that bought none of our credits, or that lost them before. `since`:
    the time of its arrival, in seconds. A use without a bill: it left the balance in another way.
    `has_fallen`: a fall that no bill shows came before, in the same period.
    """

    parts: list[Part]
    money: int
    parked: int
    since: int
    at: int = 0
    subscription: str | None = None
    has_fallen: bool = False
    uses: list[tuple[Bill | None, int]] = field(default_factory=list)

    def use(self, most: int, bill: Bill | None) -> int:
        """Use up to `most` of what is parked; return how much that was."""
        used = min(self.parked, max(most, 0))
        if used:
            self.parked -= used
            self.uses.append((bill, used))
        return used
