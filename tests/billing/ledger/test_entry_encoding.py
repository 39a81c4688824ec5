"""Entries that differ are hashed as different bytes, and an entry's bytes survive its storage."""

import datetime as dt
import json
import string
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from billing.ledger import entry_rows, stored_entries
from billing.ledger.entry_rows import Entry
from worker.database import engine

AT = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
#: Few texts, so that examples meet the same ones; with all that could be taken for a separator.
SHORT = st.text(alphabet='aN\x1f,:-1"\\[]{}', max_size=4) | st.sampled_from(["None", "null", "1"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([1.0, 1.5, -0.0]) | SHORT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT, inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.builds(
    Entry,
    id=st.integers(1, 3),
    account_id=st.integers(1, 3),
    type=SHORT,
    amount=st.integers(-2, 2),
    balance_after=st.integers(-2, 2),
    description=SHORT,
    key=SHORT,
    actor=SHORT,
    happened_at=st.sampled_from([AT, AT + dt.timedelta(microseconds=1)]),
    recorded_at=st.just(AT),
    reference=st.none() | SHORT,
    units=st.none() | st.integers(0, 2),
    lots=st.none() | st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), max_size=2),
    details=st.none() | st.dictionaries(SHORT, JSON, max_size=3),
)
PREVIOUS = st.sampled_from([b"", b"1\x1f5", b"x" * 32, b"\x02" + b"x" * 32])


def hashed(previous, entry):
    return entry_rows.hashed_bytes(previous, entry, entry_rows.hashed_text(entry))


def exact(value):
    """A value that is equal to another only if they are the same JSON: 1, 1.0, true and "1" differ."""
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return (type(value).__name__, value)


def facts(entry):
    columns = [getattr(entry, name) for name in Entry.__slots__]
    return [*columns[:-2], exact(entry.details)]


@settings(max_examples=150)
@given(PREVIOUS, ENTRIES, PREVIOUS, ENTRIES)
def test_entries_that_differ_are_hashed_as_different_bytes(before, one, other_before, other):
    assume((before, facts(one)) != (other_before, facts(other)))

    assert hashed(before, one) != hashed(other_before, other)


@settings(max_examples=150)
@given(ENTRIES, st.data())
def test_one_field_that_changes_changes_the_bytes(entry, data):
    name = data.draw(st.sampled_from([name for name in Entry.__slots__ if name != "entry_hash"]))
    other = data.draw(ENTRIES)
    changed = Entry(**{n: getattr(other if n == name else entry, n) for n in Entry.__slots__})
    assume(facts(changed) != facts(entry))

    assert hashed(b"", changed) != hashed(b"", entry)


@settings(max_examples=150)
@given(PREVIOUS, ENTRIES)
def test_the_bytes_can_be_read_back_so_no_two_entries_share_them(before, entry):
    data = hashed(before, entry)
    length = int(data.split(b",", 1)[0])
    previous, text = data[len(data) - length :], data[: len(data) - length].decode()
    head, text = text.split("\x1f", 1)
    _, *lengths, reference = head.split(",")
    fields = []
    for part in ("n", "n", *lengths[:1], "n", "n", *lengths[1:], reference, "n", "n", "n"):
        if part in ("n", "-"):
            field, text = text.split("\x1f", 1)
        else:
            field, text = text[: int(part)], text[int(part) + 1 :]
        fields.append(None if part == "-" else field)
    lots, details = text.split("\x1f", 1)

    assert previous == before
    assert (fields[2], *fields[5:9]) == (
        entry.type, entry.description, entry.key, entry.actor, entry.reference,
    )  # fmt: skip
    assert [*fields[:2], *fields[3:5], fields[9]] == [
        str(value)
        for value in (entry.id, entry.account_id, entry.amount, entry.balance_after, entry.units)
    ]
    assert lots == str(entry.lots)
    assert (None if details == "None" else details) == (
        None if entry.details is None else entry_rows.details_text(entry.details)
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"a": 1}, {"a": "1"}, id="a number and its text"),
        pytest.param({"a": 1}, {"a": True}, id="a number and a truth"),
        pytest.param({"a": 1}, {"a": Decimal("1.0")}, id="numbers of another scale"),
        pytest.param({"a": None}, {"a": "None"}, id="nothing and the text None"),
        pytest.param({"a": None}, {"a": "null"}, id="nothing and the text null"),
        pytest.param({}, {"a": None}, id="no name and a name without a value"),
        pytest.param({}, None, id="no names and no details"),
        pytest.param({"a": []}, {"a": {}}, id="an empty list and an empty object"),
        pytest.param({"a": "[1]"}, {"a": [1]}, id="a list and its text"),
    ],
)
def test_details_that_differ_are_told_apart(one, other):
    entries = [
        Entry(1, 1, "t", 1, 1, "", "", "", AT, AT, details=details) for details in (one, other)
    ]

    assert hashed(b"", entries[0]) != hashed(b"", entries[1])


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(alphabet=string.printable + "äß\u2028\U0001f600\x7f\x01", max_size=8)
STORED = st.dictionaries(
    TEXTS,
    st.recursive(
        st.none() | st.booleans() | NUMBERS | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def connection():
    with engine().connect() as connection:
        yield connection


@given(details=STORED)
def test_details_are_hashed_as_written_and_as_read_back_from_postgres(connection, details):
    statement = sa.text("SELECT CAST(CAST(:details AS jsonb) AS text)")

    text = connection.execute(statement, {"details": json.dumps(details)}).scalar_one()

    stored = entry_rows.details_text(stored_entries.as_json(text))
    assert stored == entry_rows.details_text(details)
