"""Stripe's side of one customer: a small model of subscriptions, invoices and the balance.

It follows docs.stripe.com/billing/subscriptions/prorations and .../billing/customer/balance: lines
are prorated by the second, a draft is finalized an hour after its period began, the balance pays
first, and an amount below the smallest charge is carried over.
"""

from dataclasses import dataclass, field

from tests.billing.stripe.writing import HOUR_S, Shop
from tests.lives import months
from tests.lives.money import PACK, PLANS, Money, Sold, Term

DAY_S = 86_400
#: The smallest charge in US dollars, in cents.
SMALLEST = 50
RETRIES = (3, 5, 7)
#: Open: a rise that is billed with the next period gives its difference in that period's months
#: too. Without this the model counts the months that were paid for.
ALLOWS_LATE_RISES = True
#: Open: a fall without proration lines is not known, and the next rise gives its difference again.
ALLOWS_SILENT_FALLS = True


@dataclass(eq=False)
class Subscription:
    id: str
    plan: str
    annual: bool
    quantity: int
    off: int  # percent
    start: int
    end: int
    term: Term
    anchor: int
    created: int
    periods: int = 1
    status: str = "active"
    trial_end: int | None = None
    cancels_at_end: bool = False
    voids: bool = False  # `pause_collection` with `void`
    latest: str | None = None
    pending: list = field(default_factory=list)
    back: list = field(default_factory=list)  # of the pending lines: (term, cents)
    rises: list = field(default_factory=list)  # of the pending lines: `Sold`

    @property
    def is_over(self):
        return self.status in ("canceled", "incomplete_expired")

    @property
    def credits(self):
        return PLANS[self.plan][1] * self.quantity

    @property
    def months(self):
        return 12 if self.annual else 1

    def priced(self, cents):
        return cents - cents * self.off // 100


@dataclass(eq=False)
class Bill:
    """An invoice as the model needs it."""

    object: dict
    subscription: Subscription | None
    bought: list
    back: list
    tries: int = 0
    from_balance: int = 0


@dataclass
class Card:
    """One customer at Stripe. `later(seconds, act)` plans an act; `succeeds()`: does the card pay?"""

    shop: Shop
    later: object
    succeeds: object
    says: object
    ends_unpaid: str = "canceled"
    money: Money = field(default_factory=Money)
    subscriptions: list[Subscription] = field(default_factory=list)
    charges: list = field(default_factory=list)  # (charge, payment)
    disputes: list = field(default_factory=list)  # (dispute, charge, payment)
    unpaid: list[Bill] = field(default_factory=list)
    refunds: list = field(default_factory=list)  # (refund, charge, payment)

    # --- objects ---

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

    # --- invoices ---

    def finalize(self, bill):
        """The balance pays first, then the card."""
        invoice, shop = bill.object, self.shop
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
        invoice, sub = bill.object, bill.subscription
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
        self.says(f"invoice {invoice['id']} paid: cash {invoice['amount_paid']},"
                  f" balance {bill.from_balance} -> {self.shop.balance}")
        if bill in self.unpaid:
            self.unpaid.remove(bill)
        if sub is not None and sub.status in ("past_due", "unpaid", "incomplete"):
            if not any(other.subscription is sub for other in self.unpaid):
                sub.status = "active"
                self._tell(sub)

    def _fails(self, bill):
        invoice, sub = bill.object, bill.subscription
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
            bill.object["status"] = "void"
            self.shop.balance -= bill.from_balance
            self.unpaid.remove(bill)
            self.shop.event("invoice.voided", bill.object)
            sub.status = "incomplete_expired"
            self._tell(sub, ended_at=self.shop.now)

    # --- subscriptions ---

    def subscribe(self, plan, *, annual, quantity, off, trial_days=0):
        now = self.shop.now
        span = 12 if annual else 1
        end = now + trial_days * DAY_S if trial_days else months.months_later(now, span)
        sub = Subscription(
            self.shop.name("sub"), plan, annual, quantity, off, now, end, Term(now, span), now, now
        )
        self.subscriptions.append(sub)
        if trial_days:
            sub.status, sub.trial_end = "trialing", end
            bill = self._bill([self._line(sub, amount=0)], sub, [], [], reason="subscription_create")
            self._tell(sub, "created")
        else:
            sub.status = "incomplete"
            bill = self._bill(
                [self._line(sub)], sub, [self._base(sub)], [], reason="subscription_create"
            )
            self._tell(sub, "created")
        self.finalize(bill)
        if bill.object["status"] == "paid" and not trial_days and sub.status == "incomplete":
            sub.status = "active"
            self._tell(sub)
        self._plan_renewal(sub)

    def _plan_renewal(self, sub):
        end = sub.end
        self.later(end - self.shop.now, lambda: self._period_ends(sub, end))

    def _base(self, sub):
        unit = PLANS[sub.plan][0] * (10 if sub.annual else 1)
        price = sub.priced(unit * sub.quantity)
        return Sold(sub.term, sub.credits, price, sub.start, sub.months, best=sub.credits)

    def _period_ends(self, sub, end):
        if sub.is_over or sub.end != end:
            return
        if sub.cancels_at_end or sub.status == "incomplete":
            self.end(sub, "at the period's end")
            return
        if sub.status == "trialing":
            sub.status, sub.anchor, sub.periods = "active", end, 0
        follows = sub.term.pieces or sub.status == "trialing" or not sub.periods
        sub.periods += 1
        sub.start = end
        sub.end = months.months_later(sub.anchor, sub.periods * sub.months)
        sub.term = Term(sub.start, sub.months)
        self.renew(sub, has_bridge=follows)
        self._plan_renewal(sub)

    def renew(self, sub, *, has_bridge):
        """The new period's invoice is a draft for an hour."""
        bill = self._bill_period(sub, reason="subscription_cycle")
        self._tell(sub)
        if sub.status in ("active", "past_due"):
            if has_bridge:
                self._bridge(sub)
            self.later(HOUR_S + 60, lambda: self.finalize(bill))
            self.says(f"{sub.id} renews {sub.plan} x {sub.quantity}, draft {bill.object['id']}")

    def _bill_period(self, sub, *, reason):
        """The invoice of a new period, with what was pending."""
        rises = [self._late(sub, rise) if ALLOWS_LATE_RISES else rise for rise in sub.rises]
        return self._bill_pending(sub, [self._line(sub)], [*rises, self._base(sub)], reason=reason)

    def _bill_pending(self, sub, lines, sold, *, reason):
        bill = self._bill([*sub.pending, *lines], sub, sold, sub.back, reason=reason)
        sub.pending, sub.back, sub.rises = [], [], []
        return bill

    def _late(self, sub, rise):
        term = Term(rise.starts, months.between(rise.starts, sub.end))
        return rise._replace(term=term, months=term.months)

    def _bridge(self, sub):
        """A quarter of the month may come ahead of its payment."""
        self.money.bridges[sub.start] = -(-sub.credits // 4)

    def change(self, sub, plan, annual, quantity, mode):
        """Another plan, quantity or interval; `mode`: always_invoice, create_prorations or none."""
        now = self.shop.now
        is_trial = sub.status == "trialing"
        other = Subscription(
            sub.id, plan, annual, quantity, sub.off, sub.start, sub.end, sub.term, now, now
        )
        old, new = (self._rest(each, now, is_trial) for each in (sub, other))
        old = sub.priced(old)
        is_new_period = annual != sub.annual and not is_trial
        lines = [] if mode == "none" and not is_new_period else [self._proration(sub, now, -old)]
        bought, back = [], []
        if is_new_period:
            back = [(sub.term, old)] if old else []
        elif lines:
            lines.append(self._discounted(sub, self._proration(other, now, new)))
            net, more = sub.priced(new) - old, other.credits - sub.credits
            if net < 0:
                back = [(sub.term, -net)]
            elif more > 0 and (new > 0 or plan == "free"):
                count = months.between(now, sub.end)
                bought = [Sold(sub.term, more, net, now, count, best=other.credits)]
        sub.term.is_changed |= bool(lines)
        if ALLOWS_SILENT_FALLS and not lines:
            sub.term.best += max(sub.credits - other.credits, 0)
        sub.plan, sub.annual, sub.quantity = plan, annual, quantity
        sub.pending += lines
        sub.back += back
        sub.rises += bought
        if is_new_period:
            self._new_anchor(sub)
        elif lines and mode == "always_invoice":
            bill = self._bill_pending(sub, [], sub.rises, reason="subscription_update")
            self._tell(sub)
            self.finalize(bill)
        else:
            self._tell(sub)

    def _new_anchor(self, sub):
        now = self.shop.now
        sub.start = sub.anchor = now
        sub.periods, sub.term = 1, Term(now, sub.months)
        sub.end = months.months_later(now, sub.months)
        bill = self._bill_period(sub, reason="subscription_update")
        self._bridge(sub)
        self._tell(sub)
        self.finalize(bill)
        self._plan_renewal(sub)

    def _rest(self, sub, now, is_trial):
        """The price of the rest of the period; what is credited is net of the coupon."""
        unit = 0 if is_trial else PLANS[sub.plan][0] * (10 if sub.annual else 1)
        return round(unit * sub.quantity * (sub.end - now) / (sub.end - sub.start))

    def _proration(self, sub, now, amount):
        price = self.price(sub.plan, annual=sub.annual)
        return self.shop.line(
            price, start=now, end=sub.end, quantity=sub.quantity, amount=amount, proration=True
        )

    def cancel(self, sub, *, prorates):
        now = self.shop.now
        if prorates and sub.status in ("active", "past_due") and sub.term.starts < now:
            rest = sub.priced(self._rest(sub, now, False))
            sub.term.is_changed = True
            sub.pending.append(self._proration(sub, now, -rest))
            sub.back.append((sub.term, rest))
            bill = self._bill_pending(sub, [], sub.rises, reason="subscription_update")
            self.end(sub, "now, with proration")
            self.finalize(bill)
            self.collect(bill, by_hand=True)
        else:
            self.end(sub, "now")

    def end(self, sub, why):
        sub.status = "canceled"
        sub.pending = []
        self.says(f"{sub.id} ends {why}")
        self._tell(sub, "deleted", canceled_at=self.shop.now, ended_at=self.shop.now)

    # --- money that goes back ---

    def top_up(self, quantity, *, by_intent):
        cents, credits = PACK[0] * quantity, PACK[1] * quantity
        now, shop = self.shop.now, self.shop
        if by_intent:
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
        self.says(f"credit note of {cents} for {payment.id}, to the balance")
