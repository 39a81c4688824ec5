"""What a server said, as the sentence that an operator wants in place of a traceback."""

import redis
from kombu.exceptions import OperationalError
from sqlalchemy.exc import DBAPIError

#: Postgres' codes for a table or a schema that is not there (its manual, appendix A).
_NOT_MIGRATED = frozenset({"42P01", "3F000"})
#: Of what is wrong with a server, and not with us: connection, rights, resources, time.
_SERVERS_OWN = ("08", "28", "3D", "42501", "53", "55P03", "57")


def in_a_sentence(error: BaseException) -> str | None:
    """Why a server did not do it; None for an error that is no server's, which is a bug."""
    if isinstance(error, DBAPIError):
        return _of_postgres(error)
    if isinstance(error, redis.RedisError | OperationalError):
        return f"redis: {first_line(error)}"
    return None


def _of_postgres(error: DBAPIError) -> str | None:
    code = getattr(error.orig, "pgcode", None)
    if code in _NOT_MIGRATED:
        return f"postgres: {first_line(error.orig)}: run `billing migrate` first"
    # No code at all: it could not even be reached.
    if code is None or code.startswith(_SERVERS_OWN):
        return f"postgres: {first_line(error.orig)}"
    return None


def first_line(error: object) -> str:
    """An error's words, short."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
