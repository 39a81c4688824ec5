"""Stripe's side of one customer: a small model of subscriptions, invoices, refunds and the balance.

It follows docs.stripe.com/billing/subscriptions/prorations and .../billing/customer/balance: lines
are prorated by the second, a draft is finalized an hour after its period began, the balance pays
first, and an amount below the smallest charge is carried over.
"""

from dataclasses import dataclass

from tests.lives.money import PACK, Sold
from tests.lives.subscriptions import Subscriptions


@dataclass
class Card(Subscriptions):
    """One customer at Stripe: top-ups, and money that goes back."""

    def top_up(self, quantity, *, how):
        """A pack, by an intent, by Checkout with or without an invoice, or by an invoice alone."""
        cents, credits = PACK[0] * quantity, PACK[1] * quantity
        now, shop = self.shop.now, self.shop
        if how.startswith("checkout"):
            charge = shop.buys(cents, credits=credits, invoiced=how.endswith("invoice"))
            name = charge["payment_intent"]
            bought = [Sold(None, credits, cents, now)]
            self.charges.append((charge, self.money.pay(name, cents, 0, at=now, bought=bought)))
            self.says(f"{how} {name}: {credits} for {cents}")
            return
        if how == "intent":
            intent = self.shop.name("pi")
            charge = shop.charge(cents, intent=intent)
            shop.event("charge.succeeded", charge)
            made = {
                "id": intent,
                "object": "payment_intent",
                "amount": cents,
                "amount_received": cents,
                "created": now,
                "currency": "usd",
                "customer": shop.customer,
                "latest_charge": charge["id"],
                "metadata": {"credits": str(credits)},
                "status": "succeeded",
            }
            shop.event("payment_intent.succeeded", made)
            bought = [Sold(None, credits, cents, now)]
            payment = self.money.pay(intent, cents, 0, at=now, bought=bought)
            self.charges.append((charge, payment))
            self.says(f"top-up {intent}: {credits} for {cents}")
            return
        pack = shop.price(unit=PACK[0], credits=str(PACK[1]))
        line = shop.line(pack, start=now, end=now, quantity=quantity)
        bill = self._bill([line], None, [Sold(None, credits, cents, now)], [], reason="manual")
        self.finalize(bill)

    def refund(self, charge, payment, cents):
        self.refunds.append((self.shop.refunds(charge, cents), charge, payment))
        payment.returned += cents
        self.says(f"refund of {cents} of {payment.id}")

    def refund_fails(self, refund, charge, payment):
        self.refunds.remove((refund, charge, payment))
        charge["amount_refunded"] -= refund["amount"]
        payment.returned -= refund["amount"]
        self.shop.event("refund.failed", refund | {"status": "failed"})
        self.shop.event("charge.refund.updated", refund | {"status": "failed"})
        self.says(f"refund of {refund['amount']} of {payment.id} fails")

    def dispute(self, charge, payment, cents):
        self.disputes.append((self.shop.opens_dispute(charge, amount=cents), charge, payment))
        payment.disputed = True
        self.says(f"dispute of {cents} of {payment.id}")

    def close_dispute(self, dispute, charge, payment, status):
        self.disputes.remove((dispute, charge, payment))
        self.shop.closes_dispute(dispute, status)
        if status == "lost":
            payment.returned += dispute["amount"]
            charge["lost"] = charge.get("lost", 0) + dispute["amount"]
        self.says(f"dispute of {payment.id} {status}")

    def credit_note(self, invoice, payment, cents):
        """A note to the customer's balance."""
        note = self.shop.credit_note(invoice, cents, customer_balance_transaction="cbtxn_1")
        self.shop.event("credit_note.created", note)
        self.shop.balance -= cents
        payment.returned += cents
        self.money.gives(cents)
        self.says(f"credit note of {cents} for {payment.id}, to the balance")
