"""A simulated year of customers who pay by transfer, each with its true account known.

Typos, wrong and missing references, references of others, partial, double, combined and returned
payments, shared payers. Counts what rules did by themselves, and whether any of it was wrong.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from billing.bank.invoicing.references import in_groups, reference
from billing.bank.matching.names import folded
from billing.bank.matching.rules import match
from billing.bank.matching.types import (
    Decision,
    Earlier,
    Incoming,
    Invoice,
    OpenItems,
    Policy,
    Trust,
    earlier_by_likeness,
)
from billing.statements.canonical import Reference

PRICES = (2900, 4900, 8900, 8900, 13900, 22900, 22900)
VAT = (100, 119, 120, 121)
#: What a payer does, and in how many of a thousand payments.
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
#: Habits whose payments name their own invoice rightly.
RIGHTLY = frozenset({"structured", "text", "in two parts", "too much", "two months at once"})
START = date(2026, 1, 1)
_FIRST = ("Anna", "Bo", "Carla", "Dirk", "Eva", "Finn", "Greta", "Hugo", "Ines", "Jan", "Karin")
_LAST = ("Adler", "Brandt", "Conti", "Dahl", "Egger", "Fuchs", "Gruber", "Hansen", "Ito", "Jung")


@dataclass(slots=True)
class Sent:
    """A payment and the truth about it."""

    incoming: Incoming
    account_id: int
    invoices: tuple[int, ...]
    habit: str


@dataclass(slots=True)
class Year:
    """The world of the simulation, and what became of it."""

    chance: random.Random
    accounts: int
    invoices: dict[int, Invoice] = field(default_factory=dict)
    payers: dict[str, dict[int, Trust]] = field(default_factory=dict)
    earlier: list[Earlier] = field(default_factory=list)
    owed: dict[int, list[int]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    automatic: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, Decision]] = field(default_factory=list)
    transfers: int = 0

    def report(self) -> dict[str, object]:
        """The figures."""
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
    """A year, or so many months of it, matched week by week, reviewed by people who know."""
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


def name_of(account_id: int) -> str:
    """The customer's name; some share it."""
    first, last = _FIRST[account_id % len(_FIRST)], _LAST[account_id // 7 % len(_LAST)]
    return f"{first} {last} {account_id // 3} GmbH"


def _bill(year: Year, today: date) -> None:
    for account_id in range(1, year.accounts + 1):
        id = len(year.invoices) + 1
        price = PRICES[account_id % len(PRICES)] * VAT[account_id % len(VAT)] // 100
        year.invoices[id] = Invoice(
            id=id,
            account_id=account_id,
            reference=reference(id),
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
    mine = year.owed[account_id]
    newest = year.invoices[mine[-1]]
    if habit == "never pays":
        return
    if habit == "two months at once":
        behind = [id for id in mine[:-1] if year.invoices[id].is_open][-1:]
        both = (*behind, newest.id)
        amount = sum(year.invoices[id].due_minor for id in both)
        said = " and ".join(year.invoices[id].reference for id in both)
        yield _send(year, account_id, amount, today, habit=habit, invoices=both, text=said)
        return
    named = _named(year, habit, mine, newest)
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
        text, ref = _said(year, named, structured=structured)
        day = today + timedelta(days=chance.randrange(0, 4) + at * chance.randrange(4, 16))
        invoices = (newest.id,)
        yield _send(
            year, account_id, amount, day, habit=habit, invoices=invoices, text=text, ref=ref
        )


def _named(year: Year, habit: str, mine: list[int], newest: Invoice) -> str | None:
    """The reference that the payer names."""
    chance = year.chance
    if habit == "no reference":
        return None
    if habit == "reference of an old invoice":
        return year.invoices[chance.choice(mine[:-1] or mine)].reference
    if habit == "reference of another customer":
        return chance.choice(list(year.invoices.values())).reference
    if habit == "typo":
        at = chance.randrange(4, len(newest.reference))
        wrong = str((int(newest.reference[at]) + chance.randrange(1, 10)) % 10)
        return newest.reference[:at] + wrong + newest.reference[at + 1 :]
    return newest.reference


def _said(year: Year, named: str | None, *, structured: bool) -> tuple[str, str | None]:
    chance = year.chance
    if named is None:
        return chance.choice(("", "thank you", "Rechnung", "invoice of this month")), None
    if structured:
        return "", named
    shape = chance.choice(("{0}", "Invoice {0}", "{1}", "ref {1} thanks", "{2}", "pay/{0}/x"))
    return shape.format(named, in_groups(named), named.lower()), None


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
    # One in thirty pays through an accountant, who pays for others too, now and then with another
    # customer's reference; one in fifty from abroad.
    shared = chance.random() < 1 / 30
    iban = f"DE{account_id % 20:020d}" if shared else f"AT{account_id:020d}"
    if chance.random() < 1 / 50:
        iban = f"FR{chance.randrange(10**6):020d}"
    incoming = Incoming(
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
    truth = {one.incoming.id: one for one in sent}
    open_items = OpenItems(
        dict(year.invoices), payers=year.payers, earlier=earlier_by_likeness(year.earlier)
    )
    for decision in match([one.incoming for one in sent], open_items, Policy()):
        one = truth[decision.transfer_id]
        year.seen[one.habit] += 1
        year.rules[decision.rule] += 1
        if decision.is_automatic:
            year.automatic[one.habit] += 1
            if decision.account_id != one.account_id:
                year.wrong.append((one.habit, decision))
            _settle(year, one, decision.parts, confirmed=0)
        else:
            _review(year, one)
        if one.habit == "taken back" and decision.outcome == "settle":
            _take_back(year, decision.parts)


def _review(year: Year, one: Sent) -> None:
    """A person who knows the truth gives the money to where it belongs."""
    left, parts = one.incoming.amount_minor, []
    for id in one.invoices:
        part = min(left, year.invoices[id].due_minor)
        if part:
            parts.append((id, part))
            left -= part
    _settle(year, one, parts, confirmed=1)


def _settle(
    year: Year,
    one: Sent,
    parts: list[tuple[int, int]] | tuple[tuple[int, int], ...],
    *,
    confirmed: int,
) -> None:
    for id, part in parts:
        invoice = year.invoices[id]
        left = invoice.due_minor - part
        state = "open" if left else "paid"
        year.invoices[id] = replace(invoice, due_minor=left, state=state)
    said = one.incoming
    if said.payer_iban is None:
        return
    known = year.payers.setdefault(said.payer_iban, {})
    trust = known.get(one.account_id, Trust())
    known[one.account_id] = replace(
        trust, confirmed=trust.confirmed + confirmed, matched=trust.matched + (not confirmed)
    )
    paid = frozenset(id for id, _ in parts)
    year.earlier.append(
        Earlier(said.payer_iban, said.amount_minor, said.currency, paid, said.booking_date)
    )


def _take_back(year: Year, parts: tuple[tuple[int, int], ...]) -> None:
    """The bank takes the payment back; the invoice is open again."""
    for id, part in parts:
        invoice = year.invoices[id]
        left = invoice.due_minor + part
        year.invoices[id] = replace(invoice, due_minor=left, state="open")


def forget_names() -> None:
    """So that a second run is no faster for what the first one folded."""
    folded.cache_clear()
