"""Transient errors of the database: the same statements may succeed at a later try."""

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError

#: Two transactions that claim one key at once: the second is tried again and finds the key taken.
_RACES = frozenset({"keys_pkey", "books_pkey"})


def is_transient(error: BaseException) -> bool:
    """Whether the cause of a database error may be gone at the next try."""
    if isinstance(error, IntegrityError):
        return getattr(error.orig, "diag", None) is not None and (
            error.orig.diag.constraint_name in _RACES  # type: ignore[union-attr]
        )
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_locked(error: BaseException) -> bool:
    """Whether another transaction held a lock for longer than the transaction would wait."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) == "55P03"
