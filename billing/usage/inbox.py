"""The inbox: rows that the main app writes in its own transactions, drained in batches.

An account's rows are applied in the order of their ids, under the account's lock, and only if no
earlier row waits: so any number of drains keeps an account's order. A batch takes a share of each
waiting account, so that an account with a million rows delays the others by one batch. A drain
reads the rows that are there, never those above a last id, so it finds ids that are committed late.

Locked accounts are skipped. If other drains have locked all waiting accounts, this drain opens the
rows behind theirs meanwhile, so that two drains can work on one busy account.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import msgspec
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import Rejected
from billing.host import accounts
from billing.operations import dead_letters
from billing.operations.dead_letters import DeadMessage
from billing.postgres import sql
from billing.postgres.transient import is_locked, is_transient
from billing.usage import post
from billing.usage.post import Answer, Message
from billing_client import InvalidMessage
from billing_client.messages import INBOX_MESSAGES

#: The most accounts of a batch.
ACCOUNTS_AT_ONCE = 100
#: Milliseconds that a drain with opened rows waits for the drain before it to finish the account.
WAIT_MS = 500
#: The `after` of the first batch.
LOWEST = -(2**63)
_KINDS = {kind.TASK: kind for kind in INBOX_MESSAGES}
#: JSON that Postgres can store and Python can't read: nested too deep, or a number too long.
_UNREADABLE = object()


@dataclass(frozen=True, slots=True)
class Drained:
    """The outcome of a batch.

    Attributes:
        rows: The number of rows.
        answers: The answers to those that could be read.
        dead: The number of dead letters.
        after: The last account that was considered; the next batch begins behind it.
    """

    rows: int
    answers: list[Answer]
    dead: int
    after: int


class AccountsLocked(Exception):
    """All waiting accounts are locked, or another drain has earlier rows of them.

    Nothing was done: the caller rolls back. `after` is where to go on, as in Drained.
    """

    def __init__(self, after: int) -> None:
        super().__init__(after)
        self.after = after


_WAITING = """
WITH RECURSIVE waiting (account_id) AS (
    (SELECT account_id FROM billing.inbox WHERE account_id > %(after)s
     ORDER BY account_id LIMIT 1)
    UNION ALL
    SELECT (SELECT i.account_id FROM billing.inbox AS i WHERE i.account_id > w.account_id
            ORDER BY i.account_id LIMIT 1)
    FROM waiting AS w WHERE w.account_id IS NOT NULL
)
SELECT account_id FROM waiting WHERE account_id IS NOT NULL LIMIT %(most)s
"""

_TAKE = "SELECT * FROM billing.take_inbox(%(accounts)s::bigint[], %(share)s)"
_IS_DRAINED = "SELECT billing.inbox_is_drained(%(account)s)"
_HAS_EARLIER = "SELECT billing.inbox_has_earlier(%(accounts)s::bigint[], %(ids)s::bigint[])"


#: Account, id, task, and the arguments as JSON text: Postgres stores JSON that Python can't read.
Row: TypeAlias = tuple[int, int, str, str]


def drain(
    ctx: Context, *, limit: int, after: int, one_by_one: bool = False, only: int | None = None
) -> Drained:
    """Apply up to `limit` rows; the caller's commit deletes them.

    With `one_by_one`, after a batch failed, each row has its own savepoint, and one that fails by
    itself becomes a dead letter. `only`: the one account whose rows are applied. Raises
    AccountsLocked.
    """
    waiting, is_all = ([only], False) if only is not None else _next_accounts(ctx, after, limit)
    if not waiting:
        return Drained(0, [], 0, LOWEST)
    locked = accounts.try_lock(ctx.session, waiting)
    # Other accounts wait, or no drain will finish the first account soon.
    if not locked and not (is_all and _is_drained(ctx.session, waiting[0])):
        raise AccountsLocked(waiting[-1])
    rows = _take(ctx.session, locked or waiting[:1], limit)
    messages, dead = _open(rows)
    if rows and not _has_turn(ctx.session, rows, is_locked_by_us=bool(locked)):
        raise AccountsLocked(waiting[-1])
    applied = messages
    if one_by_one:
        applied, answers, failed = _one_by_one(ctx, messages)
        dead += failed
    else:
        answers = post.apply(ctx, [message for _, message in messages])
    for (row_id, message), answer in zip(applied, answers, strict=True):
        if answer.is_rejected and answer.error:
            dead.append(_dead(row_id, message.TASK, message.arguments(), answer.error))
    dead_letters.keep(ctx, dead)
    return Drained(len(rows), answers, len(dead), waiting[-1])


def _next_accounts(ctx: Context, after: int, limit: int) -> tuple[list[int], bool]:
    return _accounts_waiting(ctx.session, after, most=min(limit, ACCOUNTS_AT_ONCE))


def next_accounts(session: Session, after: int) -> list[int]:
    """Return the next accounts behind this one with waiting rows; from the first, if none is."""
    return _accounts_waiting(session, after, most=ACCOUNTS_AT_ONCE)[0]


def set_aside(ctx: Context, account_id: int, error: Rejected) -> int:
    """Make a dead letter of the account's first row; return the number of rows: 1, or 0 if none.

    Raises AccountsLocked.
    """
    if not accounts.try_lock(ctx.session, [account_id]):
        raise AccountsLocked(account_id)
    rows = _take(ctx.session, [account_id], 1)
    dead_letters.keep(ctx, [_unopened(row, error) for row in rows])
    return len(rows)


def _one_by_one(
    ctx: Context, messages: Sequence[tuple[int, Message]]
) -> tuple[list[tuple[int, Message]], list[Answer], list[DeadMessage]]:
    applied, answers, failed = [], [], []
    for row_id, message in messages:
        try:
            with ctx.session.begin_nested():
                (answer,) = post.apply(ctx, [message])
        except Exception as error:
            if is_transient(error):
                raise
            failed.append(_dead(row_id, message.TASK, message.arguments(), error))
        else:
            applied.append((row_id, message))
            answers.append(answer)
    return applied, answers, failed


def waiting(session: Session) -> tuple[int, dt.datetime | None]:
    """Return the number of waiting rows, and since when the oldest waits."""
    row = session.connection().exec_driver_sql("SELECT count(*), min(sent_at) FROM billing.inbox")
    count, oldest = row.one()
    return count, oldest


def _is_drained(session: Session, account_id: int) -> bool:
    """Whether another drain is applying the account's rows."""
    return bool(sql.rows(session, _IS_DRAINED, {"account": account_id})[0][0])


def _has_turn(session: Session, rows: Sequence[Row], *, is_locked_by_us: bool) -> bool:
    """Lock the accounts of these rows; return whether no other row comes before or between them.

    It waits for a drain that applies earlier rows, and for no other lock, which may last.
    """
    last_ids = {row[0]: row[1] for row in rows}
    values = {"accounts": sql.numbers(last_ids), "ids": sql.numbers(last_ids.values())}

    def has_earlier() -> bool:
        return bool(sql.rows(session, _HAS_EARLIER, values)[0][0])

    if not is_locked_by_us and has_earlier():
        session.connection().exec_driver_sql(f"SET LOCAL lock_timeout = {WAIT_MS}")
        try:
            accounts.lock(session, last_ids)
        except DBAPIError as error:
            if is_locked(error):
                return False
            raise
    elif not is_locked_by_us and not accounts.try_lock(session, last_ids):
        return False
    # Again, under the lock: the drain before may have given up.
    return not has_earlier()


def _accounts_waiting(session: Session, after: int, *, most: int) -> tuple[list[int], bool]:
    """Return waiting accounts after this one, or else from the first; and whether these are all."""
    for start in dict.fromkeys((after, LOWEST)):
        rows = sql.rows(session, _WAITING, {"after": start, "most": most})
        if rows:
            return [row[0] for row in rows], start == LOWEST and len(rows) < most
    return [], True


def _take(session: Session, account_ids: Iterable[int], limit: int) -> list[Row]:
    """Take an equal share of rows from each account, then more from those that have more."""
    remaining_ids = list(account_ids)
    rows: list[Row] = []
    while remaining_ids and len(rows) < limit:
        share = max((limit - len(rows)) // len(remaining_ids), 1)
        values = {"accounts": sql.numbers(remaining_ids), "share": share}
        page = cast("list[Row]", sql.rows(session, _TAKE, values))
        counts = Counter([row[0] for row in page])
        remaining_ids = [account_id for account_id, count in counts.items() if count == share]
        rows += page
        if share == 1:
            break
    return sorted(rows)


def _open(rows: Sequence[Row]) -> tuple[list[tuple[int, Message]], list[DeadMessage]]:
    """Return the messages, each with its row's id, and a dead message for each malformed row."""
    messages: list[tuple[int, Message]] = []
    dead: list[DeadMessage] = []
    for row, arguments in zip(rows, _arguments_of(rows), strict=True):
        try:
            messages.append((row[1], _message(row, arguments)))
        except InvalidMessage as error:
            dead.append(_unopened(row, error))
    return messages, dead


def _arguments_of(rows: Sequence[Row]) -> list[object]:
    """Decode the JSON of all rows at once; _UNREADABLE if Python can't decode it."""
    together = ",".join([row[3] for row in rows])
    try:
        decoded: list[object] = msgspec.json.decode(f"[{together}]")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return [_decode(row[3]) for row in rows]
    return decoded


def _decode(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _message(row: Row, arguments: object) -> Message:
    """Build the message of a row. Raises InvalidMessage."""
    account_id, _, task, _ = row
    kind = _KINDS.get(task)
    if kind is None:
        raise InvalidMessage("task", f"{task[:50]!r} does not belong in the inbox")
    if arguments is _UNREADABLE:
        raise InvalidMessage(
            "arguments", "must be JSON that is not too deep or too long to be read"
        )
    if not isinstance(arguments, dict):
        raise InvalidMessage("arguments", "must be an object")
    message = kind.from_arguments(arguments)
    if message.account_id != account_id:
        raise InvalidMessage("account_id", "must be that of the row")
    return message


def _unopened(row: Row, error: Exception) -> DeadMessage:
    """Return the dead message of a row; text that can't be arguments is kept as bytes."""
    _, row_id, task, text = row
    try:
        arguments = json.loads(text)
        json.dumps(arguments, allow_nan=False)  # a number beyond all floats was decoded as infinity
    except (ValueError, RecursionError):
        arguments = None
    if isinstance(arguments, dict):
        return _dead(row_id, task, arguments, error)
    return replace(_dead(row_id, task, {}, error), queue=None, arguments=None, raw=text.encode())


def _dead(row_id: int, task: str, arguments: dict[str, object], error: Exception) -> DeadMessage:
    return DeadMessage(
        message_id=f"inbox:{row_id}",
        error=type(error).__name__,
        reason=str(error),
        queue="debits",
        task=task,
        arguments=arguments,
    )
