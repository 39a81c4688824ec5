"""Why is the balance what it is? From the opening balance to now, in lines that support reads."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from billing.context import Context
from billing.ledger import entry_rows
from billing.ledger.entry_rows import Entry
from billing.support import overview
from billing.usage import refusals
from models.credits import Refusal

#: What each type of entry is called; a type without a line is called by its own name.
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
#: What a description repeats of its type's words.
REPEATED = re.compile(r"^reversal of | expired$| rolled over$")
#: Entries and refusals that are read at most; beyond it the explanation begins later.
MOST = 100_000


@dataclass(frozen=True, slots=True)
class Line:
    """A step of the story: `change` credits in `count` entries, and the balance after it.

    A refusal changes nothing, and has no balance.
    """

    when: dt.datetime
    what: str
    count: int
    change: int
    balance: int | None


def of(ctx: Context, id_or_slug: str) -> tuple[list[Line], list[str]]:
    """The story of an account, and where its credits are now, in words. Raises UnknownAccount.

    Operations of one kind on one day that follow each other make one line.
    """
    seen = overview.of(ctx, id_or_slug, last=1)
    entries = entry_rows.entries(ctx.session, seen.account_id, last=MOST)
    refused = refusals.last(ctx.session, seen.account_id, count=MOST)
    steps: list[Entry | Refusal] = [*entries, *refused]
    steps.sort(key=lambda step: step.recorded_at)
    lines = [_line(list(group)) for _, group in groupby(steps, key=_kind)]
    if len(entries) == MOST:
        first = entries[0]
        lines = [line for line in lines if line.when >= first.recorded_at]
        before = first.balance_after - first.amount
        lines.insert(0, Line(first.recorded_at, "earlier entries, left out here", 0, 0, before))
    return lines, _now(seen, entries)


def _kind(step: Entry | Refusal) -> tuple[object, ...]:
    """Operations, or refusals, of a day count together; anything else is a line of its own."""
    day = step.recorded_at.date()
    if isinstance(step, Refusal):
        return ("refusal", step.operation, step.reason, day)
    return (step.type, step.description, day) if step.type == "deduction" else (step.id,)


def _line(group: Sequence[Entry | Refusal]) -> Line:
    last = group[-1]
    if isinstance(last, Refusal):
        return _refusal(last, len(group))
    is_operation = last.type == "deduction"
    description = last.description if is_operation else REPEATED.sub("", last.description)
    what = WORDS.get(last.type, last.type).format(description=description)
    if last.type == "reversal" and (reason := (last.details or {}).get("reason")):
        what = f"{what} ({reason})"
    if len(group) > 1:
        what = f"{len(group)} x {what}"
    change = sum([each.amount for each in group if isinstance(each, Entry)])
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


def _now(seen: overview.Overview, entries: list[Entry]) -> list[str]:
    words = [f"balance {seen.credits:,}: {_count(len(entries))}"]
    if not seen.is_adopted:
        words = [f"balance {seen.credits:,}: as the main app shows it; no entry of ours yet"]
    for lot in seen.lots:
        until = f"until {lot.expires_at:%Y-%m-%d %H:%M} UTC" if lot.expires_at else "for good"
        if not lot.is_live:
            until = "no longer or not yet to be spent"
        held = f", {lot.held:,} of them held" if lot.held else ""
        words.append(f"  {lot.remaining:,} from {lot.source}, {until}{held}")
    if seen.debt:
        words.append(f"  {-seen.debt:,} owed, repaid first from the next credits")
    words.append(f"available now: {seen.available:,} (held for work under way: {seen.held:,})")
    if seen.app_credits != seen.credits:
        words.append(
            f"the main app shows {seen.app_credits:,}: it or somebody else has written"
            f" {seen.app_credits - seen.credits:+,} without an entry of ours"
        )
    return words
