"""The bank's side of one customer: transfers into an account of ours, and what became of the money.

Prices are in euro cents. A statement may come late: its day's page is missing, and is held back.
"""

from dataclasses import dataclass, field

from billing.errors import Rejected
from tests.billing.bank.customers import Customers
from tests.billing.bank.story import line, statement
from tests.lives.money import PLANS

REVIEWER = "dev@example.com"


def iban(number):
    """A German number of an account, with its check digits."""
    body = f"12030000{number:010d}"
    return f"DE{98 - int(body + '131400') % 97:02d}{body}"


def euros(cents):
    return f"{cents // 100}.{cents % 100:02d}"


@dataclass
class Transfers:
    """One customer's transfers. `received`: money that statements showed, less what went back."""

    books: Customers
    slug: str
    number: int
    says: object
    received: int = 0
    paid: list = field(default_factory=list)  # lines that may be returned
    missing: tuple | None = None  # (page, cents) that has not come yet
    pages: int = 0
    closing: int = 0
    accepted: int = 0

    def __post_init__(self):
        self.own, self.payer = iban(10_000 + self.number), iban(20_000 + self.number)
        self.name = f"Firma Zz{self.number:05d} Quell"
        self.books.bank.register(self.own)

    def announce(self, plan, months, *, key):
        invoice = self.books.announce(self.slug, plan, months=months, key=key)
        self.says(f"announces {plan} x {months} months by transfer: {invoice.due_minor}")

    def open_invoice(self):
        """The newest open invoice; the customer knows its reference."""
        rows = [row for row in self.books.invoice_rows(self.slug) if row.state == "open"]
        return rows[-1] if rows else None

    def pays(self, cents, *, text="", reference=None, held=False, mark="CRDT", of=None):
        identity = of or f"TX-{self.number}-{self.pages + 1}"
        made = line(
            euros(cents),
            text=text,
            reference=reference,
            payer=self.name,
            iban=self.payer,
            mark=mark,
            reversal=mark == "DBIT",
            transaction_id=identity,
        )
        signed = cents if mark == "CRDT" else -cents
        self._page(made, signed, held=held)
        if mark == "CRDT":
            self.paid.append((cents, identity))
        self.says(
            f"transfer of {signed} ({reference or text or 'no reference'})"
            + (", its page is held" if held else "")
        )

    def _page(self, made, signed, *, held):
        books = self.books
        self.pages += 1
        before = self.closing
        if held:
            # A page that opens with another balance than the last one closed with: one is missing.
            missing = line("0.01", payer="Bank", iban=None, text=f"interest {self.pages}")
            page = statement(
                missing, number=self.pages, opening=before, day=books.now.date(), iban=self.own
            )
            self.pages += 1
            before += 1
            self.missing = page, signed
        page = statement(
            made, number=self.pages, opening=before, day=books.now.date(), iban=self.own
        )
        self.closing = before + signed
        self.receive(page)
        if not held:
            self.received += signed

    def receive(self, page):
        self.books.bank.now = self.books.now
        self.books.bank.receive(page)
        self.books.match()

    def missing_page_comes(self):
        page, signed = self.missing
        self.missing = None
        self.received += signed
        self.receive(page)
        self.says("the missing page comes")

    def returned(self, which):
        cents, identity = self.paid.pop(which % len(self.paid))
        self.pays(cents, mark="DBIT", of=identity, text="RETURN")

    def review(self, choose):
        """A reviewer looks at each of the customer's transfers that waits."""
        for item in self.books.queue():
            if item.account != self.own:
                continue
            invoice, how = self.open_invoice(), choose(["confirm", "keep_as_credit", "mark_seen"])
            arguments = {
                "confirm": [[(invoice.id, min(item.amount_minor, invoice.open_minor))]]
                if invoice
                else None,
                "keep_as_credit": [self.books.ids[self.slug]],
                "mark_seen": [],
            }[how]
            if arguments is None:
                continue
            more = {"reason": "as it is"} if how == "keep_as_credit" else {}
            try:
                self.books.act(how, REVIEWER, item.id, *arguments, **more)
                outcome = "done"
            except Rejected as error:
                outcome = type(error).__name__
            self.says(f"reviewer: {how} of {item.amount_minor}: {outcome}")

    def most(self):
        """The most credits that the money we hold may have bought, of the plans in its invoices."""
        held = max(self.received, 0) + self.accepted
        rows = self.books.invoice_rows(self.slug)
        prices = {row.due_minor // row.months for row in rows}
        rates = [credits / cents for cents, credits in PLANS.values() if cents in prices]
        return held * max(rates, default=0) + 12 * len(rows)
