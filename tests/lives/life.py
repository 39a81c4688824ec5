"""One life: acts of a customer, the main app and people, drawn at random."""

import random
from collections import Counter
from dataclasses import dataclass, field

from tests.billing.stripe.writing import Shop
from tests.lives import months
from tests.lives.bank_acts import BankActs
from tests.lives.card import Card
from tests.lives.card_acts import CardActs
from tests.lives.invoices import DAY_S
from tests.lives.transfer import Transfers

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


@dataclass
class Life(CardActs, BankActs):
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
        wanted = self.chance.sample(list(KINDS), self.chance.randrange(5, 16))
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
        if kind := self.choose():
            self.says(f"- {kind}")
            getattr(self, kind)()
            self.reached[kind] += 1
        self.deliver()
        if self.spends and self.chance.random() < 0.5:
            self.spend_all()

    def choose(self):
        """A kind of act that is possible now, drawn by its weight."""
        kinds = [kind for kind in self.kinds if self.is_possible(kind)]
        if not kinds:
            return None
        return self.chance.choices(kinds, [self.kinds[kind] for kind in kinds])[0]

    def run(self, act):
        """An act that was planned before."""
        self.card.shop.now = self.world.second
        act()
        self.deliver()

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
