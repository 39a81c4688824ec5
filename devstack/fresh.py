"""A new database and an empty Redis database on servers that others use too."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import redis
import sqlalchemy as sa

from devstack.errors import NoEmptyRedis

#: The number of databases of a Redis by default.
REDIS_DATABASES = 16


@contextmanager
def fresh_database(url: str, *, prefix: str) -> Iterator[str]:
    """Create a database beside the one of `url`, yield its URL, and drop it at the end.

    The role of `url` must be allowed to create databases.
    """
    address = sa.make_url(url).set(drivername="postgresql+psycopg2")
    name = f"{prefix}_{secrets.token_hex(4)}"
    _execute(address, f'CREATE DATABASE "{name}"')
    try:
        yield address.set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(address, f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def empty_redis(url: str) -> Iterator[str]:
    """Yield the URL of an empty database of this Redis, and empty it again at the end.

    Raises NoEmptyRedis.
    """
    address = sa.make_url(url)
    for number in range(REDIS_DATABASES):
        own = address.set(database=str(number)).render_as_string(hide_password=False)
        with redis.Redis.from_url(own) as client:
            if _is_empty(client):
                try:
                    yield own
                finally:
                    client.flushdb()
                return
    raise NoEmptyRedis(databases=REDIS_DATABASES)


def _is_empty(client: "redis.Redis[bytes]") -> bool:  # type: ignore[type-arg]
    try:
        return client.dbsize() == 0
    except redis.ResponseError:  # it has fewer databases
        return False


def _execute(url: sa.URL, statement: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(statement))
