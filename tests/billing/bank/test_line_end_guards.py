"""Guards on the ends of lines, each alone: format, currency, held statements, rewordings."""

import datetime as dt

import pytest
import sqlalchemy as sa

from billing.bank import line_ends
from billing.bank.line_ends import Pair, pair_off
from models.bank import BankLine
from models.transfers import Transfer
from tests.billing.bank.intake.test_format_switch import new, old, received, switch
from tests.billing.bank.intake.test_overlaps import matched
from tests.billing.bank.story import Bank, line, statement
from tests.billing.statements.writing import camt, entry
from worker.database import transaction

IBAN = "DE09120300000000202052"


def formats_of_transfers():
    """The format of each transfer's line, in the order of amounts."""
    with transaction() as ctx:
        rows = sa.select(BankLine.format).join(Transfer, Transfer.line == BankLine.key)
        return list(ctx.session.scalars(rows.order_by(Transfer.amount_minor)))


def test_the_new_format_counts_from_the_day_of_the_switch_on(shop):
    shop.bank.register(IBAN, source_format="MT940")
    switch(shop.bank, number=IBAN)

    days = (1, 2)
    received(shop, *[old(day, f"{day},00", number=IBAN) for day in days])
    received(shop, *[new(day, f"{day}.00", iban=IBAN) for day in days])

    assert formats_of_transfers() == ["MT940", "camt.053"]


def test_of_two_switches_the_later_one_counts_from_its_day_on(shop):
    shop.bank.register(IBAN, source_format="OFX")
    switch(shop.bank, to="MT940", day=dt.date(2026, 2, 1), number=IBAN)
    switch(shop.bank, to="camt.053", day=dt.date(2026, 2, 2), number=IBAN)

    received(shop, *[old(day, f"{day},00", number=IBAN) for day in (1, 2)])
    received(shop, *[new(day, f"{day}.00", iban=IBAN) for day in (1, 2)])

    assert formats_of_transfers() == ["MT940", "camt.053"]


def test_money_belongs_to_the_customer_whose_virtual_iban_has_its_currency(shop):
    shop.open_account("acme", status="trial")
    shop.bank.register(IBAN, currency="USD", customer=shop.ids["acme"])
    shop.bank.register(IBAN, currency="EUR")

    received(shop, statement(line("5.00", text="thanks"), iban=IBAN))

    with transaction() as ctx:
        assert ctx.session.scalars(sa.select(Transfer.customer_id)).all() == [None]


@pytest.mark.parametrize(
    ("registered", "content"),
    [
        pytest.param({"source_format": "MT940"}, statement(line("1.00")), id="in another format"),
        pytest.param(
            {}, camt(entry(status="<Sts>PDNG</Sts>"), closing="0.00").encode(), id="pending"
        ),
        pytest.param({"currency": "USD"}, statement(line("1.00")), id="of another currency"),
    ],
)
def test_a_line_that_comes_while_others_are_explained_is_no_transfer_either(
    database, monkeypatch, registered, content
):
    bank = Bank()
    bank.register(**registered)
    bank.receive(content)
    monkeypatch.setattr(line_ends, "_EXPLAIN", "SELECT 1")

    with transaction() as ctx:
        assert line_ends.split_lines(ctx.at(bank.now)) == 0


def test_a_line_is_not_held_while_one_statement_that_lists_it_is_not(bank):
    one = line("10.00", bank_reference="B1", day="2026-02-01")
    bank.receive(statement(one), statement(one, number=2, closing=900))
    assert [bool(reasons) for reasons in bank.holds()] == [False, True]

    assert matched(bank) == {("transfer", ""): 1}


def test_registering_the_account_again_keeps_the_end_of_what_was_looked_at(bank):
    bank.receive(statement(line("3.00", mark="DBIT", text="rent")))
    before = matched(bank)

    bank.register()
    bank.register(currency="USD")

    assert matched(bank) == before == {("pays_nothing", "own_payment"): 1}


def words(text, amount="89.00", **more):
    return line(amount, text=text, iban=None, day="2026-02-01", **more)


OVERLAPPING = {"number": 2, "opening": 0, "day": "2026-02-01"}
ALIKE = (words("Invoice 1"), words("Invoice 1 SEPA"))
BACK = line("89.00", text="rent", mark="DBIT", day="2026-02-01")


@pytest.mark.parametrize("order", [1, -1])
def test_the_next_statement_of_the_day_may_have_a_payment_in_more_words(bank, order):
    first = statement(ALIKE[0])
    following = statement(ALIKE[1], number=2, opening=8900, day="2026-02-01")

    bank.receive(*[first, following][::order])

    assert matched(bank) == {("transfer", ""): 2}


@pytest.mark.parametrize("order", [1, -1])
def test_two_downloads_that_open_alike_overlap_though_one_closes_as_it_opened(bank, order):
    noon = statement(ALIKE[0], BACK)
    evening = statement(ALIKE[1], BACK, line("1.00"), number=2, day="2026-02-01")

    for download in [noon, evening][::order]:
        bank.receive(download)
        bank.release_all()
        ends = matched(bank)

    assert ends[("pays_nothing", "reworded")] == 1


@pytest.mark.parametrize(
    "again",
    [
        pytest.param([words("Invoice 1"), words("Invoice 1 SEPA")], id="both listed"),
        pytest.param([words("Invoice 1 SEPA", bank_reference="B2")], id="with a reference"),
    ],
)
def test_what_may_be_a_second_payment_within_one_import_is_one(bank, again):
    bank.receive(statement(words("Invoice 1")), statement(*again, **OVERLAPPING))
    bank.release_all()

    assert matched(bank) == {("transfer", ""): 2}


def test_lines_with_references_of_the_bank_are_two_payments_whatever_their_words(bank):
    for place, (text, reference) in enumerate(
        [("Invoice 1", "B1"), ("Invoice 1 SEPA", "B2"), ("Invoice 1 SEPA again", None)]
    ):
        one = words(text, bank_reference=reference)
        bank.receive(statement(one, **OVERLAPPING | {"number": place}))
        bank.release_all()
        ends = matched(bank)

    assert ends == {("transfer", ""): 3}


def wording(**more):
    names = ("counterparty", "counterparty_iban", "end_to_end_id", "transaction_id")
    empty = dict.fromkeys(names)
    return {**empty, "details": [], "references": [], "remittance": ["Invoice"], **more}


def pair(key, other, *, statement="s", words=None, other_words=None):
    return Pair(key, statement, other, words or wording(), other_words or wording(), True)


@pytest.mark.parametrize(
    ("pairs", "same"),
    [
        ([pair("a", "b"), pair("b", "c")], {"a": "b"}),
        ([pair("a", "b"), pair("c", "a")], {"a": "b"}),
        ([pair("a", "b"), pair("a", "c")], {"a": "b"}),
        ([pair("a", "o"), pair("b", "o")], {"a": "o"}),
        ([pair("a", "o"), pair("b", "o", statement="t")], {"a": "o", "b": "o"}),
    ],
    ids=[
        "a line that pays stands for no other",
        "a line that stands for another pays nothing",
        "a line stands for one",
        "two of a download are two",
        "one of each download",
    ],
)
def test_a_line_of_a_download_stands_for_at_most_one_of_another(pairs, same):
    assert pair_off(pairs) == same


@pytest.mark.parametrize(
    "more",
    [{name: "A"} for name in ("counterparty_iban", "end_to_end_id", "transaction_id")]
    + [{"details": [{}]}],
    ids=str,
)
def test_an_identifier_or_a_batch_tells_two_payments_apart(more):
    other = {name: "B" if value == "A" else [] for name, value in more.items()}

    assert pair_off([pair("a", "b", words=wording(**more), other_words=wording(**other))]) == {}


def test_a_missing_identifier_contradicts_nothing():
    assert pair_off([pair("a", "b", words=wording(transaction_id="A"))]) == {"a": "b"}
