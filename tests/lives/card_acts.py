"""The acts of a customer at Stripe, drawn at random."""

from tests.lives.money import PLANS
from tests.lives.possible import Possible

MODES = ("always_invoice", "always_invoice", "create_prorations", "none")


class CardActs(Possible):
    """Acts of a customer who pays by card, and of those who pay back."""

    def subscribe(self):
        plan = self.chance.choice(list(PLANS))
        trial = self.chance.choice([0, 0, 0, 7, 14]) if plan != "free" else 0
        how = {
            "annual": self.chance.random() < 0.3,
            "quantity": self.chance.choice([1, 1, 1, 2, 3]),
            "off": self.chance.choice([0, 0, 0, 20, 50, 100]),
        }
        self.says(f"{plan} {how} trial {trial}")
        self.card.subscribe(plan, trial_days=trial, **how)

    second_subscription = subscribe

    def change(self, **changed):
        sub = self.chance.choice(self.running("active", "trialing"))
        new = {"plan": sub.plan, "annual": sub.annual, "quantity": sub.quantity} | {
            name: choose(sub) for name, choose in changed.items()
        }
        if new == {"plan": sub.plan, "annual": sub.annual, "quantity": sub.quantity}:
            return
        mode = self.chance.choice(MODES)
        self.says(f"{sub.id} {sub.plan} annual={sub.annual} x {sub.quantity} -> {new}, {mode}")
        self.card.change(sub, mode=mode, **new)

    def up(self):
        self.change(plan=lambda sub: self.next_plan(sub, 1))

    def down(self):
        self.change(plan=lambda sub: self.next_plan(sub, -1))

    def next_plan(self, sub, step):
        plans = list(PLANS)
        place = plans.index(sub.plan) + step * self.chance.choice([1, 2])
        return plans[min(max(place, 0), len(plans) - 1)]

    def interval(self):
        self.change(annual=lambda sub: not sub.annual)

    def quantity(self):
        self.change(quantity=lambda _: self.chance.choice([1, 2, 3]))

    def cancel_now(self):
        self.card.cancel(self.chance.choice(self.running()), prorates=False)

    def cancel_with_proration(self):
        self.card.cancel(self.chance.choice(self.running()), prorates=True)

    def cancel_at_end(self):
        sub = self.chance.choice(self.running())
        sub.cancels_at_end = True
        self.card._tell(sub)

    def pause(self):
        sub = self.chance.choice(self.running("active"))
        sub.voids = True
        self.card._tell(sub)

    def keep_after_all(self):
        sub = self.chance.choice(self.may_keep_after_all())
        sub.cancels_at_end = sub.voids = False
        self.card._tell(sub)

    def pay_late(self):
        self.card.collect(self.card.unpaid[0], by_hand=True)

    def top_up(self):
        how = self.chance.choice(["intent", "invoice", "checkout", "checkout with invoice"])
        self.card.top_up(self.chance.choice([1, 2]), how=how)

    def refund(self):
        charge, payment, left = self.chance.choice(self.refundable())
        self.card.refund(charge, payment, self.chance.choice([left, left, (left + 1) // 2]))

    def refund_fails(self):
        self.card.refund_fails(*self.chance.choice(self.card.refunds))

    def dispute(self):
        charge, payment, left = self.chance.choice(self.refundable())
        self.card.dispute(charge, payment, left)

    def dispute_won(self):
        self.card.close_dispute(*self.chance.choice(self.card.disputes), "won")

    def dispute_lost(self):
        self.card.close_dispute(*self.chance.choice(self.card.disputes), "lost")

    def credit_note(self):
        _, payment, left = self.chance.choice(self.may_credit_note())
        cents = self.chance.choice([left, (left + 1) // 2])
        payment.noted = self.noted(payment) + cents
        self.card.credit_note({"id": payment.id}, payment, cents)
