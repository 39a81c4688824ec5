"""Draining the inbox: rows that the main app left in its own transactions, taken in sets.

An account's rows are done in the order of their ids, under the account's lock, and only if none
comes before those taken: so its order is kept with any number of drains. Each set takes a share of
every account that waits, so that one with a million rows delays the others by a set, not by a
million. Rows are found by being there, never by a last id: ids that commit late are found when they
do.

Accounts in other hands are skipped. Where another drain has all that wait, this one takes the rows
behind and opens them meanwhile, so that one busy account has two drains at work.
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
from billing.host import accounts
from billing.operations import dead_letters
from billing.operations.dead_letters import Letter
from billing.postgres import sql
from billing.postgres.transient import is_locked, is_transient
from billing.usage import post
from billing.usage.post import Answer, Message
from billing_client import InvalidMessage
from billing_client.messages import INBOX_MESSAGES

#: Accounts that one set takes rows of.
ACCOUNTS_AT_ONCE = 100
#: A drain that has rows in hand waits so long for the one before it to be done with the account.
WAIT_MS = 1000
#: Where the first set begins.
LOWEST = -(2**63)
_KINDS = {kind.TASK: kind for kind in INBOX_MESSAGES}
#: JSON that Postgres holds and Python can't read: too deep, or a number too long.
_UNREADABLE = object()


@dataclass(frozen=True, slots=True)
class Drained:
    """What one set took: its answers, the rows that could not be read, and where to go on.

    `after`: the last account that was looked at; the next set begins behind it.
    """

    rows: int
    answers: list[Answer]
    dead: int
    after: int


class InOtherHands(Exception):
    """All that waits is locked, or rows that come before those taken are in another drain's hands.

    Nothing was done: the caller rolls back. `after`: where to go on, as in Drained.
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


#: Account, id, task, and arguments: the JSON is still text, as Python can't read all that Postgres
#: can.
Row: TypeAlias = tuple[int, int, str, str]


def drain(ctx: Context, *, limit: int, after: int, one_by_one: bool = False) -> Drained:
    """Take up to `limit` rows and do what they ask; the rows are gone when the caller commits.

    `one_by_one` does each in a savepoint of its own, after a set broke: what breaks alone becomes
    a dead letter. Raises InOtherHands.
    """
    waiting, is_all = _accounts_waiting(ctx.session, after, most=min(limit, ACCOUNTS_AT_ONCE))
    if not waiting:
        return Drained(0, [], 0, LOWEST)
    mine = accounts.try_lock(ctx.session, waiting)
    # There are others to look at, or nobody who will be done with the first one soon.
    if not mine and not (is_all and _is_drained(ctx.session, waiting[0])):
        raise InOtherHands(waiting[-1])
    rows = _take(ctx.session, mine or waiting[:1], limit)
    messages, dead = _opened(rows)
    if rows and not _has_turn(ctx.session, rows, mine=bool(mine)):
        raise InOtherHands(waiting[-1])
    done = messages
    if one_by_one:
        done, answers, broken = _one_by_one(ctx, messages)
        dead += broken
    else:
        answers = post.apply(ctx, [message for _, message in messages])
    for (row_id, message), answer in zip(done, answers, strict=True):
        if answer.is_rejected and answer.error:
            dead.append(_letter(row_id, message.TASK, message.arguments(), answer.error))
    dead_letters.keep(ctx, dead)
    return Drained(len(rows), answers, len(dead), waiting[-1])


def _one_by_one(
    ctx: Context, messages: Sequence[tuple[int, Message]]
) -> tuple[list[tuple[int, Message]], list[Answer], list[Letter]]:
    done, answers, broken = [], [], []
    for row_id, message in messages:
        try:
            with ctx.session.begin_nested():
                (answer,) = post.apply(ctx, [message])
        except Exception as error:
            if is_transient(error):
                raise
            broken.append(_letter(row_id, message.TASK, message.arguments(), error))
        else:
            done.append((row_id, message))
            answers.append(answer)
    return done, answers, broken


def waiting(session: Session) -> tuple[int, dt.datetime | None]:
    """How many rows wait, and since when the oldest does."""
    row = session.connection().exec_driver_sql("SELECT count(*), min(sent_at) FROM billing.inbox")
    count, oldest = row.one()
    return count, oldest


def _is_drained(session: Session, account_id: int) -> bool:
    """Whether another drain is at work on the account's rows."""
    asked = {"account": account_id}
    return bool(sql.rows(session, _IS_DRAINED, asked)[0][0])


def _has_turn(session: Session, rows: Sequence[Row], *, mine: bool) -> bool:
    """Whether nothing comes before or between these rows, with their accounts locked.

    A drain that is at work on what comes before is waited for. Who else has an account locked may
    have it for long, and is not.
    """
    last = {row[0]: row[1] for row in rows}
    asked = {"accounts": sql.numbers(last), "ids": sql.numbers(last.values())}

    def has_earlier() -> bool:
        return bool(sql.rows(session, _HAS_EARLIER, asked)[0][0])

    if not mine and has_earlier():
        session.connection().exec_driver_sql(f"SET LOCAL lock_timeout = {WAIT_MS}")
        try:
            accounts.lock(session, last)
        except DBAPIError as error:
            if is_locked(error):
                return False
            raise
    elif not mine and not accounts.try_lock(session, last):
        return False
    # Under the lock, in a statement of its own: the drain before may have given up.
    return not has_earlier()


def _accounts_waiting(session: Session, after: int, *, most: int) -> tuple[list[int], bool]:
    """Accounts behind this one, or else from the first, and whether these are all that wait."""
    for start in dict.fromkeys((after, LOWEST)):
        rows = sql.rows(session, _WAITING, {"after": start, "most": most})
        if rows:
            return [row[0] for row in rows], start == LOWEST and len(rows) < most
    return [], True


def _take(session: Session, mine: Iterable[int], limit: int) -> list[Row]:
    """Rows of these accounts: an equal share each, then more of those that have more."""
    hungry = list(mine)
    rows: list[Row] = []
    while hungry and len(rows) < limit:
        share = max((limit - len(rows)) // len(hungry), 1)
        found = sql.rows(session, _TAKE, {"accounts": sql.numbers(hungry), "share": share})
        counts = Counter([row[0] for row in found])
        hungry = [account_id for account_id, count in counts.items() if count == share]
        rows += cast("list[Row]", found)
        if share == 1:
            break
    return sorted(rows)


def _opened(rows: Sequence[Row]) -> tuple[list[tuple[int, Message]], list[Letter]]:
    """The messages, each with the id of its row, and the letters of what is none."""
    messages: list[tuple[int, Message]] = []
    dead: list[Letter] = []
    for row, arguments in zip(rows, _arguments_of(rows), strict=True):
        try:
            messages.append((row[1], _message(row, arguments)))
        except InvalidMessage as error:
            dead.append(_unread(row, error))
    return messages, dead


def _arguments_of(rows: Sequence[Row]) -> list[object]:
    """The JSON of each row, all read at once; _UNREADABLE where Python can't."""
    together = ",".join([row[3] for row in rows])
    try:
        found: list[object] = msgspec.json.decode(f"[{together}]")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return [_read(row[3]) for row in rows]
    return found


def _read(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _message(row: Row, arguments: object) -> Message:
    """What the row asks for. Raises InvalidMessage."""
    account_id, _, task, _ = row
    kind = _KINDS.get(task)
    if kind is None:
        raise InvalidMessage("task", "has no business in the inbox")
    if arguments is _UNREADABLE:
        raise InvalidMessage("arguments", "is JSON too deep or too long to be read")
    if not isinstance(arguments, dict):
        raise InvalidMessage("arguments", "must be an object")
    message = kind.from_arguments(arguments)
    if message.account_id != account_id:
        raise InvalidMessage("account_id", "is not that of the row")
    return message


def _unread(row: Row, error: InvalidMessage) -> Letter:
    """The letter of a row that is no message: its text as bytes, where it can't be arguments."""
    _, row_id, task, text = row
    try:
        arguments = json.loads(text)
        json.dumps(arguments, allow_nan=False)  # a number beyond all floats was read as infinite
    except (ValueError, RecursionError):
        arguments = None
    if isinstance(arguments, dict):
        return _letter(row_id, task, arguments, error)
    letter = _letter(row_id, task, {}, error)
    return replace(letter, queue=None, arguments=None, raw=text.encode())


def _letter(row_id: int, task: str, arguments: dict[str, object], error: Exception) -> Letter:
    return Letter(
        message_id=f"inbox:{row_id}",
        error=type(error).__name__,
        reason=str(error),
        queue="debits",
        task=task,
        arguments=arguments,
    )
