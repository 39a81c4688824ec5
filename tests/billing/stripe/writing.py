"""Stripe's side of the tests: objects and events as it writes them, before and since "basil"."""

import datetime as dt
import itertools
from dataclasses import dataclass, field

MONTH_S, HOUR_S = 30 * 86_400, 3_600


def seconds(*moment) -> int:
    return int(dt.datetime(*moment, tzinfo=dt.UTC).timestamp())


@dataclass
class Shop:
    """A shop at Stripe with one customer. `basil`: objects have the shapes since 2025-03-31.

    Its clock is `now`, in seconds; every event is kept in `events`, in the order it happened.
    `balance` is the customer's at Stripe: below 0 it is credit.
    """

    now: int
    customer: str | None = "cus_1"
    account_id: int | None = None
    basil: bool = False
    balance: int = 0
    events: list[dict] = field(default_factory=list)
    charges: list[dict] = field(default_factory=list)
    names: itertools.count = field(default_factory=lambda: itertools.count(1))

    def name(self, prefix) -> str:
        return f"{prefix}_{next(self.names)}"

    def event(self, type_, obj, **changed) -> dict:
        made = {
            "id": self.name("evt"),
            "object": "event",
            "api_version": "2025-03-31.basil" if self.basil else "2022-11-15",
            "created": self.now,
            "data": {"object": dict(obj)},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": type_,
            **changed,
        }
        self.events.append(made)
        return made

    # --- objects --------------------------------------------------------------------------------

    def price(self, plan="starter", *, unit=8900, interval="month", **metadata) -> dict:
        is_pack = "credits" in metadata
        return {
            "id": f"price_{'pack' if is_pack else plan}_{interval}",
            "object": "price",
            "active": True,
            "currency": "usd",
            "lookup_key": None,
            "metadata": metadata or {"plan": plan},
            "product": f"prod_{'pack' if is_pack else plan}",
            "recurring": None if is_pack else {"interval": interval, "interval_count": 1},
            "type": "one_time" if is_pack else "recurring",
            "unit_amount": unit,
        }

    def line(self, price, *, start, end, quantity=1, amount=None, proration=False, **changed):
        made = {
            "id": self.name("il"),
            "object": "line_item",
            "amount": price["unit_amount"] * quantity if amount is None else amount,
            "currency": price["currency"],
            "metadata": {},
            "period": {"start": start, "end": end},
            "quantity": quantity,
        }
        if self.basil:
            made |= {
                "parent": {
                    "type": "subscription_item_details",
                    "subscription_item_details": {"proration": proration},
                    "invoice_item_details": None,
                },
                "pricing": {
                    "type": "price_details",
                    "price_details": {"price": price["id"], "product": price["product"]},
                    "unit_amount_decimal": str(price["unit_amount"]),
                },
            }
        else:
            made |= {"price": price, "proration": proration, "type": "subscription"}
        return made | changed

    def invoice(self, lines, *, subscription=None, status="draft", **changed) -> dict:
        total = sum(line["amount"] for line in lines)
        made = {
            "id": self.name("in"),
            "object": "invoice",
            "amount_due": max(total, 0),
            "amount_paid": 0,
            "attempt_count": 0,
            "created": self.now,
            "currency": "usd",
            "customer": self.customer,
            "due_date": None,
            "lines": {"object": "list", "data": lines, "has_more": False},
            "metadata": {},
            "next_payment_attempt": None,
            "number": None,
            "status": status,
            "total": total,
        }
        if self.basil:
            details = {"subscription": subscription, "metadata": self.metadata()}
            made["parent"] = {"type": "subscription_details", "subscription_details": details}
        else:
            made |= {"subscription": subscription, "charge": None, "payment_intent": None}
            made |= {"paid": status == "paid"}
        return made | changed

    def metadata(self) -> dict:
        return {} if self.account_id is None else {"account_id": str(self.account_id)}

    def subscription(self, price, *, start, end, status="active", quantity=1, **changed) -> dict:
        item = {"id": "si_1", "object": "subscription_item", "price": price, "quantity": quantity}
        made = {
            "id": "sub_1",
            "object": "subscription",
            "cancel_at_period_end": False,
            "canceled_at": None,
            "created": start,
            "customer": self.customer,
            "ended_at": None,
            "items": {"object": "list", "data": [item]},
            "latest_invoice": None,
            "metadata": self.metadata(),
            "status": status,
        }
        period = {"current_period_start": start, "current_period_end": end}
        if self.basil:
            item |= period
        else:
            made |= period
        return made | changed

    def charge(self, amount, *, invoice=None, intent=None, **changed) -> dict:
        made = {
            "id": self.name("ch"),
            "object": "charge",
            "amount": amount,
            "amount_captured": amount,
            "amount_refunded": 0,
            "captured": True,
            "created": self.now,
            "currency": "usd",
            "customer": self.customer,
            "disputed": False,
            "metadata": {},
            "payment_intent": intent,
            "refunded": False,
            "status": "succeeded",
        }
        if not self.basil:
            made["invoice"] = invoice
        return made | changed

    def refund(self, charge, amount, *, status="succeeded", **changed) -> dict:
        return {
            "id": self.name("re"),
            "object": "refund",
            "amount": amount,
            "charge": charge["id"],
            "created": self.now,
            "currency": charge["currency"],
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "status": status,
            **changed,
        }

    def dispute(self, charge, *, amount=None, status="needs_response", **changed) -> dict:
        return {
            "id": self.name("dp"),
            "object": "dispute",
            "amount": charge["amount"] if amount is None else amount,
            "charge": charge["id"],
            "created": self.now,
            "currency": charge["currency"],
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "status": status,
            **changed,
        }

    def intent(self, amount, *, status="succeeded", **changed) -> dict:
        return {
            "id": self.name("pi"),
            "object": "payment_intent",
            "amount": amount,
            "amount_received": amount if status == "succeeded" else 0,
            "created": self.now,
            "currency": "usd",
            "customer": self.customer,
            "latest_charge": None,
            "metadata": {},
            "status": status,
            **changed,
        }

    def session(self, amount, *, intent=None, credits=None, **changed) -> dict:
        """A Checkout session in payment mode that is paid; `credits` by its metadata."""
        return {
            "id": self.name("cs_test"),
            "object": "checkout.session",
            "amount_total": amount,
            "client_reference_id": None,
            "created": self.now,
            "currency": "usd",
            "customer": self.customer,
            "invoice": None,
            "metadata": {} if credits is None else {"credits": str(credits)},
            "mode": "payment",
            "payment_intent": intent and intent["id"],
            "payment_link": None,
            "payment_status": "paid",
            "status": "complete",
            "subscription": None,
            **changed,
        }

    # --- what happens ---------------------------------------------------------------------------

    def pays(self, invoice, **changed) -> dict:
        """The invoice is paid; returns the charge. Leaves every event that Stripe then sends."""
        amount = invoice["amount_due"]
        charge = self.charge(amount, invoice=invoice["id"], intent=self.name("pi"))
        invoice |= {"status": "paid", "amount_paid": amount}
        invoice["attempt_count"] += 1
        if self.basil:
            link = {
                "id": self.name("inpay"),
                "object": "invoice_payment",
                "amount_paid": amount,
                "currency": "usd",
                "invoice": invoice["id"],
                "payment": {"type": "payment_intent", "payment_intent": charge["payment_intent"]},
                "status": "paid",
            }
            self.event("invoice_payment.paid", link)
        else:
            invoice |= {"paid": True, "charge": charge["id"]}
            invoice |= {"payment_intent": charge["payment_intent"]}
        invoice |= changed
        self.event("charge.succeeded", charge)
        self.event("invoice.paid", invoice)
        self.event("invoice.payment_succeeded", invoice)
        return charge

    def buys(self, amount=2500, *, credits=500, invoiced=False, **changed) -> dict:
        """A top-up by Checkout is paid; returns the charge. Leaves every event that Stripe sends.

        `invoiced`: with `invoice_creation`, so the invoice's line has an inline price.
        """
        intent = self.intent(amount)
        charge = self.charge(amount, intent=intent["id"])
        intent["latest_charge"] = charge["id"]
        session = self.session(amount, intent=intent, credits=credits, **changed)
        self.event("payment_intent.created", intent | {"status": "processing"})
        self.event("charge.succeeded", charge)
        self.event("payment_intent.succeeded", intent)
        if invoiced:
            line = self.line(self.inline_price(amount), start=self.now, end=self.now)
            invoice = self.invoice([line], status="paid", amount_paid=amount)
            payment = {"payment": {"payment_intent": intent["id"]}}
            invoice |= {"payment_intent": intent["id"], "payments": {"data": [payment]}}
            session["invoice"] = invoice["id"]
            self.event("invoice.paid", invoice)
        self.event("checkout.session.completed", session)
        return charge

    def inline_price(self, amount) -> dict:
        """A price that Checkout made of `price_data`."""
        name = self.name("inline")
        ids = {"id": f"price_{name}", "product": f"prod_{name}"}
        return self.price("", unit=amount, credits="1") | {**ids, "metadata": {}}

    def bills(self, price, *, start, end, quantity=1, subscription="sub_1") -> dict:
        """An invoice for a period is created and finalized; returns it."""
        line = self.line(price, start=start, end=end, quantity=quantity)
        invoice = self.invoice([line], subscription=subscription)
        self.event("invoice.created", invoice)
        invoice["status"] = "open"
        self.event("invoice.finalized", invoice)
        return invoice

    def settles(self, *lines, subscription="sub_1", **changed) -> dict:
        """An invoice is finalized and paid, by the customer's balance first; returns it.

        The charge is kept as the last of `charges`.
        """
        invoice = self.invoice([*lines], subscription=subscription, status="open", **changed)
        total, before = invoice["total"], self.balance
        used = min(total, -min(before, 0))
        self.balance = before + used
        due = max(total - used, 0)
        invoice |= {"starting_balance": before, "ending_balance": self.balance, "amount_due": due}
        if due:
            self.charges.append(self.pays(invoice))
        else:
            invoice |= {"status": "paid"}
            self.event("invoice.paid", invoice)
        return invoice

    def change(self, old, new, *, at, start, end, share=None) -> list[dict]:
        """The two proration lines of a change from (price, quantity) to another within a period."""
        share = (end - at) / (end - start) if share is None else share
        return [
            self.line(
                price,
                start=at,
                end=end,
                quantity=quantity,
                amount=sign * round(price["unit_amount"] * quantity * share),
                proration=True,
            )
            for sign, (price, quantity) in ((-1, old), (1, new))
            if price
        ]

    def credit_note(self, invoice, amount, **changed) -> dict:
        return {
            "id": self.name("cn"),
            "object": "credit_note",
            "amount": amount,
            "created": self.now,
            "currency": "usd",
            "customer": self.customer,
            "customer_balance_transaction": None,
            "invoice": invoice["id"],
            "metadata": {},
            "out_of_band_amount": None,
            "post_payment_amount": amount,
            "pre_payment_amount": 0,
            "refunds": [],
            "status": "issued",
            "type": "post_payment",
            **changed,
        }

    def refunds(self, charge, amount) -> dict:
        """Part of a charge is refunded; returns the refund."""
        refund = self.refund(charge, amount)
        charge["amount_refunded"] += amount
        self.event("refund.created", refund)
        self.event("charge.refunded", charge)
        return refund

    def opens_dispute(self, charge, **changed) -> dict:
        dispute = self.dispute(charge, **changed)
        charge["disputed"] = True
        self.event("charge.dispute.created", dispute)
        return dispute

    def closes_dispute(self, dispute, status) -> None:
        self.event("charge.dispute.closed", dispute | {"status": status})
