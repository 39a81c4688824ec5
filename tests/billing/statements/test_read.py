"""The entry point: entries that stay small, plain values for JSON, and holds by date."""

import json
import pickle
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.statements import errors
from billing.statements.canonical import Detail, Entry, Reference, Status
from billing.statements.packed import BLOCK, INLINE_DETAILS, packing_details, packing_entries
from billing.statements.plain import plain_entry, plain_statement
from billing.statements.read import hold_distant_dates, read_statements
from tests.billing.statements.writing import camt, entry, mt940, only, reasons

TEXT = st.none() | st.text(max_size=8)
DETAILS = st.builds(
    Detail,
    amount_minor=st.none() | st.integers(),
    currency=TEXT,
    end_to_end_id=TEXT,
    references=st.lists(
        st.builds(Reference, st.text(max_size=4), st.text(max_size=8)), max_size=2
    ).map(tuple),
    remittance=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    counterparty=TEXT,
)
ENTRIES = st.builds(
    Entry,
    position=st.text(max_size=8),
    amount_minor=st.integers(),
    currency=st.just("EUR"),
    is_credit=st.booleans(),
    status=st.none() | st.sampled_from(Status),
    is_reversal=st.booleans(),
    booking_date=st.none() | st.dates(),
    value_date=st.none() | st.dates(),
    bank_reference=TEXT,
    customer_reference=TEXT,
    type_code=TEXT,
    corrects=TEXT,
    note=TEXT,
    details=st.lists(DETAILS, min_size=1, max_size=3).map(tuple),
)


@given(entries=st.lists(ENTRIES, max_size=12))
def test_packed_entries_come_out_as_they_went_in(entries):
    packing = packing_entries()
    for item in entries:
        packing.add(item)

    packed = packing.finish()
    assert list(packed) == entries
    assert list(packed) == entries
    assert packed == entries


@settings(max_examples=10)
@given(data=st.data(), count=st.integers(BLOCK - 2, 2 * BLOCK + 2))
def test_any_entry_of_many_can_be_reached_by_its_place(data, count):
    template = data.draw(ENTRIES)
    packing = packing_entries()
    for number in range(count):
        packing.add(template._replace(amount_minor=number))
    packed = packing.finish()
    place = data.draw(st.integers(-count, count - 1))

    assert packed[place].amount_minor == place % count
    assert [item.amount_minor for item in packed[place : place + 3]] == list(range(count))[
        place : place + 3
    ]
    with pytest.raises(IndexError):
        packed[count]


def test_a_large_batch_stays_packed_inside_its_entry():
    details = packing_details()
    for number in range(INLINE_DETAILS + 1):
        details.add(Detail(number, "EUR"))
    batch = only(camt(entry())).entries[0]._replace(details=details.finish())
    packing = packing_entries()
    packing.add(batch)
    packing.add(batch._replace(details=(Detail(1, "EUR"),)))

    first, second = packing.finish()
    assert len(first.details) == INLINE_DETAILS + 1
    assert second.details == (Detail(1, "EUR"),)


def test_the_plain_form_is_json_and_misses_nothing():
    statement = only(camt(entry(), closing="10.00"))

    text = json.dumps([plain_statement(statement), *map(plain_entry, statement.entries)])
    head, line = json.loads(text)
    assert (head["outcome"], head["opening"]["amount_minor"], head["currency_exponent"]) == (
        "read",
        0,
        2,
    )
    assert (line["amount_minor"], line["booking_date"], line["status"]) == (
        1000,
        "2026-01-31",
        "BOOK",
    )


@given(text=st.text())
@settings(max_examples=200)
def test_any_text_is_read_or_refused(text):
    try:
        read_statements(text.encode("utf-8", "surrogatepass"))
    except errors.StatementRefused as refusal:
        assert str(refusal).isascii()


@given(
    cut=st.integers(0, 400),
    noise=st.binary(max_size=6),
    base=st.sampled_from([camt(entry(), closing="10.00"), mt940(":61:2601310131C10,00NTRFNONREF")]),
)
def test_a_damaged_file_is_read_held_or_refused(cut, noise, base):
    data = base.encode()
    at = min(cut, len(data))

    try:
        statements = read_statements(data[:at] + noise + data[at + len(noise) :])
    except errors.StatementRefused:
        return
    assert all(statement.entries is not None for statement in statements)


@pytest.mark.parametrize(
    "today", [date(2026, 1, 31), date(2026, 2, 5), date(2027, 3, 1), date(2026, 1, 25)]
)
def test_entries_near_today_are_not_held(today):
    assert hold_distant_dates(only(camt(entry(), closing="10.00")), today=today).is_held is False


@pytest.mark.parametrize("today", [date(2026, 1, 20), date(2027, 4, 1)])
def test_entries_far_from_today_hold(today):
    held = hold_distant_dates(only(camt(entry(), closing="10.00")), today=today)

    assert reasons(held) == ["date_out_of_range"]


def test_a_refusal_survives_pickling_with_its_facts():
    refusal = errors.BadAmount("line 3", text="1.000,50")

    again = pickle.loads(pickle.dumps(refusal))

    assert (type(again), again.position, again.facts, str(again)) == (
        errors.BadAmount,
        "line 3",
        refusal.facts,
        "'1.000,50' is not an amount (line 3)",
    )
