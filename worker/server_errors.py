"""Errors of a server, as a sentence for an operator instead of a traceback."""

import redis
from kombu.exceptions import OperationalError as BrokerAway
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import OperationalError as PostgresAway

#: Postgres' codes for a missing table or schema (its manual, appendix A).
_NOT_MIGRATED = frozenset({"42P01", "3F000"})
#: Postgres' codes for connection, rights, resources and time: errors of the server, not of ours.
_SERVER_CODES = ("08", "28", "3D", "42501", "53", "55P03", "57")


def sentence_of(error: BaseException) -> str | None:
    """Return the sentence for an error of a server; None for any other error, which is a bug."""
    if isinstance(error, DBAPIError):
        return _of_postgres(error)
    if isinstance(error, redis.RedisError | BrokerAway):
        return f"redis: {first_line(error)}"
    return None


def _of_postgres(error: DBAPIError) -> str | None:
    code = getattr(error.orig, "pgcode", None)
    if code in _NOT_MIGRATED:
        return f"postgres: {first_line(error.orig)}: run `billing migrate` first"
    # Without a code there was no connection.
    is_away = code is None and isinstance(error, PostgresAway | InterfaceError)
    if is_away or (code or "").startswith(_SERVER_CODES):
        return f"postgres: {first_line(error.orig)}"
    return None


def first_line(error: object) -> str:
    """Return the first line of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
