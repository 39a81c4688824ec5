"""The explanation of a balance, for support: its history, and the money behind its credits."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from billing.context import Context
from billing.ledger import entry_rows
from billing.ledger.entry_rows import Entry
from billing.purchases import purchases
from billing.support import overview
from billing.usage import refusals, without_access
from models.credits import Refusal
from models.purchases import Purchase

#: The words for each type of entry; a type without words is shown by its name.
WORDS = {
    "opening_balance": "opened with the balance that the main app showed",
    "deduction": "{description}",
    "grant": "credits granted: {description}",
    "reversal": "given back: {description}",
    "expiry": "credits expired: {description}",
    "rollover": "credits carried over: {description}",
    "repayment": "{description}",
    "take_back": "credits whose money went back: {description}",
}
#: The parts of a description that repeat the words of its type.
REPEATED = re.compile(r"^reversal of | expired$| rolled over$")
#: The most entries and refusals that are read; older ones are left out.
MOST = 100_000


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the history: `change` credits in `count` entries, and the balance after them.

    A refusal changes nothing and has no balance.
    """

    when: dt.datetime
    what: str
    count: int
    change: int
    balance: int | None


@dataclass(frozen=True, slots=True)
class Money:
    """A purchase: its money, in the payment's unit of the currency, beside its credits.

    Attributes:
        price_minor: None where it was recorded before prices were.
        kept_minor: What is left of the price.
        moved_minor: Customer balance at Stripe that has paid for something else since.
        parked_minor: Customer balance at Stripe that nothing has used yet.
        to_come: Credits of monthly lots that are not due yet.
    """

    recorded_at: dt.datetime
    payment: str
    source: str
    currency: str | None
    price_minor: int | None
    kept_minor: int | None
    returned_minor: int
    moved_minor: int
    parked_minor: int
    given: int
    taken_back: int
    to_come: int


def money(ctx: Context, id_or_slug: str) -> list[Money]:
    """Return the money of an account's purchases, oldest first. Raises UnknownAccount."""
    account_id = overview.of(ctx, id_or_slug, last=1).account_id
    return [_money(purchase) for purchase in purchases.of_account(ctx.session, account_id)]


def _money(purchase: Purchase) -> Money:
    gone = purchase.returned_minor + purchase.moved_minor + purchase.parked_minor
    price = purchase.price_minor
    return Money(
        recorded_at=purchase.recorded_at,
        payment=purchase.origin,
        source=purchase.source,
        currency=purchase.currency,
        price_minor=price,
        kept_minor=None if price is None else max(price - gone, 0),
        returned_minor=purchase.returned_minor,
        moved_minor=purchase.moved_minor,
        parked_minor=purchase.parked_minor,
        given=purchase.granted,
        taken_back=purchase.taken_back - purchase.cancelled,
        to_come=max(purchases.still_to_come(purchase), 0),
    )


def of(ctx: Context, id_or_slug: str) -> tuple[list[Line], list[str]]:
    """Return the history of an account, and where its credits are now. Raises UnknownAccount.

    Operations of one kind that follow each other on one day make one line.
    """
    account = overview.of(ctx, id_or_slug, last=1)
    entries = entry_rows.entries(ctx.session, account.account_id, last=MOST)
    refused = refusals.last(ctx.session, account.account_id, count=MOST)
    events: list[Entry | Refusal] = [*entries, *refused]
    events.sort(key=lambda event: event.recorded_at)
    lines = [_line(list(group)) for _, group in groupby(events, key=_kind)]
    if len(entries) == MOST:
        first = entries[0]
        lines = [line for line in lines if line.when >= first.recorded_at]
        before = first.balance_after - first.amount
        lines.insert(0, Line(first.recorded_at, "earlier entries, left out here", 0, 0, before))
    summary = _now(account, entries)
    for taken in without_access.sums_of(ctx.session, account.account_id):
        summary.append(
            f"taken without access ({taken.reason}): {taken.credits:,} credits in {taken.debits:,}"
            " debits"
        )
    return lines, summary


def _kind(event: Entry | Refusal) -> tuple[object, ...]:
    """Group the operations and the refusals of a day; anything else is a line of its own."""
    day = event.recorded_at.date()
    if isinstance(event, Refusal):
        return ("refusal", event.operation, event.reason, day)
    if event.type != "deduction":
        return (event.id,)
    return (event.type, event.description, without_access.reason_of(event), day)


def _line(group: Sequence[Entry | Refusal]) -> Line:
    last = group[-1]
    if isinstance(last, Refusal):
        return _refusal(last, len(group))
    is_operation = last.type == "deduction"
    description = last.description if is_operation else REPEATED.sub("", last.description)
    what = WORDS.get(last.type, last.type).format(description=description)
    if last.type == "reversal" and (reason := (last.details or {}).get("reason")):
        what = f"{what} ({reason})"
    if no_access := without_access.reason_of(last):
        what = f"{what} (taken without access: {no_access})"
    if len(group) > 1:
        what = f"{len(group)} x {what}"
    change = sum([entry.amount for entry in group if isinstance(entry, Entry)])
    return Line(last.recorded_at, what, len(group), change, last.balance_after)


def _refusal(refusal: Refusal, count: int) -> Line:
    facts = ", ".join([f"{name} {value}" for name, value in refusal.facts.items()])
    what = f"refused {refusal.operation}: {refusal.reason} ({facts})"
    if count > 1:
        what = f"{count} x {what}"
    return Line(refusal.recorded_at, what, 0, 0, None)


def _count(entries: int) -> str:
    if entries == MOST:
        return f"the last {MOST:,} entries"
    return f"{entries:,} entr{'y' if entries == 1 else 'ies'} since the opening"


def _now(account: overview.Overview, entries: list[Entry]) -> list[str]:
    words = [f"balance {account.credits:,}: {_count(len(entries))}"]
    if not account.is_adopted:
        words = [f"balance {account.credits:,}: as the main app shows it; no entry of ours yet"]
    for lot in account.lots:
        until = f"until {lot.expires_at:%Y-%m-%d %H:%M} UTC" if lot.expires_at else "for good"
        if not lot.is_live:
            until = "no longer or not yet to be spent"
        held = f", {lot.held:,} of them held" if lot.held else ""
        words.append(f"  {lot.remaining:,} from {lot.source}, {until}{held}")
    if account.debt:
        words.append(f"  {-account.debt:,} owed, repaid first from the next credits")
    words.append(
        f"available now: {account.available:,} (held for work under way: {account.held:,})"
    )
    if account.app_credits != account.credits:
        words.append(
            f"the main app shows {account.app_credits:,}: it or somebody else has written"
            f" {account.app_credits - account.credits:+,} without an entry of ours"
        )
    return words
