"""The acts of a customer by bank transfer, and of the main app, drawn at random."""

from billing.errors import Rejected
from billing.usage import holds
from billing_client import Capture, PlaceHold, Release, Reverse
from tests.lives.possible import Possible
from worker.database import transaction


class BankActs(Possible):
    """Acts of a customer who pays by transfer, of the main app, and of its users."""

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
        if answer.outcome == "taken":
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
