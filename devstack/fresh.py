"""Ground of one's own on servers that others use: a new database, and an empty Redis."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import redis
import sqlalchemy as sa

from devstack.errors import NoEmptyRedis

#: As many as a Redis has unless told otherwise.
REDIS_DATABASES = 16


@contextmanager
def fresh_database(url: str, *, prefix: str) -> Iterator[str]:
    """The URL of a new database beside the one of `url`, whose role must be allowed to make one."""
    address = sa.make_url(url).set(drivername="postgresql+psycopg2")
    name = f"{prefix}_{secrets.token_hex(4)}"
    _execute(address, f'CREATE DATABASE "{name}"')
    try:
        yield address.set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(address, f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def empty_redis(url: str) -> Iterator[str]:
    """The URL of a database of this Redis that holds nothing; emptied again at the end.

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
    raise NoEmptyRedis(REDIS_DATABASES)


def _is_empty(client: "redis.Redis[bytes]") -> bool:  # type: ignore[type-arg]
    try:
        return client.dbsize() == 0
    except redis.ResponseError:  # it has fewer databases
        return False


def _execute(url: sa.URL, statement: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(statement))
