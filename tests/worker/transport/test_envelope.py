"""A message is opened, or it is Malformed and says why; there is no third way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.errors import Malformed
from tests.worker.rawmessages import POISON, body_of, message, properties, raw, with_headers
from worker.transport import envelope

TASKS = {"credits.debit"}
GOOD = message(account_id=1, operation="clustering", key="k")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def read(raw):
    return envelope.read(raw, known_tasks=TASKS)


def test_an_envelope_holds_the_task_its_id_and_its_arguments():
    opened = read(raw(GOOD))

    assert (opened.task, opened.message_id, opened.delivery_tag, opened.retries) == (
        "credits.debit",
        GOOD["headers"]["id"],
        GOOD["properties"]["delivery_tag"],
        0,
    )
    assert opened.arguments == {"account_id": 1, "operation": "clustering", "key": "k"}
    assert opened.positional == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("not JSON", "not JSON: Expecting value"),
        ("a JSON list", "a JSON list, not an object"),
        ("not ASCII", "not ASCII"),
        ("nested 100,000 deep", "nested too deep"),
        ("no body", "no body"),
        ("a body of the wrong shape", r"body is not \[args, kwargs, embed\]"),
        ("pickle", "content-type 'application/x-python-serialize' is not JSON"),
        ("an unknown task", "unknown task credits.print_money"),
        ("no id", "headers.id is not a text"),
        ("an eta in words", "headers.eta is not a time"),
        ("an eta before the calendar", "headers.eta is not a time from 1971 to 9000"),
        ("retries below any number", "headers.retries is not a number from 0 to 1000"),
        ("a shadow name that is a list", "headers.shadow is a list"),
        ("with callbacks", "asks for callbacks: no task of ours has a result"),
    ],
)
def test_what_is_wrong_is_said_in_words(name, problem):
    with pytest.raises(Malformed, match=problem):
        read(POISON[name](GOOD))


@pytest.mark.parametrize(
    "unusual",
    [
        pytest.param(with_headers(GOOD, eta="2026-03-01T12:00:00+00:00"), id="an eta"),
        pytest.param(with_headers(GOOD, retries=3, timelimit=[300, None]), id="a retry"),
        pytest.param(with_headers(GOOD, billing_sent_at="2026", stamps={}), id="more headers"),
        pytest.param(properties(GOOD, priority=9), id="another priority"),
        pytest.param({**GOOD, "name": "more"}, id="more fields"),
    ],
)
def test_what_celery_takes_is_taken(unusual):
    assert read(raw(unusual)).arguments["key"] == "k"


@given(st.binary())
def test_any_bytes_are_an_envelope_or_malformed(data):
    with pytest.raises(Malformed):
        read(data)


@given(st.sampled_from([*GOOD["headers"], "compression", "stamps", "stamped_headers"]), JSON)
def test_a_header_of_any_value_makes_an_envelope_or_malformed(name, value):
    opens_or_is_malformed(with_headers(GOOD, **{name: value}))


@given(st.sampled_from(list(GOOD["properties"])), JSON)
def test_a_property_of_any_value_makes_an_envelope_or_malformed(name, value):
    opens_or_is_malformed(properties(GOOD, **{name: value}))


@given(st.sampled_from(list(GOOD)), JSON)
def test_a_field_of_any_value_makes_an_envelope_or_malformed(name, value):
    opens_or_is_malformed({**GOOD, name: value})


@given(JSON, JSON, JSON)
def test_a_body_of_any_values_makes_an_envelope_or_malformed(positional, arguments, embed):
    opens_or_is_malformed({**GOOD, "body": body_of(json.dumps([positional, arguments, embed]))})
    opens_or_is_malformed({**GOOD, "body": body_of(json.dumps([[], {"key": arguments}, embed]))})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('[[], {"units": 1e400}, {}]', id="a number beyond all floats"),
        pytest.param('[[], {"units": 123456789012345678901234567890}, {}]', id="a long number"),
        pytest.param('[[], {"units": NaN}, {}]', id="no number"),
        pytest.param(r'[[], {"key": "\ud800"}, {}]', id="half a character"),
        pytest.param('[[], {"key": 1, "key": 2}, {}]', id="a name twice"),
        pytest.param('[[], {}, {"link": [1]}]', id="an unknown follower"),
        pytest.param("[[], {}, null]", id="nothing embedded"),
        pytest.param("[[], {}, {}] ", id="a blank behind it"),
        pytest.param("[[], {}, {}] {}", id="more behind it"),
    ],
)
def test_the_quick_look_at_a_body_says_what_the_close_one_says(text):
    opens_or_is_malformed({**GOOD, "body": body_of(text)})


def opens_or_is_malformed(message):
    """The quick look, where it says anything, says what the close one says."""
    found = outcome(envelope.read, message)
    assert found == outcome(envelope.read_closely, message)
    if isinstance(found, envelope.Envelope):
        assert found.task == "credits.debit"


def outcome(reader, message):
    try:
        return reader(raw(message), known_tasks=TASKS)
    except Malformed as error:
        assert error.facts["problem"]
        return error.facts["problem"]


def test_what_celery_sends_needs_no_closer_look(monkeypatch):
    monkeypatch.setattr(envelope, "read_closely", None)

    assert read(raw(GOOD)).arguments["account_id"] == 1
