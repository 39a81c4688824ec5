"""A simulated year of customers who pay by bank transfer, with the true account of each payment.

It has typos, wrong and missing references, references of others, partial, double, combined and
returned payments, and shared payers. It counts automatic decisions, and which of them were wrong.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from billing.bank.matching.open_items import OpenItems, by_likeness, folded
from billing.bank.matching.rules import match
from billing.bank.matching.types import (
    AUTOMATIC,
    EarlierTransfer,
    IncomingTransfer,
    IssuedInvoice,
    MatchDecision,
    MatchingPolicy,
    PayerHistory,
)
from billing.statements.canonical import Reference
from billing.statements.references import creditor_reference

PRICES = (2900, 4900, 8900, 8900, 13900, 22900, 22900)
VAT = (100, 119, 120, 121)
#: Habits of payers, with their share in a thousand payments.
HABITS = {
    "structured": 430,
    "text": 290,
    "no reference": 60,
    "typo": 50,
    "reference of an old invoice": 15,
    "reference of another customer": 15,
    "in two parts": 30,
    "too much": 20,
    "paid twice": 20,
    "two months at once": 20,
    "taken back": 20,
    "never pays": 30,
}
#: Habits whose payments have the right reference.
RIGHTLY = frozenset({"structured", "text", "in two parts", "too much", "two months at once"})
START = date(2026, 1, 1)
_FIRST = ("Anna", "Bo", "Carla", "Dirk", "Eva", "Finn", "Greta", "Hugo", "Ines", "Jan", "Karin")
_LAST = ("Adler", "Brandt", "Conti", "Dahl", "Egger", "Fuchs", "Gruber", "Hansen", "Ito", "Jung")


@dataclass(slots=True)
class Sent:
    """A payment and the truth about it."""

    incoming: IncomingTransfer
    account_id: int
    invoices: tuple[int, ...]
    habit: str


@dataclass(slots=True)
class Year:
    """The state of the simulation and its counts."""

    chance: random.Random
    accounts: int
    invoices: dict[int, IssuedInvoice] = field(default_factory=dict)
    payers: dict[str, dict[int, PayerHistory]] = field(default_factory=dict)
    earlier: list[EarlierTransfer] = field(default_factory=list)
    owed: dict[int, list[int]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    automatic: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, MatchDecision]] = field(default_factory=list)
    transfers: int = 0

    def report(self) -> dict[str, object]:
        """Return the figures."""
        rightly = sum(self.seen[habit] for habit in RIGHTLY)
        automatic = sum(self.automatic[habit] for habit in RIGHTLY)
        return {
            "accounts": self.accounts,
            "transfers": sum(self.seen.values()),
            "wrong_automatic": len(self.wrong),
            "rightly_referenced": rightly,
            "rightly_referenced_automatic": automatic,
            "automatic_share": round(automatic / rightly, 4) if rightly else 0.0,
            "rules": dict(sorted(self.rules.items())),
        }


def simulate(*, accounts: int = 1_000, months: int = 12, seed: int = 1) -> Year:
    """Simulate this many months, matched weekly; reviewers know the truth."""
    year = Year(random.Random(seed), accounts)
    due: list[Sent] = []
    for month in range(months):
        today = date(START.year + month // 12, month % 12 + 1, 1)
        _bill(year, today)
        due += [sent for id in range(1, accounts + 1) for sent in _pay(year, id, today)]
        for week in range(5):
            until = today + timedelta(days=7 * (week + 1))
            now = [sent for sent in due if sent.incoming.booking_date < until]
            due = [sent for sent in due if sent.incoming.booking_date >= until]
            _match(year, now)
    return year


def in_groups(value: str) -> str:
    """Return a reference in groups of four characters, as people write it."""
    return " ".join(value[start : start + 4] for start in range(0, len(value), 4))


def name_of(account_id: int) -> str:
    """Return the customer's name, which some share."""
    first, last = _FIRST[account_id % len(_FIRST)], _LAST[account_id // 7 % len(_LAST)]
    return f"{first} {last} {account_id // 3} GmbH"


def _bill(year: Year, today: date) -> None:
    for account_id in range(1, year.accounts + 1):
        id = len(year.invoices) + 1
        price = PRICES[account_id % len(PRICES)] * VAT[account_id % len(VAT)] // 100
        year.invoices[id] = IssuedInvoice(
            id=id,
            account_id=account_id,
            reference=creditor_reference(id),
            number=f"BT-{today.year}-{id:06d}",
            currency="EUR",
            due_minor=price,
            total_minor=price,
            state="open",
            issued_on=today,
            names=(name_of(account_id),),
        )
        year.owed.setdefault(account_id, []).append(id)


def _pay(year: Year, account_id: int, today: date) -> Iterator[Sent]:
    chance = year.chance
    habit = chance.choices(list(HABITS), list(HABITS.values()))[0]
    owed = year.owed[account_id]
    newest = year.invoices[owed[-1]]
    if habit == "never pays":
        return
    if habit == "two months at once":
        behind = [id for id in owed[:-1] if year.invoices[id].due_minor][-1:]
        both = (*behind, newest.id)
        amount = sum(year.invoices[id].due_minor for id in both)
        text = " and ".join(year.invoices[id].reference for id in both)
        yield _send(year, account_id, amount, today, habit=habit, invoices=both, text=text)
        return
    written = _written_reference(year, habit, owed, newest)
    parts = [newest.total_minor]
    if habit == "in two parts":
        half = newest.total_minor // 3
        parts = [half, newest.total_minor - half]
    elif habit == "too much":
        parts = [newest.total_minor + 500]
    elif habit in {"paid twice", "taken back"}:
        parts = [newest.total_minor] * 2
    structured = habit == "structured" or chance.random() < 0.3
    for at, amount in enumerate(parts):
        text, ref = _remittance(year, written, structured=structured)
        day = today + timedelta(days=chance.randrange(0, 4) + at * chance.randrange(4, 16))
        invoices = (newest.id,)
        yield _send(
            year, account_id, amount, day, habit=habit, invoices=invoices, text=text, ref=ref
        )


def _written_reference(
    year: Year, habit: str, owed: list[int], newest: IssuedInvoice
) -> str | None:
    """Return the reference that the payer writes."""
    chance = year.chance
    if habit == "no reference":
        return None
    if habit == "reference of an old invoice":
        return year.invoices[chance.choice(owed[:-1] or owed)].reference
    if habit == "reference of another customer":
        return chance.choice(list(year.invoices.values())).reference
    if habit == "typo":
        at = chance.randrange(4, len(newest.reference))
        wrong = str((int(newest.reference[at]) + chance.randrange(1, 10)) % 10)
        return newest.reference[:at] + wrong + newest.reference[at + 1 :]
    return newest.reference


def _remittance(year: Year, written: str | None, *, structured: bool) -> tuple[str, str | None]:
    """Return free text and structured reference of a payment."""
    chance = year.chance
    if written is None:
        return chance.choice(("", "thank you", "Rechnung", "invoice of this month")), None
    if structured:
        return "", written
    shape = chance.choice(("{0}", "Invoice {0}", "{1}", "ref {1} thanks", "{2}", "pay/{0}/x"))
    return shape.format(written, in_groups(written), written.lower()), None


def _send(
    year: Year,
    account_id: int,
    amount: int,
    day: date,
    *,
    habit: str,
    invoices: tuple[int, ...],
    text: str = "",
    ref: str | None = None,
) -> Sent:
    year.transfers += 1
    chance = year.chance
    # One in thirty pays through an accountant, who pays for others too; one in fifty from abroad.
    shared = chance.random() < 1 / 30
    iban = f"DE{account_id % 20:020d}" if shared else f"AT{account_id:020d}"
    if chance.random() < 1 / 50:
        iban = f"FR{chance.randrange(10**6):020d}"
    incoming = IncomingTransfer(
        id=year.transfers,
        order=f"{year.transfers:08d}",
        amount_minor=amount,
        currency="EUR",
        booking_date=day,
        receiving="DE02120300000000202051",
        structured=(Reference("SCOR", ref),) if ref else (),
        texts=(text,) if text else (),
        payer_name="Steuerkanzlei Nord" if shared else name_of(account_id),
        payer_iban=iban,
    )
    return Sent(incoming, account_id, invoices, habit)


def _match(year: Year, sent: list[Sent]) -> None:
    if not sent:
        return
    payments = {payment.incoming.id: payment for payment in sent}
    open_items = OpenItems(
        dict(year.invoices), payers=year.payers, earlier=by_likeness(year.earlier)
    )
    for decision in match([payment.incoming for payment in sent], open_items, MatchingPolicy()):
        payment = payments[decision.transfer_id]
        year.seen[payment.habit] += 1
        year.rules[decision.rule] += 1
        if decision.outcome in AUTOMATIC:
            year.automatic[payment.habit] += 1
            if decision.account_id != payment.account_id:
                year.wrong.append((payment.habit, decision))
            _settle(year, payment, decision.parts, confirmed=0)
        else:
            _review(year, payment)
        if payment.habit == "taken back" and decision.outcome == "settle":
            _return_money(year, decision.parts)


def _review(year: Year, payment: Sent) -> None:
    """Allocate the money as a reviewer who knows the truth."""
    rest, parts = payment.incoming.amount_minor, []
    for id in payment.invoices:
        part = min(rest, year.invoices[id].due_minor)
        if part:
            parts.append((id, part))
            rest -= part
    _settle(year, payment, parts, confirmed=1)


def _settle(
    year: Year,
    payment: Sent,
    parts: list[tuple[int, int]] | tuple[tuple[int, int], ...],
    *,
    confirmed: int,
) -> None:
    for id, part in parts:
        invoice = year.invoices[id]
        due_minor = invoice.due_minor - part
        state = "open" if due_minor else "paid"
        year.invoices[id] = replace(invoice, due_minor=due_minor, state=state)
    incoming = payment.incoming
    if incoming.payer_iban is None:
        return
    trust_by_account = year.payers.setdefault(incoming.payer_iban, {})
    trust = trust_by_account.get(payment.account_id, PayerHistory())
    trust_by_account[payment.account_id] = replace(
        trust, confirmed=trust.confirmed + confirmed, matched=trust.matched + (not confirmed)
    )
    paid = frozenset(id for id, _ in parts)
    year.earlier.append(
        EarlierTransfer(
            incoming.payer_iban,
            incoming.amount_minor,
            incoming.currency,
            paid,
            incoming.booking_date,
        )
    )


def _return_money(year: Year, parts: tuple[tuple[int, int], ...]) -> None:
    """Return a payment to its payer, which reopens the invoices."""
    for id, part in parts:
        invoice = year.invoices[id]
        due_minor = invoice.due_minor + part
        year.invoices[id] = replace(invoice, due_minor=due_minor, state="open")


def forget_names() -> None:
    """Clear the cache of folded names, so that a second run is not faster."""
    folded.cache_clear()
