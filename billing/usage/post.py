"""The batch act on credits: debits, captures, releases and reversals, in the order given.

A single act is the batch with one item, so that both stay right together. What each kind of
message does is one function and one line of ACTS.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import (
    AccountDeleted,
    HoldNotFinished,
    InsufficientCredits,
    KeyReused,
    NothingToReverse,
    Rejected,
    ReversedFirst,
    SpendCapReached,
)
from billing.ledger import entry_rows, idempotency, reversals
from billing.ledger.entry_rows import Entry
from billing.ledger.ledger import Ledger, open_accounts
from billing.renewal import renewals
from billing.usage import holds, prices, refusals
from billing.usage.holds import OpenHold
from billing.usage.prices import PriceBook
from billing_client.messages import Capture, Debit, Release, Reverse

Message: TypeAlias = Debit | Capture | Release | Reverse

#: Refusals that stand for ever under their key. Other errors leave the key free, so that the
#: message can be replayed once its cause is gone.
FINAL = (
    InsufficientCredits,
    SpendCapReached,
    AccountDeleted,
    ReversedFirst,
    NothingToReverse,
)


@dataclass(slots=True)
class Answer:
    """What became of a message: its `entry` if it took or gave credits, its `error` if refused.

    A release has neither. `is_repeat`: it was asked before, and this is the first answer again.
    """

    message: Message
    entry: Entry | None = None
    error: Rejected | None = None
    is_repeat: bool = False

    @property
    def outcome(self) -> str:
        """`taken`, `given`, `released`, `refused` (for ever) or `rejected` (may be replayed)."""
        if self.error is not None:
            return "refused" if isinstance(self.error, FINAL) else "rejected"
        if self.entry is None:
            return "released"
        return "given" if isinstance(self.message, Reverse) else "taken"

    @property
    def is_rejected(self) -> bool:
        """Whether it may be replayed once its cause is gone, and needs a dead letter till then."""
        return self.error is not None and not isinstance(self.error, FINAL)


def counts_of(answers: Iterable[Answer]) -> Counter[str]:
    """How many of each outcome, repeats apart as `repeated`."""
    return Counter(["repeated" if each.is_repeat else each.outcome for each in answers])


@dataclass(slots=True)
class Work:
    """What the acts of one transaction share."""

    ledger: Ledger
    prices: PriceBook
    holds: dict[str, OpenHold]
    reversed_entries: dict[str, Entry]
    refused: list[refusals.Refused] = field(default_factory=list)


def apply(ctx: Context, messages: Sequence[Message]) -> list[Answer]:
    """Do what each message asks, in the order given; one answer for each.

    Never raises for what is wrong with one message: its answer carries the Rejected, the others
    stand. Refusals are recorded. The caller commits, and goes again with the whole set after a
    passing database error (`worker.database.passes`).
    """
    uuids = [idempotency.as_uuid(key_of(message)) for message in messages]
    work = _open(ctx, messages, uuids)
    answers: list[Answer] = []
    posting = _walk(work, messages, uuids, answers)
    if all(isinstance(message, Debit) for message in messages):
        work.ledger.write(posting)
    else:
        # What ends a hold, or gives back, may have to read or write meanwhile.
        deque(posting, maxlen=0)
        work.ledger.write()
    holds.write(ctx, work.holds.values())
    refusals.record(ctx, work.refused)
    return _with_first_answers(ctx.session, answers)


def _walk(
    work: Work, messages: Sequence[Message], uuids: Sequence[str], answers: list[Answer]
) -> Iterator[Entry]:
    """Answer each message, in order; yields the entries that they make."""
    for message, uuid in zip(messages, uuids, strict=True):
        answer = _answer(work, message, uuid)
        answers.append(answer)
        if answer.entry is not None:
            yield answer.entry


def key_of(message: Message) -> str:
    """The key under which a message is remembered."""
    match message:
        case Debit():
            return message.key
        case Reverse():
            return reversals.key_of(message.key)
        case Capture() | Release():
            return reversals.finish_key(message.hold)


def content_of(message: Message) -> int:
    """What the key of a message stands for.

    Of a debit: account, operation and units; time and metadata only describe the work, and a retry
    may carry others. A hold is finished once, however it is asked; a debit is reversed once.
    """
    match message:
        case Debit():
            return _debit_content(message.account_id, message.operation, message.units)
        case Reverse():
            return idempotency.digest("reverse", message.account_id, message.key)
        case Capture() | Release():
            return idempotency.digest("finish", message.account_id, message.hold)


@lru_cache(maxsize=10_000)
def _debit_content(account_id: int, operation: str, units: int) -> int:
    """An account asks for the same again and again, and a digest costs a tenth of a debit."""
    return idempotency.digest("debit", account_id, operation, units)


def _open(ctx: Context, messages: Sequence[Message], uuids: Sequence[str]) -> Work:
    asked = set(uuids)
    reversed_keys = [m.key for m in messages if isinstance(m, Reverse)]
    for key in reversed_keys:
        asked.update((idempotency.as_uuid(key), idempotency.as_uuid(reversals.finish_key(key))))
    hold_keys = {idempotency.as_uuid(m.hold) for m in messages if isinstance(m, Capture | Release)}
    hold_keys.update([idempotency.as_uuid(key) for key in reversed_keys])
    ids = {message.account_id for message in messages}
    ledger = open_accounts(ctx, ids, keys_asked=asked)
    if ledger.due:
        # Nobody is refused between a boundary and the next sweep.
        renewals.renew_all(ctx, ledger.due)
        ledger = open_accounts(ctx, ids, keys_asked=asked)
    ledger.reserve(len(messages))
    return Work(
        ledger,
        prices.load(ctx.session),
        holds.load(ctx.session, hold_keys),
        reversals.entries_of(ctx.session, ledger.known, reversed_keys),
    )


def _answer(work: Work, message: Message, uuid: str) -> Answer:
    content = content_of(message)
    known = work.ledger.known.get(uuid)
    if known is not None:
        if known.content not in (content, reversals.ANY_CONTENT):
            return Answer(message, error=KeyReused(key=key_of(message)))
        return Answer(message, is_repeat=True)
    try:
        entry = ACTS[type(message)](work, message, uuid, content)
        if not isinstance(message, Debit):
            # What a hold or a reversal set free pays what is owed, before the next act.
            work.ledger.repay(work.ledger.by_account[message.account_id])
        return Answer(message, entry)
    except FINAL as error:
        work.ledger.remember(uuid, content, None)
        work.refused.append(refusals.of(message, key_of(message), error, now=work.ledger.ctx.now))
        return Answer(message, error=error)
    except Rejected as error:
        return Answer(message, error=error)


def _debit(work: Work, message: Debit, uuid: str, content: int) -> Entry:
    ledger = work.ledger
    balance = ledger.of(message.account_id)
    now = ledger.ctx.now
    happened_at = min(message.happened_at, now) if message.happened_at else now
    cost = work.prices.cost(message.operation, message.units, at=happened_at)
    balance.check_cap(cost, now)
    lots = balance.burn(cost, now)
    return ledger.post(
        balance,
        uuid=uuid,
        content=content,
        amount=-cost,
        type="deduction",
        description=message.operation,
        key=message.key,
        actor="main_app",
        happened_at=happened_at,
        units=message.units,
        lots=lots,
        details=message.metadata,
    )


def _capture(work: Work, message: Capture, uuid: str, content: int) -> Entry:
    """Take what was held first; what the work cost beyond it from what is free, or as debt.

    What even that does not reach is recorded as refused: the work is done, and its part that can
    be paid is paid.
    """
    ledger = work.ledger
    hold = holds.of(work.holds, message.hold, message.account_id)
    balance = ledger.of(message.account_id)
    cost, units = hold.credits, hold.units
    if message.units is not None:
        units = message.units
        cost = work.prices.cost(hold.operation, units, at=hold.placed_at)
    used: list[object] = []
    rest = cost
    if hold.state == "held":
        from_hold = min(cost, hold.credits)
        used = holds.end(ledger, hold, state="captured", spend=from_hold)
        rest = cost - from_hold
    reachable = min(rest, balance.room(ledger.ctx.now))
    used += balance.burn(reachable, ledger.ctx.now) if reachable else []
    if reachable < rest:
        short = InsufficientCredits(needed=rest, available=reachable, debt=balance.debt)
        if cost - rest + reachable == 0:
            raise short
        key = key_of(message)
        refused = refusals.of(
            message, key, short, now=ledger.ctx.now, operation=hold.operation, units=units
        )
        work.refused.append(refused)
    return ledger.post(
        balance,
        uuid=uuid,
        content=content,
        amount=-(cost - rest + reachable),
        type="deduction",
        description=hold.operation,
        key=key_of(message),
        reference=message.hold,
        actor="main_app",
        happened_at=ledger.ctx.now,
        units=units,
        lots=used,
        details=message.metadata,
    )


def _release(work: Work, message: Release, uuid: str, content: int) -> None:
    hold = holds.of(work.holds, message.hold, message.account_id)
    work.ledger.of(message.account_id)
    if hold.state == "held":
        holds.end(work.ledger, hold, state="released")
    work.ledger.remember(uuid, content, None)


def _reverse(work: Work, message: Reverse, uuid: str, content: int) -> Entry:
    is_hold = idempotency.as_uuid(message.key) in work.holds
    # Not by the hold's state: one that has expired may have been captured late.
    if is_hold and idempotency.as_uuid(reversals.finish_key(message.key)) not in work.ledger.known:
        raise HoldNotFinished(hold=message.key)
    return reversals.reverse(
        work.ledger, work.reversed_entries, message, uuid=uuid, content=content
    )


ACTS: dict[type, Callable[..., Entry | None]] = {
    Debit: _debit,
    Capture: _capture,
    Release: _release,
    Reverse: _reverse,
}


def _with_first_answers(session: Session, answers: list[Answer]) -> list[Answer]:
    """Fill in, for each repeat, what was answered the first time."""
    repeats = [answer for answer in answers if answer.is_repeat]
    if not repeats:
        return answers
    known = idempotency.lookup(session, {idempotency.as_uuid(key_of(a.message)) for a in repeats})
    entries = entry_rows.entries_by_id(session, [k.entry_id for k in known.values() if k.entry_id])
    refused = refusals.by_key(session, [key for a in repeats for key in _refused_under(a.message)])
    for answer in repeats:
        entry_id = known[idempotency.as_uuid(key_of(answer.message))].entry_id
        if entry_id is not None:
            answer.entry = entries[entry_id]
        else:
            keys_tried = _refused_under(answer.message)
            answer.error = next((refused[key] for key in keys_tried if key in refused), None)
    return answers


def _refused_under(message: Message) -> list[str]:
    """The keys that the refusal of this message may be kept under, the likeliest first.

    A reversal that came before its debit is kept under the debit's key, where the debit finds it.
    """
    return [key_of(message), message.key] if isinstance(message, Reverse) else [key_of(message)]
