"""Other libraries on the same files: if both read a file, the results must agree."""

import io
import warnings
from decimal import Decimal

import mt940
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.billing.statements.writing import mt940 as write_mt940
from tests.billing.statements.writing import ofx, only, reasons, stmttrn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the library is old
    import ofxparse

AMOUNTS = st.integers(1, 10**10)
MARKS = st.sampled_from(["C", "D", "RC", "RD"])


@settings(max_examples=40, deadline=None)
@given(lines=st.lists(st.tuples(MARKS, AMOUNTS), max_size=8))
def test_mt940_reads_the_same_sums(lines):
    fields = [
        f":61:2601310131{mark}{minor // 100},{minor % 100:02d}NTRFNONREF//B{minor}"
        for mark, minor in lines
    ]
    text = write_mt940(*fields)

    theirs = mt940.parse(text, options=mt940.Options.all())

    ours = only(text)
    amounts = [
        transaction.data["amount"].amount for transaction in theirs if "amount" in transaction.data
    ]
    assert [Decimal(read_entry.amount_minor) / 100 for read_entry in ours.entries] == amounts


@settings(max_examples=40, deadline=None)
@given(amounts=st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=8))
def test_ofxparse_reads_the_same_sums(amounts):
    rows = [
        stmttrn(f"{Decimal(minor) / 100:.2f}", fitid=f"F{number}")
        for number, minor in enumerate(amounts)
    ]
    text = ofx(*rows)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = ofxparse.OfxParser.parse(io.BytesIO(text.encode()))

    ours = only(text)
    assert [Decimal(read_entry.amount_minor) / 100 for read_entry in ours.entries] == [
        transaction.amount for transaction in theirs.account.statement.transactions
    ]


@pytest.mark.parametrize(
    ("field", "theirs"), [("1.000,50", "1"), ("12345678901234567890,00", "123456789012345")]
)
def test_where_mt940_reads_a_part_of_an_amount_we_read_none(field, theirs):
    text = write_mt940(f":61:2601310131C{field}NTRFNONREF")

    [transaction] = mt940.parse(text, options=mt940.Options.all())

    assert str(transaction.data["amount"].amount) == theirs
    assert reasons(only(text)) == ["row_not_read", "balance_mismatch"]
