"""Stripe's subscriptions of one customer: periods, changes with prorations by the second, and ends.

docs.stripe.com/billing/subscriptions/prorations
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction

from tests.billing.stripe.writing import HOUR_S
from tests.lives import months
from tests.lives.invoices import DAY_S, Invoices
from tests.lives.money import PLANS, Sold, Term


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
    back: list = field(default_factory=list)  # of the pending lines: (term, cents, second)
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


@dataclass
class Subscriptions(Invoices):
    """A customer's subscriptions, with the invoices that they make."""

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
            bill = self._bill(
                [self._line(sub, amount=0)], sub, [], [], reason="subscription_create"
            )
            self._tell(sub, "created")
        else:
            sub.status = "incomplete"
            bill = self._bill(
                [self._line(sub)], sub, [self._base(sub)], [], reason="subscription_create"
            )
            self._tell(sub, "created")
        self.finalize(bill)
        if bill.invoice["status"] == "paid" and not trial_days and sub.status == "incomplete":
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
            self.says(f"{sub.id} renews {sub.plan} x {sub.quantity}, draft {bill.invoice['id']}")

    def _bill_period(self, sub, *, reason):
        """The invoice of a new period, with what was pending."""
        sold = [*sub.rises, self._base(sub)]
        return self._bill_pending(sub, [self._line(sub)], sold, reason=reason)

    def _bill_pending(self, sub, lines, sold, *, reason):
        bill = self._bill([*sub.pending, *lines], sub, sold, sub.back, reason=reason)
        sub.pending, sub.back, sub.rises = [], [], []
        return bill

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
        if not is_trial:
            self._silent(sub, other, now, is_billed=bool(lines))
        if is_new_period:
            back = [(sub.term, old, now)] if old else []
        elif lines:
            lines.append(self._discounted(sub, self._proration(other, now, new)))
            net, more = sub.priced(new) - old, other.credits - sub.credits
            if net < 0:
                back = [(sub.term, -net, now)]
                if plan == "free":
                    count = months.between(now, sub.end)
                    bought = [Sold(sub.term, other.credits, 0, now, count)]
            elif more > 0 and (new > 0 or plan == "free"):
                count = months.between(now, sub.end)
                bought = [Sold(sub.term, more, net, now, count, best=other.credits)]
        sub.term.is_changed |= bool(lines)
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

    def _silent(self, sub, other, now, *, is_billed):
        """A fall that is not billed leaves its credits; a billed rise may pay for them again."""
        term, more = sub.term, other.credits - sub.credits
        if more < 0 and not is_billed:
            term.silent -= more
        elif more > 0 and is_billed:
            again = min(term.silent, more)
            term.silent -= again
            span = (sub.end - now) * term.months
            lots = max((sub.end - sub.start) * months.between(now, sub.end), 1)
            term.again += math.ceil(again * min(Fraction(span, lots), 1))

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
            sub.back.append((sub.term, rest, now))
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
