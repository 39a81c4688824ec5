"""The explanation of a balance, for support: its history in pages, and the money behind it."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, TypeAlias

from billing.context import Context
from billing.ledger import stored_entries
from billing.ledger.entry_rows import Entry
from billing.ledger.stored_entries import Unreadable
from billing.postgres import sql
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
#: Entries and refusals of a page.
AT_ONCE = 1000
#: The line for what a page leaves out.
EARLIER = "earlier entries, left out here"

Row: TypeAlias = Entry | Unreadable
Event: TypeAlias = Row | Refusal


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the history: `change` credits in `count` entries, and the balance after them.

    A refusal changes nothing and has no balance. `when` is None if it can't be read.
    """

    when: dt.datetime | None
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


class Cursor(NamedTuple):
    """The place of a page: before this entry and this refusal; None: at the newest."""

    entry_id: int | None = None
    refusal_id: int | None = None

    def __str__(self) -> str:
        return f"{self.entry_id or ''}-{self.refusal_id or ''}"


def cursor_of(text: str) -> Cursor:
    """Read a cursor that a page gave. Raises ValueError."""
    entry, dash, refusal = text.partition("-")
    if not dash:
        raise ValueError(text)
    return Cursor(int(entry) if entry else None, int(refusal) if refusal else None)


class History(NamedTuple):
    """A page of an account's history, and where its credits are now.

    `next`: the cursor of the page with what came before; None if nothing did.
    """

    lines: list[Line]
    now: list[str]
    next: str | None


def of(
    ctx: Context,
    id_or_slug: str,
    *,
    limit: int = AT_ONCE,
    before: Cursor = Cursor(),  # noqa: B008 - it can't be changed
    since: dt.datetime | None = None,
) -> History:
    """Return the last page of an account's history, or the one `before` a cursor.

    Operations of one kind that follow each other on one day make one line. Raises UnknownAccount.

    Args:
        ctx: The context.
        id_or_slug: The account.
        limit: The most entries and refusals of the page.
        before: The cursor of an earlier page.
        since: The time before which nothing is shown.
    """
    account = overview.of(ctx, id_or_slug, last=1)
    entries = stored_entries.last(
        ctx.session, account.account_id, count=limit + 1, before=before.entry_id
    )
    refused = refusals.last(
        ctx.session, account.account_id, count=limit + 1, before=before.refusal_id
    )[::-1]
    events = _newest(entries, refused, limit=limit, since=since)
    rest = entries[sum(not isinstance(event, Refusal) for event in events) :]
    has_more = len(events) < len(entries) + len(refused)
    lines = [_line(list(group)) for _, group in groupby(reversed(events), key=_kind)]
    if has_more and events:
        balance = rest[0].balance_after if rest else 0
        lines.insert(0, Line(_when(events[-1], ctx.now), EARLIER, 0, 0, balance))
    cursor = str(_after(before, events)) if has_more and len(events) == limit else None
    return History(lines, _summary(ctx, account), cursor)


def _newest(
    entries: Sequence[Row], refused: Sequence[Refusal], *, limit: int, since: dt.datetime | None
) -> list[Event]:
    """The newest of both, newest first; each in the order of its ids."""
    events: list[Event] = []
    rows, at = list(entries[::-1]), list(refused[::-1])
    when = dt.datetime.max.replace(tzinfo=dt.UTC)
    while (rows or at) and len(events) < limit:
        is_refusal = not rows or (bool(at) and at[-1].recorded_at >= _when(rows[-1], when))
        event = at.pop() if is_refusal else rows.pop()
        when = _when(event, when)
        if since is not None and when < since:
            break
        events.append(event)
    return events


def _when(event: Event, otherwise: dt.datetime) -> dt.datetime:
    """Return the time of its record; if that can't be read, the time of its neighbour."""
    if isinstance(event, Unreadable):
        return event.when or otherwise
    return event.recorded_at


def _after(before: Cursor, events: Sequence[Event]) -> Cursor:
    """The cursor of the page with what came before these."""
    entries = [event.id for event in events if not isinstance(event, Refusal)]
    refused = [event.id for event in events if isinstance(event, Refusal)]
    return Cursor(min(entries, default=before.entry_id), min(refused, default=before.refusal_id))


def _summary(ctx: Context, account: overview.Overview) -> list[str]:
    summary = _now(account, _count(ctx, account.account_id))
    for taken in without_access.sums_of(ctx.session, account.account_id):
        summary.append(
            f"taken without access ({taken.reason}): {taken.credits:,} credits in {taken.debits:,}"
            " debits"
        )
    return summary


_COUNT = """
SELECT COALESCE(max(a.entries), 0) + (
    SELECT count(*) FROM igny8_credit_transactions AS e
    WHERE e.tenant_id = %(account_id)s AND e.idempotency_key IS NOT NULL
      AND e.id > COALESCE(max(a.entry_id), 0))
FROM billing.chain_anchors AS a WHERE a.account_id = %(account_id)s
"""


def _count(ctx: Context, account_id: int) -> int:
    """The account's entries; those up to its anchor are counted already."""
    ((count,),) = sql.rows(ctx.session, _COUNT, {"account_id": account_id})
    return int(count)


def _kind(event: Event) -> tuple[object, ...]:
    """Group the operations and the refusals of a day; anything else is a line of its own."""
    if isinstance(event, Refusal):
        return ("refusal", event.operation, event.reason, event.recorded_at.date())
    if isinstance(event, Unreadable) or event.type != "deduction":
        return (event.id,)
    reason = without_access.reason_of(event)
    return (event.type, event.description, reason, event.recorded_at.date())


def _line(group: Sequence[Event]) -> Line:
    last = group[-1]
    if isinstance(last, Refusal):
        return _refusal(last, len(group))
    if isinstance(last, Unreadable):
        return Line(last.when, str(last), 1, last.amount or 0, last.balance_after)
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
    stored: object = refusal.facts
    given = stored if isinstance(stored, Mapping) else {"facts": stored}
    facts = ", ".join([f"{name} {value}" for name, value in given.items()])
    what = f"refused {refusal.operation}: {refusal.reason} ({facts})"
    if count > 1:
        what = f"{count} x {what}"
    return Line(refusal.recorded_at, what, 0, 0, None)


def _now(account: overview.Overview, entries: int) -> list[str]:
    count = f"{entries:,} entr{'y' if entries == 1 else 'ies'} since the opening"
    words = [f"balance {account.credits:,}: {count}"]
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
