"""Stripe's invoices of one customer: a draft, the balance first, then the card, and its retries."""

from dataclasses import dataclass, field
from typing import Any

from tests.billing.stripe.writing import Shop
from tests.lives.money import PLANS, Money

DAY_S = 86_400
#: The smallest charge in US dollars, in cents.
SMALLEST = 50
RETRIES = (3, 5, 7)


@dataclass(eq=False)
class Bill:
    """An invoice as the model needs it."""

    invoice: dict
    subscription: Any
    bought: list
    back: list
    tries: int = 0
    from_balance: int = 0


@dataclass
class Invoices:
    """One customer at Stripe. `later(seconds, act)` plans an act; `succeeds()`: does the card pay?"""

    shop: Shop
    later: object
    succeeds: object
    says: object
    ends_unpaid: str = "canceled"
    money: Money = field(default_factory=Money)
    subscriptions: list = field(default_factory=list)
    charges: list = field(default_factory=list)  # (charge, payment)
    disputes: list = field(default_factory=list)  # (dispute, charge, payment)
    unpaid: list[Bill] = field(default_factory=list)
    refunds: list = field(default_factory=list)  # (refund, charge, payment)

    def price(self, plan, *, annual):
        unit = PLANS[plan][0] * (10 if annual else 1)
        return self.shop.price(plan, unit=unit, interval="year" if annual else "month")

    def _tell(self, sub, what="updated", **more):
        changed = {
            "id": sub.id,
            "created": sub.created,
            "latest_invoice": sub.latest,
            "trial_end": sub.trial_end,
            "cancel_at_period_end": sub.cancels_at_end,
            "pause_collection": {"behavior": "void"} if sub.voids else None,
        }
        price = self.price(sub.plan, annual=sub.annual)
        state = self.shop.subscription(
            price,
            start=sub.start,
            end=sub.end,
            status=sub.status,
            quantity=sub.quantity,
            **changed,
            **more,
        )
        self.shop.event(f"customer.subscription.{what}", state)

    def _line(self, sub, *, amount=None):
        """The line of the subscription's period."""
        line = self.shop.line(
            self.price(sub.plan, annual=sub.annual),
            start=sub.start,
            end=sub.end,
            quantity=sub.quantity,
            amount=amount,
        )
        return self._discounted(sub, line)

    def _discounted(self, sub, line):
        if sub.off and line["amount"] > 0:
            cents = line["amount"] * sub.off // 100
            line["discount_amounts"] = [{"amount": cents, "discount": "di_1"}]
        return line

    def _bill(self, lines, sub, bought, back, *, reason, status="draft"):
        discounts = [part for line in lines for part in line.get("discount_amounts", [])]
        total = sum(line["amount"] for line in lines) - sum(part["amount"] for part in discounts)
        made = self.shop.invoice(
            lines,
            subscription=sub and sub.id,
            status=status,
            billing_reason=reason,
            total=total,
            amount_due=max(total, 0),
            total_discount_amounts=discounts,
        )
        self.shop.event("invoice.created", made)
        if sub is not None:
            sub.latest = made["id"]
        return Bill(made, sub, bought, back)

    def finalize(self, bill):
        """The balance pays first, then the card."""
        invoice, shop = bill.invoice, self.shop
        if invoice["status"] != "draft":
            return
        if bill.subscription is not None and bill.subscription.voids:
            invoice["status"] = "void"
            self.shop.event("invoice.voided", invoice)
            return
        total, before = invoice["total"], shop.balance
        due = max(total + before, 0)
        if 0 < due < SMALLEST:
            shop.balance, due = due, 0
        else:
            shop.balance = min(total + before, 0)
        bill.from_balance = max(min(shop.balance, 0) - min(before, 0), 0)
        invoice |= {
            "status": "open",
            "starting_balance": before,
            "ending_balance": shop.balance,
            "amount_due": due,
            "status_transitions": {"finalized_at": shop.now},
        }
        shop.event("invoice.finalized", invoice)
        self.collect(bill)

    def collect(self, bill, *, by_hand=False):
        invoice, sub = bill.invoice, bill.subscription
        if invoice["status"] != "open" or (sub is not None and sub.is_over and not by_hand):
            return
        if invoice["amount_due"] and not by_hand and not self.succeeds():
            self._fails(bill)
            return
        if invoice["amount_due"]:
            charge = self.shop.pays(invoice)
        else:
            charge = None
            invoice["status"] = "paid"
            if not self.shop.basil:
                invoice["paid"] = True
            self.shop.event("invoice.paid", invoice)
        payment = self.money.pay(
            invoice["id"],
            invoice["amount_paid"],
            bill.from_balance,
            at=self.shop.now,
            bought=bill.bought,
            back=bill.back,
        )
        for sold in bill.bought:
            self.money.bridges.pop(sold.starts, None)
        if charge is not None:
            self.charges.append((charge, payment))
        self.says(
            f"invoice {invoice['id']} paid: cash {invoice['amount_paid']},"
            f" balance {bill.from_balance} -> {self.shop.balance}"
        )
        if bill in self.unpaid:
            self.unpaid.remove(bill)
        is_behind = sub is not None and sub.status in ("past_due", "unpaid", "incomplete")
        if is_behind and not any(other.subscription is sub for other in self.unpaid):
            sub.status = "active"
            self._tell(sub)

    def _fails(self, bill):
        invoice, sub = bill.invoice, bill.subscription
        bill.tries += 1
        invoice["attempt_count"] += 1
        if bill not in self.unpaid:
            self.unpaid.append(bill)
        self.says(f"invoice {invoice['id']} of {invoice['amount_due']} fails")
        self.shop.event("invoice.payment_failed", invoice)
        if sub is None or sub.is_over:
            return
        if sub.status == "active":
            sub.status = "past_due"
            self._tell(sub)
        if sub.status == "incomplete":
            self.later(DAY_S, lambda: self._expires(bill))
        elif bill.tries <= len(RETRIES):
            self.later(RETRIES[bill.tries - 1] * DAY_S, lambda: self.collect(bill))
        elif self.ends_unpaid == "canceled":
            self.end(sub, "its payments failed")
        else:
            sub.status = self.ends_unpaid
            self._tell(sub)

    def _expires(self, bill):
        sub = bill.subscription
        if sub.status == "incomplete":
            bill.invoice["status"] = "void"
            self.shop.balance -= bill.from_balance
            self.unpaid.remove(bill)
            self.shop.event("invoice.voided", bill.invoice)
            sub.status = "incomplete_expired"
            self._tell(sub, ended_at=self.shop.now)
