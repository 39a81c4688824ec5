"""A message is checked when it is made, on both sides of the broker."""

import datetime as dt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing_client import (
    MESSAGES,
    AnnounceTransfer,
    ConfirmTransfer,
    Debit,
    Grant,
    ImportStatement,
    InvalidField,
    InvalidMessage,
    MissingField,
    RejectTransfer,
    SeedAccount,
    StripeWebhook,
    UnknownField,
)
from billing_client import fields as check

DEBIT = {"account_id": 5, "operation": "clustering", "key": "debit:ai:1"}
WEBHOOK = {"payload": "{}", "signature": "t=1,v1=00", "received_at": "2026-03-01T12:00:00Z"}
GRANT = {"account_id": 5, "amount": 10, "source": "top_up", "key": "order:1"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"units": 0}, "units", id="units 0"),
        pytest.param({"units": -1}, "units", id="negative units"),
        pytest.param({"units": 10**7}, "units", id="huge units"),
        pytest.param({"units": 10**400}, "units", id="units of 400 digits"),
        pytest.param({"units": 1.0}, "units", id="units as a float"),
        pytest.param({"units": float("nan")}, "units", id="units that are no number"),
        pytest.param({"units": "1"}, "units", id="units as text"),
        pytest.param({"units": True}, "units", id="units as a truth"),
        pytest.param({"units": None}, "units", id="no units"),
        pytest.param({"account_id": 0}, "account_id", id="account 0"),
        pytest.param({"account_id": "5"}, "account_id", id="account as text"),
        pytest.param({"account_id": 2**63}, "account_id", id="an account beyond bigint"),
        pytest.param({"key": ""}, "key", id="an empty key"),
        pytest.param({"key": "k" * 201}, "key", id="a key of 201 characters"),
        pytest.param({"key": "a\x00b"}, "key", id="a key with a NUL"),
        pytest.param({"key": "a\nb"}, "key", id="a key of two lines"),
        pytest.param({"key": "\ud800"}, "key", id="a key that is no Unicode"),
        pytest.param({"key": " k"}, "key", id="a key with a blank before it"),
        pytest.param({"key": 7}, "key", id="a key as a number"),
        pytest.param({"operation": ""}, "operation", id="an empty operation"),
        pytest.param({"operation": "x" * 51}, "operation", id="an operation of 51 characters"),
        pytest.param({"metadata": {"a": "x" * 2048}}, "metadata", id="metadata over 2 KB"),
        pytest.param({"metadata": "text"}, "metadata", id="metadata as text"),
        pytest.param({"metadata": {"a": {1, 2}}}, "metadata", id="metadata that is not JSON"),
        pytest.param({"metadata": {"a": float("inf")}}, "metadata", id="metadata with infinity"),
        pytest.param({"metadata": {"a": "\x00"}}, "metadata", id="metadata with a NUL"),
        pytest.param({"metadata": {1: 2}}, "metadata", id="metadata with a number as its key"),
        pytest.param({"happened_at": "soon"}, "happened_at", id="a time in words"),
        pytest.param({"happened_at": 7}, "happened_at", id="a time as a number"),
        pytest.param({"happened_at": "2026-01-01T00:00:00"}, "happened_at", id="no time zone"),
        pytest.param(
            {"happened_at": "0001-01-01T00:00:00+14:00"}, "happened_at", id="before the calendar"
        ),
    ],
)
def test_a_debit_with_a_field_out_of_bounds_names_the_field(change, field):
    with pytest.raises(InvalidField) as caught:
        Debit.from_arguments(DEBIT | change)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"amount": 0}, "amount", id="nothing"),
        pytest.param({"amount": -5}, "amount", id="less than nothing"),
        pytest.param({"amount": 1.5}, "amount", id="a float"),
        pytest.param({"amount": 10**9}, "amount", id="a thousand million"),
        pytest.param({"source": "luck"}, "source", id="no source"),
        pytest.param({"source": "opening_balance"}, "source", id="a source of the worker's own"),
        pytest.param({"source": ["plan"]}, "source", id="a list"),
        pytest.param({"priority": -1}, "priority", id="a negative priority"),
        pytest.param({"priority": 10**6}, "priority", id="a huge priority"),
    ],
)
def test_a_grant_with_a_field_out_of_bounds_names_the_field(change, field):
    with pytest.raises(InvalidField) as caught:
        Grant.from_arguments(GRANT | change)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"payload": None}, "payload", id="no payload"),
        pytest.param({"payload": {"id": "evt_1"}}, "payload", id="a payload already parsed"),
        pytest.param({"payload": "\ud800"}, "payload", id="half a character that no byte makes"),
        pytest.param({"payload": "x" * (2**23 + 1)}, "payload", id="more than 8 MiB"),
        pytest.param({"payload": "é" * (2**22 + 1)}, "payload", id="more than 8 MiB as bytes"),
        pytest.param({"signature": None}, "signature", id="no signature"),
        pytest.param({"signature": "x" * 16_385}, "signature", id="a header beyond any server's"),
        pytest.param({"received_at": None}, "received_at", id="no time"),
        pytest.param({"received_at": "today"}, "received_at", id="a time in words"),
    ],
)
def test_a_webhook_with_a_field_out_of_bounds_names_the_field(change, field):
    with pytest.raises(InvalidField) as caught:
        StripeWebhook.from_arguments(WEBHOOK | change)

    assert caught.value.field == field


@given(st.binary(max_size=200))
def test_a_webhooks_body_comes_out_as_the_bytes_that_went_in(body):
    message = StripeWebhook.from_arguments(
        WEBHOOK | {"payload": body.decode("utf-8", "surrogateescape")}
    )

    assert message.body == body


@pytest.mark.parametrize("signature", ["", "nonsense", "t=1,v1=\x00"])
def test_a_webhooks_signature_may_be_anything_for_the_worker_says_what_is_wrong(signature):
    assert StripeWebhook.from_arguments(WEBHOOK | {"signature": signature}).signature == signature


@given(st.text("\\u0\x00a", max_size=12), st.text("\\u0\x00a", max_size=12))
def test_metadata_is_refused_for_a_nul_and_not_for_the_text_that_json_writes_for_it(name, text):
    """A path such as `C:\\u0000` was taken for a NUL."""
    try:
        Debit(1, "clustering", "k", metadata={name: [text]})
    except InvalidField:
        assert "\x00" in name + text
    else:
        assert "\x00" not in name + text


@pytest.mark.parametrize("name", sorted(DEBIT))
def test_a_missing_field_is_named(name):
    with pytest.raises(MissingField, match=name):
        Debit.from_arguments({key: value for key, value in DEBIT.items() if key != name})


def test_an_unknown_field_is_named():
    with pytest.raises(UnknownField, match=r"^Field 'unit' is not a field of credits\.debit\.$"):
        Debit.from_arguments(DEBIT | {"unit": 3})


def test_a_time_is_turned_into_utc():
    message = Debit.from_arguments(DEBIT | {"happened_at": "2026-03-01T13:00:00+01:00"})

    assert message.happened_at == dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


@given(
    st.integers(1, 2**63 - 1),
    st.integers(1, 1_000_000),
    st.none() | st.datetimes(timezones=st.just(dt.UTC)),
    st.none() | st.dictionaries(st.text("abc"), st.integers() | st.none(), max_size=5),
)
def test_a_message_comes_back_from_its_arguments_as_it_was(
    account_id, units, happened_at, metadata
):
    message = Debit(account_id, "clustering", "k", units, happened_at, metadata)

    assert Debit.from_arguments(message.arguments()) == message


@given(
    st.dictionaries(
        st.sampled_from(["account_id", "operation", "units", "key", "metadata", "x"]),
        st.none() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    )
)
def test_any_arguments_make_a_message_or_a_named_error(arguments):
    for message in MESSAGES.values():
        try:
            message.from_arguments(arguments)
        except InvalidMessage as error:
            assert error.field


def test_every_message_names_its_task_and_queue():
    assert {name: kind.QUEUE for name, kind in MESSAGES.items()} == {
        "credits.debit": "debits",
        "credits.debit_many": "debits",
        "credits.reverse": "debits",
        "credits.drain_inbox": "debits",
        "holds.capture": "debits",
        "holds.release": "debits",
        "holds.place": "credits",
        "credits.grant": "credits",
        "credits.seed_account": "credits",
        "trials.extend": "credits",
        "trials.restore": "credits",
        "dunning.method_changed": "credits",
        "stripe.receive": "stripe",
        "stripe.announce_checkout": "credits",
        "stripe.apply": "stripe",
        "bank.import_statement": "bank",
        "bank.announce_transfer": "bank",
        "bank.confirm_transfer": "bank",
        "bank.reject_transfer": "bank",
    }
    assert SeedAccount(5).arguments() == {"account_id": 5}


ANNOUNCE = {"account_id": 5, "plan_id": 2, "key": "announce:1"}
CONFIRM = {"transfer_id": 1, "version": 2, "invoice_id": 3, "user_id": 4}
REJECT = {"transfer_id": 1, "version": 2, "user_id": 4, "reason": "not theirs"}


@pytest.mark.parametrize(
    ("kind", "fields", "change", "field"),
    [
        pytest.param(AnnounceTransfer, ANNOUNCE, {"months": 0}, "months", id="no months"),
        pytest.param(AnnounceTransfer, ANNOUNCE, {"months": 13}, "months", id="13 months"),
        pytest.param(AnnounceTransfer, ANNOUNCE, {"plan_id": "2"}, "plan_id", id="a plan as text"),
        pytest.param(AnnounceTransfer, ANNOUNCE, {"key": "billing:x"}, "key", id="our own key"),
        pytest.param(ConfirmTransfer, CONFIRM, {"version": 0}, "version", id="version 0"),
        pytest.param(ConfirmTransfer, CONFIRM, {"user_id": None}, "user_id", id="nobody"),
        pytest.param(ConfirmTransfer, CONFIRM, {"invoice_id": 1.0}, "invoice_id", id="a float"),
        pytest.param(RejectTransfer, REJECT, {"reason": ""}, "reason", id="no reason"),
        pytest.param(ImportStatement, {"file_id": 1}, {"file_id": True}, "file_id", id="a truth"),
    ],
)
def test_a_message_about_transfers_with_a_field_out_of_bounds_names_the_field(
    kind, fields, change, field
):
    with pytest.raises(InvalidField) as caught:
        kind.from_arguments(fields | change)

    assert caught.value.field == field


FIELDS = st.one_of(
    st.sampled_from(
        [0, 1, 2**63 - 1, 2**63, 1_000_000, 1_000_001, True, 1.0, None, "", " a", "a "]
    ),
    st.sampled_from(["clustering", "billing:x", "a\n", "a\x1fb", "x" * 50, "x" * 51, "x" * 201]),
    st.integers(),
    st.text(max_size=3),
)


@given(FIELDS, FIELDS, FIELDS, FIELDS)
@example(1, "clustering", "debit:ai:1", 1)
@example(2**63 - 1, "x" * 50, "x" * 200, 1_000_000)
def test_a_debit_is_valid_exactly_if_each_of_its_fields_is(account_id, name, key, units):
    def is_valid(act):
        try:
            act()
        except InvalidField:
            return False
        return True

    def check_each_field():
        check.whole("account_id", account_id, low=1, high=check.MAX_ID)
        check.text("operation", name, longest=check.MAX_NAME_CHARACTERS)
        check.key("key", key)
        check.whole("units", units, low=1, high=check.MAX_UNITS)

    assert is_valid(lambda: Debit(account_id, name, key, units)) == is_valid(check_each_field)
