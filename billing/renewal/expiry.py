"""Expiry: credits whose time is over leave the books as entries.

They can't be spent from their last moment on, swept or not (`billing.lots`); the sweep makes the
balance say so. What a hold has set aside is left to it, and expires if the hold gives it back.
"""

import datetime as dt
from collections.abc import Iterable, Sequence

from sqlalchemy.orm import Session

from billing import policy
from billing.host import accounts
from billing.ledger.balance import OpenBook
from billing.ledger.ledger import Books, open_books
from billing.ledger.lots import OpenLot
from billing.postgres import arrays
from billing.renewal import due, renewals, rollover
from billing.sweep import AT_ONCE, Swept, all_or_each


def sweep(session: Session, *, now: dt.datetime, limit: int = AT_ONCE) -> list[Swept]:
    """Expire up to about `limit` lots whose time is over; empty when none is left.

    Accounts that are due are renewed first, so that what may roll over does not expire.
    """
    ids = accounts.lock_free(session, due.expiries(session, now=now, limit=limit))
    if not ids:
        return []
    return all_or_each(session, ids, lambda part: _expire(session, part, now), now=now)


def _expire(session: Session, ids: Sequence[int], now: dt.datetime) -> list[Swept]:
    swept = renewals.renew_all(session, ids, now=now)
    books = open_books(session, ids, keys_asked=(), now=now)
    over = [(book, lot) for book, lot in rollover.expired(books) if _may_touch(book)]
    rollover.ask(books, [lot for _, lot in over])
    books.reserve(len(over))
    for book, lot in over:
        at = lot.expires_at or now
        entry = rollover.expire(books, book, lot, happened_at=at)
        swept.append(Swept(book.account.id, "expired", at, expired=-entry.amount, lot_id=lot.id))
    books.write()
    return swept


def _may_touch(book: OpenBook) -> bool:
    return not book.account.is_deleted and not book.account.is_system


def end_trial_credits(session: Session, account_ids: Iterable[int], *, now: dt.datetime) -> int:
    """Expire at once what is left of these accounts' trials; returns the credits, 0 if none.

    Opens no book that is not open yet.
    """
    with_lots = _with_trial_credits(session, account_ids)
    if not with_lots:
        return 0
    books = open_books(session, with_lots, keys_asked=(), now=now)
    lots = [(book, lot) for book in books.by_account.values() for lot in _of_trial(book)]
    rollover.ask(books, [lot for _, lot in lots])
    books.reserve(len(lots))
    entries = [rollover.expire(books, book, lot, happened_at=now) for book, lot in lots]
    books.write()
    return -sum([entry.amount for entry in entries])


def end_trial(books: Books, book: OpenBook) -> int:
    """Expire what is left of an account's trial, in books that the caller writes: credits.

    Nothing where the policy lets trial credits outlive the trial.
    """
    lots = _of_trial(book) if policy.of(books.session).trial_credits_lapse else []
    rollover.ask(books, lots)
    entries = [rollover.expire(books, book, lot, happened_at=books.now) for lot in lots]
    return -sum([entry.amount for entry in entries])


def _of_trial(book: OpenBook) -> list[OpenLot]:
    return [lot for lot in book.lots if lot.source == "trial" and lot.free]


_WITH_TRIAL_CREDITS = """
SELECT DISTINCT account_id FROM billing.lots
WHERE account_id = ANY(%(ids)s::bigint[]) AND is_open AND source = 'trial'
"""


def _with_trial_credits(session: Session, account_ids: Iterable[int]) -> list[int]:
    """Those of these accounts that have trial credits left."""
    ids = {"ids": arrays.numbers(account_ids)}
    rows = session.connection().exec_driver_sql(_WITH_TRIAL_CREDITS, ids)
    return sorted(row[0] for row in rows.all())
