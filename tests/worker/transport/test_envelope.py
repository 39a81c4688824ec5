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
        ("not JSON", "message: JSON is malformed"),
        ("a JSON list", "message: Expected `object`, got `array`"),
        ("not ASCII", "not ASCII"),
        ("a body nested 100,000 deep", "body .*: nested too deep"),
        ("no body", "missing required field `body`"),
        ("a body of the wrong shape", r"body \[args, kwargs, embed\]: Expected `array`"),
        ("a body that is not base64", r"body \[args, kwargs, embed\]: Only base64 data"),
        ("pickle", r"'application/x-python-serialize' - at `\$.content-type`"),
        ("an unknown task", "unknown task credits.print_money"),
        ("no id", r"missing required field `id` - at `\$.headers`"),
        ("an id with a NUL", "headers.id or properties.delivery_tag is not printable"),
        ("an eta in words", "headers.eta is not a time"),
        ("an eta before the calendar", "headers.eta is not a time from 1971 to 9000"),
        ("retries below any number", r"at `\$.headers.retries`"),
        ("a shadow name that is a list", r"Expected `str \| null`, got `array` - at `\$.headers.s"),
        ("with callbacks", "callbacks needs a result, and no task has one"),
    ],
)
def test_a_malformed_message_names_the_field_that_is_wrong(name, problem):
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


@pytest.mark.parametrize(("written", "read_as"), [(None, 0), (0, 0), (3, 3)])
def test_retries_are_counted_and_none_are_0(written, read_as):
    assert read(raw(with_headers(GOOD, retries=written))).retries == read_as


@pytest.mark.parametrize("name", ["eta", "expires"])
@pytest.mark.parametrize(
    ("year", "is_read"), [(1970, False), (1971, True), (9000, True), (9001, False)]
)
def test_a_time_is_read_from_the_first_year_to_the_last(name, year, is_read):
    assert opens_or_is_malformed(with_headers(GOOD, **{name: f"{year}-06-01T12:00:00"})) is is_read


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
    ("text", "is_read"),
    [
        pytest.param('[[], {"units": 123456789012345678901234567890}, {}]', True, id="a long one"),
        pytest.param('[[], {"key": 1, "key": 2}, {}]', True, id="a name twice"),
        pytest.param("[[], {}, null]", True, id="nothing embedded"),
        pytest.param(r'[[], {"payload": "\udcff"}, {}]', True, id="a byte that is no UTF-8"),
        pytest.param(r'[{"payload": "\udcff"}]', False, id="such a byte in the wrong shape"),
        pytest.param("[[], {}, {}] ", True, id="a blank behind it"),
        pytest.param('[[], {"units": 1e400}, {}]', False, id="a number beyond all floats"),
        pytest.param('[[], {"units": NaN}, {}]', False, id="no number"),
        pytest.param(r'[[], {"key": "\ud800"}, {}]', False, id="half a character"),
        pytest.param('[[], {}, {"link": [1]}]', False, id="an unknown follower"),
        pytest.param("[[], {}, {}] {}", False, id="more behind it"),
        pytest.param(f'[[], {{"metadata": {"[" * 101}{"]" * 101}}}, {{}}]', False, id="too deep"),
        pytest.param(
            '[[], {"metadata": ' + '{"a":[' * 51 + "]}" * 51 + "}, {}]",
            False,
            id="objects and lists",
        ),
        pytest.param(f'[[], {{"debits": [{"{}," * 300}{{}}]}}, {{}}]', True, id="many, not deep"),
    ],
)
def test_a_body_is_json_of_a_sound_form(text, is_read):
    assert opens_or_is_malformed({**GOOD, "body": body_of(text)}) is is_read


def opens_or_is_malformed(message):
    """Whether it opens; if not, it names the problem."""
    try:
        assert read(raw(message)).task == "credits.debit"
    except Malformed as error:
        assert error.facts["problem"]
        return False
    return True
