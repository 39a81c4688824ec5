"""Expiry: credits whose time is over leave the books as entries.

They can't be spent from their last moment on, swept or not (`billing.lots`); the sweep makes the
balance say so. What a hold has set aside is left to it, and expires if the hold gives it back.
"""

import datetime as dt
from collections.abc import Sequence

from sqlalchemy.orm import Session

from billing import accounts, due, lapses, renewals
from billing.books import Books, open_books
from billing.open_book import OpenBook
from billing.swept import AT_ONCE, Swept, all_or_each


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
    over = [(book, lot) for book, lot in lapses.expired(books) if _may_touch(book)]
    lapses.ask(books, [lot for _, lot in over])
    books.reserve(len(over))
    for book, lot in over:
        at = lot.expires_at or now
        entry = lapses.expire(books, book, lot, happened_at=at)
        swept.append(Swept(book.account.id, "expired", at, expired=-entry.amount, lot_id=lot.id))
    books.write()
    return swept


def _may_touch(book: OpenBook) -> bool:
    return not book.account.is_deleted and not book.account.is_system


def end_trial_credits(session: Session, account_id: int, *, now: dt.datetime) -> int:
    """Expire at once what is left of the account's trial; returns the credits, 0 if none."""
    books = open_books(session, [account_id], keys_asked=(), now=now)
    expired = end_trial(books, books.of(account_id))
    books.write()
    return expired


def end_trial(books: Books, book: OpenBook) -> int:
    """As `end_trial_credits`, for an act that has the books open and writes them."""
    lots = [lot for lot in book.lots if lot.source == "trial" and lot.free]
    lapses.ask(books, lots)
    entries = [lapses.expire(books, book, lot, happened_at=books.now) for lot in lots]
    return -sum([entry.amount for entry in entries])
