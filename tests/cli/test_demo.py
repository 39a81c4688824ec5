"""`billing demo`: the main job on real servers, told as a table and as ledgers; it ends with 0 if all is well."""

import os
import re
import subprocess
import sys

import pytest
import redis
import sqlalchemy as sa

from cli.demo import ASKS


def demo(**environment):
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "demo"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def in_words(text):
    """Without the tables' lines and spaces."""
    return re.sub(r"[ ─]+", " ", text)


@pytest.fixture
def databases(database):
    def names():
        with database.connect() as connection:
            return set(connection.scalars(sa.text("SELECT datname FROM pg_database")))

    return names


def keys():
    """Of all databases of the suite's Redis."""
    address = sa.make_url(os.environ["REDIS_URL"])
    urls = [address.set(database=str(n)).render_as_string(hide_password=False) for n in range(16)]
    return [key for url in urls for key in redis.Redis.from_url(url).scan_iter()]


def test_on_servers_that_are_named_it_takes_ground_of_its_own_and_leaves_none(
    databases, redis_client
):
    redis_client.set("somebody's", 1)
    before = databases()

    shown = demo()

    assert shown.returncode == 0, shown.stdout + shown.stderr
    said = in_words(shown.stdout)
    for ask in ASKS:
        assert f"{ask.slug} {ask.operation} {ask.units:,} {ask.times} x {ask.expected}" in said
    assert "ledger of home-g8 (active), balance 7,972" in said
    assert "clustering -10 7950" in said  # three times one key
    assert said.rstrip().endswith("the books agree")
    assert databases() == before
    assert keys() == [b"somebody's"]


def test_without_any_it_brings_its_own(tmp_path):
    shown = demo(DATABASE_URL="", REDIS_URL="")

    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "UNEXPECTED" not in shown.stdout


def test_a_server_that_is_away_is_said_in_a_sentence():
    shown = demo(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")

    assert shown.returncode == 1
    assert re.fullmatch("Error: postgres: .*Connection refused\n", shown.stderr)
