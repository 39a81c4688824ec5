"""The act on credits: a batch of debits, captures, releases and reversals, in the order given.

It opens the accounts, decides about each message, and writes the decisions. A single message is a
batch of one. `ACTS` says which function decides about which kind of message.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

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
from billing.ledger.idempotency import KnownKey
from billing.ledger.ledger import Ledger, open_accounts
from billing.renewal import renewals
from billing.usage import holds, prices, refusals, without_access
from billing.usage.holds import OpenHold
from billing.usage.prices import PriceBook
from billing.usage.without_access import Taken
from billing_client.messages import Capture, Debit, Release, Reverse

Message: TypeAlias = Debit | Capture | Release | Reverse

#: Refusals that consume the key for ever. Other errors leave the key free, so that the message can
#: be replayed once its cause is gone.
FINAL = (
    InsufficientCredits,
    SpendCapReached,
    AccountDeleted,
    ReversedFirst,
    NothingToReverse,
)


@dataclass(slots=True)
class Answer:
    """The outcome of a message.

    Attributes:
        message: The message.
        entry: The entry that it made; a release makes none.
        error: Why it was refused.
        is_repeat: Whether its key was answered before; this is the first answer again.
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
    """Count the outcomes; repeats count as `repeated`."""
    return Counter(["repeated" if answer.is_repeat else answer.outcome for answer in answers])


class Request(NamedTuple):
    """A message with its idempotency key, the key's uuid, and a digest of what it asks for."""

    message: Message
    key: str
    uuid: str
    content: int


@dataclass(slots=True)
class Work:
    """Everything that the acts of one transaction read and change."""

    requests: Sequence[Request]
    ledger: Ledger
    prices: PriceBook
    holds: dict[str, OpenHold]
    reversed_entries: dict[str, Entry]
    reversed_first: set[tuple[int, str]]
    of_others: set[tuple[int, str]]
    refused: list[refusals.Refused] = field(default_factory=list)
    without_access: list[Taken] = field(default_factory=list)

    def uuid_of(self, account_id: int, key: str) -> str:
        """The uuid of an account's key: one of its own if another account has used the text."""
        uuid, own_uuid = idempotency.as_uuid(key), idempotency.own_uuid(account_id, key)
        if own_uuid in self.ledger.known_keys or (account_id, key) in self.of_others:
            return own_uuid
        return own_uuid if self._is_claimed_by_another(account_id, uuid) else uuid

    def _is_claimed_by_another(self, account_id: int, uuid: str) -> bool:
        """Whether a message of another account in this batch has claimed the uuid."""
        known_key = self.ledger.known_keys.get(uuid)
        return known_key is not None and any(
            request.content == known_key.content
            for request in self.requests
            if request.uuid == uuid and request.message.account_id != account_id
        )


def apply(ctx: Context, messages: Sequence[Message]) -> list[Answer]:
    """Do what each message asks for, in the order given; return one answer for each.

    A message that can't be served never raises: its answer carries the error, and the others stand.
    Refusals are recorded. The caller commits, and repeats the whole batch after a transient error
    of the database.
    """
    work = _open(ctx, messages)
    answers = [_decide(work, request) for request in work.requests]
    _write(ctx, work)
    repeats = [answer for answer in answers if answer.is_repeat and answer.error is None]
    if repeats:
        _fill_in_first_answers(ctx.session, repeats)
    return answers


def key_of(message: Message) -> str:
    """The idempotency key of a message: a hold finishes once, a debit is reversed once."""
    match message:
        case Debit():
            return message.key
        case Reverse():
            return reversals.key_of(message.key)
        case Capture() | Release():
            return reversals.finish_key(message.hold)


def _request(message: Message) -> Request:
    """The message with its key.

    Of a debit, the content is account, operation and units. A retry may carry another time or other
    metadata, for they only describe the work.
    """
    key = key_of(message)
    content: tuple[object, ...]
    match message:
        case Debit():
            content = ("debit", message.account_id, message.operation, message.units)
        case Reverse():
            content = ("reverse", message.account_id, message.key)
            uuid = reversals.uuid_of(message.account_id, message.key)
            return Request(message, key, uuid, idempotency.digest(*content))
        case Capture() | Release():
            content = ("finish", message.account_id, message.hold)
    return Request(message, key, idempotency.as_uuid(key), idempotency.digest(*content))


def _open(ctx: Context, messages: Sequence[Message]) -> Work:
    """Lock and read: accounts, taken keys, prices, and the holds and entries that are named."""
    requests = [_request(message) for message in messages]
    account_ids = {message.account_id for message in messages}
    uuids = {request.uuid for request in requests}
    reverses = [message for message in messages if isinstance(message, Reverse)]
    reversed_uuids = {
        uuid for message in reverses for uuid in reversals.uuids_of(message.account_id, message.key)
    }
    uuids |= reversed_uuids | {reversals.before_0015(message.key) for message in reverses}
    ledger = open_accounts(ctx, account_ids, key_uuids=uuids, entries=len(messages))
    if ledger.due:
        # Nobody is refused between the end of a period and the next sweep.
        renewals.renew_all(ctx, ledger.due)
        ledger = open_accounts(ctx, account_ids, key_uuids=uuids, entries=len(messages))
    return Work(
        requests,
        ledger,
        prices.load(ctx.session),
        _holds(ctx.session, messages),
        reversals.entries_of(ctx.session, ledger.known_keys, reversed_uuids)
        if reversed_uuids
        else {},
        _reversed_first(ledger, requests) if ledger.known_keys else set(),
        _of_others(ledger, requests) if ledger.known_keys else set(),
    )


def _holds(session: Session, messages: Sequence[Message]) -> dict[str, OpenHold]:
    """Read the holds that these messages name."""
    named = {
        (m.account_id, m.key if isinstance(m, Reverse) else m.hold)
        for m in messages
        if not isinstance(m, Debit)
    }
    if not named:
        return {}
    by_uuid = holds.load(session, {idempotency.as_uuid(key) for _, key in named})
    missing = [pair for pair in named if holds.find(by_uuid, pair[1], pair[0]) is None]
    if missing:
        # Another account may have used the text first, for whatever it did.
        by_uuid |= holds.load(session, {idempotency.own_uuid(*pair) for pair in missing})
    return by_uuid


def _of_others(ledger: Ledger, requests: Sequence[Request]) -> set[tuple[int, str]]:
    """Look up which keys, of those that stand for something else, other accounts have claimed.

    The accounts' own uuids of these keys are added to the keys that are known.
    """
    clashing: set[tuple[int, str]] = set()
    ended: set[tuple[int, str]] = set()
    for message, key, uuid, content in requests:
        account_id = message.account_id
        if isinstance(message, Debit):
            if _is_taken(ledger, uuid, content):
                clashing.add((account_id, key))
            continue
        hold = message.key if isinstance(message, Reverse) else message.hold
        if isinstance(message, Reverse) and _is_taken(ledger, idempotency.as_uuid(hold)):
            clashing.add((account_id, hold))
        # The end of a hold has one content for each account.
        finish_key = reversals.finish_key(hold)
        finish = idempotency.digest("finish", account_id, hold)
        if _is_taken(ledger, idempotency.as_uuid(finish_key), finish):
            ended.add((account_id, finish_key))
    if not clashing and not ended:
        return set()
    own_uuids = {idempotency.own_uuid(*pair) for pair in clashing | ended}
    ledger.known_keys |= idempotency.lookup(ledger.ctx.session, own_uuids)
    return ended | (idempotency.of_others(ledger.ctx.session, clashing) if clashing else set())


def _is_taken(ledger: Ledger, uuid: str, content: int | None = None) -> bool:
    """Whether a key stands for other content than this."""
    known_key = ledger.known_keys.get(uuid)
    return known_key is not None and known_key.content not in (content, reversals.ANY_CONTENT)


def _reversed_first(ledger: Ledger, requests: Sequence[Request]) -> set[tuple[int, str]]:
    """Look up which debits, of those whose key stands for something else, were reversed before."""
    clashing = [
        key
        for message, key, uuid, content in requests
        if isinstance(message, Debit)
        and (known_key := ledger.known_keys.get(uuid))
        and known_key.content != content
    ]
    return reversals.reversed_first(ledger.ctx.session, clashing) if clashing else set()


def _decide(work: Work, request: Request) -> Answer:
    """Decide about one message, in memory."""
    known_key = work.ledger.known_keys.get(request.uuid)
    if known_key is not None and known_key.content not in (request.content, reversals.ANY_CONTENT):
        request = _with_own_uuid(work, request)
        known_key = work.ledger.known_keys.get(request.uuid)
    if known_key is None and isinstance(request.message, Reverse):
        known_key = _known_before_0015(work, request)
    return _act(work, request) if known_key is None else _decide_again(work, request, known_key)


def _with_own_uuid(work: Work, request: Request) -> Request:
    """Give a request the uuid of its account, if the key is another account's."""
    message, key = request.message, request.key
    if isinstance(message, Reverse) or (message.account_id, key) in work.reversed_first:
        return request
    return request._replace(uuid=work.uuid_of(message.account_id, key))


def _known_before_0015(work: Work, request: Request) -> KnownKey | None:
    """Return what a reversal's key stood for before migration 0015, if it was this reversal."""
    known_key = work.ledger.known_keys.get(reversals.before_0015(request.message.key))  # type: ignore[union-attr]
    return known_key if known_key and known_key.content == request.content else None


def _decide_again(work: Work, request: Request, known_key: KnownKey) -> Answer:
    """Decide about a message whose key is known: a repeat, another message, or a mark."""
    message, key, uuid, content = request
    if known_key.content == content:
        return Answer(message, is_repeat=True)
    if (message.account_id, key) in work.reversed_first:
        return Answer(message, error=ReversedFirst(key=key), is_repeat=True)
    if known_key.content != reversals.ANY_CONTENT or not isinstance(message, Debit):
        return Answer(message, error=KeyReused(key=key))
    # Another account's reversal has named the key; it belongs to the account that uses it.
    answer = _act(work, request)
    if not answer.is_rejected:
        work.ledger.replace_mark(uuid)
    return answer


def _act(work: Work, request: Request) -> Answer:
    """Do what a message with a new key asks for."""
    message, key, uuid, content = request
    try:
        entry = ACTS[type(message)](work, message, request)
        if not isinstance(message, Debit):
            # Credits that a hold or a reversal freed pay the debt before the next message.
            work.ledger.repay(work.ledger.by_account[message.account_id])
        return Answer(message, entry)
    except FINAL as error:
        work.ledger.remember(uuid, content, None)
        work.refused.append(refusals.of(message, key, error, now=work.ledger.ctx.now))
        if isinstance(error, ReversedFirst):
            work.reversed_first.add((message.account_id, error.facts["key"]))
        return Answer(message, error=error)
    except Rejected as error:
        return Answer(message, error=error)


def _write(ctx: Context, work: Work) -> None:
    """Write the ledger, the ended holds and the refusals."""
    work.ledger.write()
    if work.holds:
        holds.write(ctx, work.holds.values())
    if work.refused:
        refusals.record(ctx, work.refused)
    if work.without_access:
        without_access.record(ctx, work.without_access)


def _debit(work: Work, message: Debit, request: Request) -> Entry:
    ledger = work.ledger
    balance = ledger.of(message.account_id)
    now = ledger.ctx.now
    happened_at = min(message.happened_at, now) if message.happened_at else now
    cost = work.prices.cost(message.operation, message.units, at=happened_at)
    balance.check_cap(cost)
    lots = balance.burn(cost)
    details = message.metadata
    if balance.no_access_reason is not None:
        # The work is done, so it is paid for; the flag says that it should not have been.
        details = without_access.flagged(details, balance.no_access_reason)
        taken = Taken(message.account_id, balance.no_access_reason, cost)
        work.without_access.append(taken)
    return ledger.post(
        balance,
        uuid=request.uuid,
        content=request.content,
        amount=-cost,
        type="deduction",
        description=message.operation,
        key=message.key,
        actor="main_app",
        happened_at=happened_at,
        units=message.units,
        lots=lots,
        details=details,
    )


def _capture(work: Work, message: Capture, request: Request) -> Entry:
    """Take held credits first, then free ones, then debt.

    If even that is too little, take what there is and record the rest as refused: the work is done,
    and the part that can be paid is paid.
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
    reachable = min(rest, balance.room())
    used += balance.burn(reachable) if reachable else []
    if reachable < rest:
        short = InsufficientCredits(needed=rest, available=reachable, debt=balance.debt)
        if cost - rest + reachable == 0:
            raise short
        refused = refusals.of(
            message,
            request.key,
            short,
            now=ledger.ctx.now,
            operation=hold.operation,
            units=units,
        )
        work.refused.append(refused)
    return ledger.post(
        balance,
        uuid=request.uuid,
        content=request.content,
        amount=-(cost - rest + reachable),
        type="deduction",
        description=hold.operation,
        key=request.key,
        reference=message.hold,
        actor="main_app",
        happened_at=ledger.ctx.now,
        units=units,
        lots=used,
        details=message.metadata,
    )


def _release(work: Work, message: Release, request: Request) -> None:
    hold = holds.of(work.holds, message.hold, message.account_id)
    work.ledger.of(message.account_id)
    if hold.state == "held":
        holds.end(work.ledger, hold, state="released")
    work.ledger.remember(request.uuid, request.content, None)


def _reverse(work: Work, message: Reverse, request: Request) -> Entry:
    hold = holds.find(work.holds, message.key, message.account_id)
    finish_uuid = work.uuid_of(message.account_id, reversals.finish_key(message.key))
    # Not by the hold's state: an expired hold may have been captured late.
    if hold is not None and finish_uuid not in work.ledger.known_keys:
        raise HoldNotFinished(hold=message.key)
    return reversals.reverse(
        work.ledger,
        work.reversed_entries,
        message,
        debit_uuid=work.uuid_of(message.account_id, message.key),
        finish_uuid=finish_uuid,
        uuid=request.uuid,
        content=request.content,
    )


ACTS: dict[type, Callable[..., Entry | None]] = {
    Debit: _debit,
    Capture: _capture,
    Release: _release,
    Reverse: _reverse,
}


def _fill_in_first_answers(session: Session, repeats: Sequence[Answer]) -> None:
    """Give each repeat the answer that its key got the first time."""
    uuids = {uuid for answer in repeats for uuid in _uuids(answer.message)}
    keys = idempotency.lookup(session, uuids)
    entry_ids = [key.entry_id for key in keys.values() if key.entry_id]
    entries = entry_rows.entries_by_id(session, entry_ids)
    refused = refusals.by_key(
        session, [key for answer in repeats for key in _refusal_keys(answer.message)]
    )
    for answer in repeats:
        message = answer.message
        known_key = next(keys[uuid] for uuid in _uuids(message) if uuid in keys)
        if known_key.entry_id is not None:
            answer.entry = entries[known_key.entry_id]
        else:
            candidates = [(message.account_id, key) for key in _refusal_keys(message)]
            answer.error = next((refused[key] for key in candidates if key in refused), None)


def _uuids(message: Message) -> list[str]:
    """The uuids under which the key of a message may be known, the account's own first."""
    request = _request(message)
    if isinstance(message, Reverse):
        return [request.uuid, reversals.before_0015(message.key)]
    return [idempotency.own_uuid(message.account_id, request.key), request.uuid]


def _refusal_keys(message: Message) -> list[str]:
    """The keys under which a refusal of this message may be kept, the likeliest first.

    A reversal that came before its debit is kept under the debit's key, where the debit finds it.
    """
    return [key_of(message), message.key] if isinstance(message, Reverse) else [key_of(message)]
