"""Any text may be a key; a UUID is kept as it is."""

import uuid

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from billing.ledger import idempotency
from billing_client import new_key
from worker.database import engine


def test_a_time_ordered_key_is_kept_as_it_is():
    key = new_key()

    assert idempotency.as_uuid(key) == key


def test_new_keys_are_version_7_and_sort_by_time():
    made = [new_key() for _ in range(100)]

    assert {uuid.UUID(key).version for key in made} == {7}
    assert [key[:13] for key in made] == sorted(key[:13] for key in made)
    assert len(set(made)) == 100


@given(st.text(min_size=1, max_size=200))
def test_any_other_text_becomes_the_same_uuid_each_time(key):
    made = idempotency.as_uuid(key)

    assert made == idempotency.as_uuid(key)
    assert str(uuid.UUID(made)) == made


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_texts_become_two_uuids(one, other):
    assert (one == other) == (idempotency.as_uuid(one) == idempotency.as_uuid(other))


def test_an_upper_case_uuid_is_a_text_of_its_own():
    key = new_key()

    assert idempotency.as_uuid(key.upper()) != key


#: What Postgres takes as text: no NUL, no half of a surrogate pair.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
in_sql = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def scalar(query, **values):
    with engine().connect() as connection:
        return connection.execute(sa.text(query), values).scalar()


@pytest.mark.usefixtures("database")
@in_sql
@example(new_key())
@example(new_key().upper())
@example(new_key() + "\n")
@example("{" + new_key() + "}")
@given(texts | st.uuids().map(str) | st.uuids().map(lambda each: each.hex))
def test_sql_makes_the_same_uuid_of_a_key(key):
    assert str(scalar("SELECT billing.key_uuid(:key)", key=key)) == idempotency.as_uuid(key)


@pytest.mark.usefixtures("database")
@in_sql
@given(st.lists(texts | st.integers(), min_size=1, max_size=5))
def test_sql_makes_the_same_digest_of_a_content(parts):
    in_postgres = scalar(
        "SELECT billing.content_digest(VARIADIC CAST(:parts AS text[]))",
        parts=[str(part) for part in parts],
    )

    assert in_postgres == idempotency.digest(*parts)
