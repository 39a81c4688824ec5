"""One life: acts of a customer, the main app and people, drawn at random."""

import random
from collections import Counter
from dataclasses import dataclass, field

from billing.errors import Rejected
from billing.usage import holds
from billing_client import Capture, PlaceHold, Release, Reverse
from tests.billing.stripe.writing import Shop
from tests.lives import months
from tests.lives.card import DAY_S, Card
from tests.lives.money import PLANS
from tests.lives.transfer import Transfers
from worker.database import transaction

#: How often each kind of act happens; a life draws some of them.
KINDS = {
    "subscribe": 6,
    "up": 6,
    "down": 6,
    "interval": 4,
    "quantity": 4,
    "second_subscription": 1,
    "cancel_now": 3,
    "cancel_with_proration": 4,
    "cancel_at_end": 3,
    "keep_after_all": 2,
    "pause": 1,
    "pay_late": 3,
    "top_up": 3,
    "refund": 4,
    "refund_fails": 1,
    "dispute": 3,
    "dispute_won": 2,
    "dispute_lost": 2,
    "credit_note": 3,
    "announce": 4,
    "transfer": 6,
    "transfer_short": 2,
    "transfer_over": 2,
    "transfer_twice": 2,
    "transfer_unnamed": 2,
    "transfer_held": 2,
    "missing_page": 3,
    "transfer_returned": 3,
    "review": 4,
    "debit": 6,
    "spend_all": 6,
    "hold": 4,
    "end_hold": 4,
    "reverse": 2,
    "goodwill": 1,
    "app_suspends": 1,
    "app_activates": 1,
}
ALWAYS = ("subscribe", "pay_late", "review", "missing_page", "dispute_won", "dispute_lost")
MODES = ("always_invoice", "always_invoice", "create_prorations", "none")


def is_whole(payment):
    """Whether it is an invoice of which the balance has nothing yet: a note would give it twice."""
    pieces = payment.pieces
    return payment.id.startswith("in_") and not any(x.parked or x.moves for x in pieces)


@dataclass
class Life:
    """An account with its customer at Stripe and at the bank."""

    world: object
    number: int
    seed: int
    said: list[str] = field(default_factory=list)
    reached: Counter = field(default_factory=Counter)
    late: list = field(default_factory=list)
    held: list = field(default_factory=list)
    debits: list = field(default_factory=list)
    is_by_hand: bool = False
    keys: int = 0

    def __post_init__(self):
        self.chance = random.Random(self.seed)
        self.slug = f"life{self.number}"
        self.books.open_account(
            self.slug, status="trial", plan="starter", stripe_customer_id=f"cus_{self.number}"
        )
        shop = Shop(
            now=self.world.second,
            customer=f"cus_{self.number}",
            basil=self.chance.random() < 0.5,
            names=self.world.names,
        )
        failing = self.chance.choice([0, 0, 0.1, 0.4])
        self.card = Card(
            shop,
            later=self.later,
            succeeds=lambda: self.chance.random() >= failing,
            says=self.says,
            ends_unpaid=self.chance.choice(["canceled", "unpaid"]),
        )
        self.bank = Transfers(self.books, self.slug, self.number, self.says)
        self.delivers_late = self.chance.choice([0, 0, 0.1])
        wanted = self.chance.sample(list(KINDS), self.chance.randrange(4, 12))
        ways = self.chance.choice(["card", "card", "both", "bank"])
        if ways != "card":
            wanted += ["announce", "transfer"]
        if ways == "bank":
            wanted = [kind for kind in wanted if kind != "subscribe"]
        kinds = {*wanted, *(kind for kind in ALWAYS if ways != "bank" or kind != "subscribe")}
        self.kinds = {kind: KINDS[kind] * self.chance.choice([1, 1, 3]) for kind in sorted(kinds)}
        self.spends = self.chance.random() < 0.5

    @property
    def books(self):
        return self.world.books

    def says(self, text):
        self.said.append(f"{months.at(self.world.second):%Y-%m-%d %H:%M:%S}  {text}")

    def later(self, seconds, act):
        self.world.plan(self, seconds, act)

    def act(self):
        """One act of a kind that is possible now; then its events come to the worker."""
        self.card.shop.now = self.world.second
        kinds = [kind for kind in self.kinds if self.is_possible(kind)]
        if kinds:
            (kind,) = self.chance.choices(kinds, [self.kinds[kind] for kind in kinds])
            self.says(f"- {kind}")
            getattr(self, kind)()
            self.reached[kind] += 1
        self.deliver()
        if self.spends and self.chance.random() < 0.5:
            self.spend_all()

    def run(self, act):
        """An act that was planned before."""
        self.card.shop.now = self.world.second
        act()
        self.deliver()

    # --- what is possible ---

    def is_possible(self, kind):
        check = getattr(self, f"may_{kind}", None)
        return check is None or bool(check())

    def running(self, *statuses):
        wanted = statuses or ("active", "trialing", "past_due")
        return [sub for sub in self.card.subscriptions if sub.status in wanted]

    def may_subscribe(self):
        return all(sub.is_over for sub in self.card.subscriptions)

    def may_second_subscription(self):
        return len(self.running()) == 1

    def may_up(self):
        return self.running("active", "trialing")

    may_down = may_interval = may_quantity = may_up
    may_cancel_now = may_cancel_with_proration = may_cancel_at_end = running

    def may_pause(self):
        return self.running("active")

    def may_keep_after_all(self):
        return [sub for sub in self.running() if sub.cancels_at_end or sub.voids]

    def may_pay_late(self):
        return self.card.unpaid

    def refundable(self):
        return [
            (charge, payment, left)
            for charge, payment in self.card.charges
            if (left := charge["amount"] - charge["amount_refunded"] - charge.get("lost", 0)
                - self.noted(payment) - self.in_dispute(charge)) > 0
        ]  # fmt: skip

    def noted(self, payment):
        return getattr(payment, "noted", 0)

    def in_dispute(self, charge):
        return sum(one["amount"] for one, of, _ in self.card.disputes if of is charge)

    may_refund = may_dispute = refundable

    def may_credit_note(self):
        return [entry for entry in self.refundable() if is_whole(entry[1])]

    def may_refund_fails(self):
        return self.card.refunds

    def may_dispute_won(self):
        return self.card.disputes

    may_dispute_lost = may_dispute_won

    def may_announce(self):
        return self.bank.open_invoice() is None

    def may_transfer(self):
        return self.bank.open_invoice() is not None and self.bank.missing is None

    may_transfer_short = may_transfer_over = may_transfer_twice = may_transfer
    may_transfer_unnamed = may_transfer

    def may_transfer_held(self):
        return self.bank.pages and self.may_transfer()

    def may_missing_page(self):
        return self.bank.missing

    def may_transfer_returned(self):
        return self.bank.paid and self.bank.missing is None

    def may_end_hold(self):
        return self.held

    def may_reverse(self):
        return self.debits

    # --- the customer at Stripe ---

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
        self.card.top_up(self.chance.choice([1, 2]), by_intent=self.chance.random() < 0.5)

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

    # --- the customer at the bank ---

    def announce(self):
        self.keys += 1
        plan = self.chance.choice(["starter", "starter", "growth"])
        spans = self.chance.choice([1, 1, 1, 3, 12])
        try:
            self.bank.announce(plan, spans, key=f"announce:{self.number}:{self.keys}")
        except Rejected as error:
            self.says(f"refused: {type(error).__name__}")

    def transfer(self, *, factor=1.0, more=0, **how):
        invoice = self.bank.open_invoice()
        how.setdefault("reference", invoice.reference)
        self.bank.pays(max(int(invoice.open_minor * factor) + more, 1), **how)

    def transfer_short(self):
        self.transfer(**self.chance.choice([{"more": -15}, {"factor": 0.5}]))

    def transfer_over(self):
        self.transfer(**self.chance.choice([{"more": 500}, {"factor": 2.0}]))

    def transfer_twice(self):
        reference = self.bank.open_invoice().reference
        self.transfer()
        self.bank.pays(8900, reference=reference)

    def transfer_unnamed(self):
        self.transfer(reference=None, text="danke")

    def transfer_held(self):
        self.transfer(held=True)

    def missing_page(self):
        self.bank.missing_page_comes()

    def transfer_returned(self):
        self.bank.returned(self.chance.randrange(9))

    def review(self):
        self.bank.review(self.chance.choice)

    # --- the main app ---

    def key(self):
        self.keys += 1
        return f"k:{self.number}:{self.keys}"

    def debit(self, units=None):
        key = self.key()
        units = units or self.chance.choice([1, 20, 200])
        answer = self.books.debit(self.slug, "idea_generation", key=key, units=units)
        if answer.outcome == "posted":
            self.debits.append(key)
        self.says(f"debit of {2 * units}: {answer.outcome}")

    def spend_all(self):
        available = self.books.see(self.slug).available
        if available >= 2:
            self.debit(available // 2)

    def hold(self):
        key = self.key()
        message = PlaceHold(
            self.books.ids[self.slug], "idea_generation", key, units=self.chance.choice([5, 100])
        )
        with transaction() as ctx:
            placed = holds.place(ctx.at(self.books.now), message)
        if holds.error_of(placed, message) is None:
            self.held.append(key)

    def end_hold(self):
        end = self.chance.choice([Capture, Release])
        self.books.debit_all([end(self.books.ids[self.slug], self.held.pop())])

    def reverse(self):
        key = self.debits.pop(self.chance.randrange(len(self.debits)))
        self.books.debit_all([Reverse(self.books.ids[self.slug], key)])

    def goodwill(self):
        self.books.grant(self.slug, 100, key=self.key())

    def app_suspends(self):
        self.is_by_hand = True
        self.books.set_host(self.slug, status=self.chance.choice(["suspended", "cancelled"]))

    def app_activates(self):
        self.books.set_host(self.slug, status="active")

    # --- events ---

    def deliver(self):
        """Events come in order, mixed up, twice, or later."""
        events, self.card.shop.events = self.card.shop.events, []
        if not events:
            return
        now, how = [], self.chance.random()
        for event in events:
            if self.chance.random() < self.delivers_late:
                self.late.append(event)
                seconds = self.chance.choice([60, 3600, 2 * DAY_S])
                self.later(seconds, lambda event=event: self.comes_late(event))
            else:
                now.append(event)
        if how < 0.2:
            self.chance.shuffle(now)
        if how > 0.8:
            now += self.chance.choices(events, k=2)
            now = [event for event in now if event not in self.late]
        self.world.deliver(now)

    def comes_late(self, event):
        self.late.remove(event)
        self.says(f"late: {event['type']} of {event['data']['object']['id']}")
        self.world.deliver([event])
