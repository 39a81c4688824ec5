"""Downloads that overlap are no gap and no second payment where they agree."""

import datetime as dt
import itertools
import json

import pytest
from click.testing import CliRunner

from billing.bank import line_ends
from billing.bank.line_ends import Pair, pair_off
from cli.main import main
from tests.billing.bank.story import Bank, line, statement
from tests.billing.statements.writing import OWN_IBAN
from worker.database import transaction

FIRST = dt.date(2026, 2, 1)


def lines(first, last, *, text="day"):
    """A credit for each of these days: its number in euro."""
    return [
        line(f"{day}.00", text=f"{text} {day}", day=FIRST + dt.timedelta(days=day - 1))
        for day in range(first, last + 1)
    ]


def download(first, last, *, listed=None, **more):
    """A download of these days of an account that opened at 0."""
    opening = sum(range(1, first)) * 100
    named = {"number": first * 100 + last, "day": FIRST + dt.timedelta(days=last - 1)} | more
    return statement(*(listed or lines(first, last)), **{"opening": opening} | named)


def matched(bank):
    with transaction() as ctx:
        while line_ends.split_lines(ctx.at(bank.now)):
            pass
    with transaction() as ctx:
        return {
            (one.end, one.why.partition(":")[0]): one.lines for one in line_ends.ends(ctx.session)
        }


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_1_to_15_then_10_to_20_then_18_to_25_are_one_chain_in_every_order(bank, order):
    files = [download(1, 15), download(10, 20), download(18, 25)]

    bank.receive(*[files[place] for place in order])

    assert bank.holds() == [[]] * 3
    assert len(bank.amounts()) == 25


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_two_overlapping_downloads_and_the_whole_month_are_one_chain(bank, order):
    files = [download(1, 15), download(10, 25), download(1, 25)]

    bank.receive(*[files[place] for place in order])

    assert bank.holds() == [[]] * 3


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("noon", [1, 0])
def test_noon_and_evening_of_one_day_under_one_name_are_no_correction(bank, order, noon):
    both = [line("5.00", text="morning"), line("7.00", text="afternoon")]
    files = [statement(*both[:noon]), statement(*both)]

    bank.receive(*files[::order])

    assert bank.holds() == [[], []]
    assert bank.amounts() == [500, 700]


def test_what_follows_overlapping_downloads_must_still_link(bank):
    bank.receive(download(1, 15), download(10, 20), download(22, 25))

    assert bank.holds() == [[], [], ["gap"]]


def test_an_overlap_that_lacks_a_line_of_the_other_is_a_gap(bank):
    listed = [one for place, one in enumerate(lines(10, 20)) if place != 2]

    bank.receive(download(1, 15), download(10, 20, listed=listed))

    assert bank.holds() == [[], ["gap"]]


def test_an_overlap_whose_amounts_cancel_each_other_is_no_shared_line(bank):
    back = line("9.00", text="back", mark="DBIT", day="2026-02-09")
    first = statement(*lines(8, 9), back, number=1, opening=0, day="2026-02-09")
    second = statement(
        lines(9, 9)[0], back, *lines(10, 10), number=2, opening=800, day="2026-02-10"
    )

    bank.receive(first, second)

    assert bank.holds() == [[], []]


def csv(*rows):
    head = "Date,Amount,Currency,Description\n"
    return (head + "".join(f"2026-02-{row}\n" for row in rows)).encode()


@pytest.fixture
def csv_bank(database):
    bank = Bank()
    bank.register(source_format="CSV")
    return bank


def paid(bank, *files):
    for file in files:
        bank.receive(file, account=OWN_IBAN)
        bank.release_all()
        ends = matched(bank)
    return ends


@pytest.mark.parametrize("order", [1, -1])
def test_one_more_word_in_the_text_of_a_csv_is_no_second_payment(csv_bank, order):
    january = csv("01,89.00,EUR,Invoice 1", "13,10.00,EUR,other")
    again = csv("01,89.00,EUR,Invoice 1 SEPA", "13,10.00,EUR,other", "20,5.00,EUR,new")

    ends = paid(csv_bank, *[january, again][::order])

    assert ends == {("transfer", ""): 3, ("pays_nothing", "reworded"): 1}


def test_one_more_word_within_one_import_is_no_second_payment(csv_bank):
    csv_bank.receive(csv("01,89.00,EUR,Invoice 1", "13,1.00,EUR,x"), account=OWN_IBAN)
    csv_bank.receive(csv("01,89.00,EUR,Invoice 1 SEPA", "13,1.00,EUR,x"), account=OWN_IBAN)
    csv_bank.release_all()

    assert matched(csv_bank) == {("transfer", ""): 2, ("pays_nothing", "reworded"): 1}


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(["01,89.00,EUR,Invoice 1", "01,89.00,EUR,Invoice 1 SEPA"], id="both listed"),
        pytest.param(["01,89.00,EUR,Invoice 2"], id="another word"),
        pytest.param(["02,89.00,EUR,Invoice 1 SEPA"], id="another day"),
        pytest.param(["01,88.00,EUR,Invoice 1 SEPA"], id="another amount"),
    ],
)
def test_what_may_be_a_second_payment_is_one(csv_bank, again):
    first = csv("01,89.00,EUR,Invoice 1", "13,10.00,EUR,other")

    ends = paid(csv_bank, first, csv(*again, "13,10.00,EUR,other"))

    assert ends == {("transfer", ""): 3}


def test_two_equal_lines_stand_for_two_reworded_ones_and_a_third_is_new(csv_bank):
    first = csv(*["01,4.00,EUR,coffee"] * 2, "13,10.00,EUR,other")
    again = csv(*["01,4.00,EUR,coffee shop"] * 3, "13,10.00,EUR,other")

    assert paid(csv_bank, first, again) == {
        ("transfer", ""): 4,
        ("pays_nothing", "reworded"): 2,
    }


def test_another_payer_is_never_a_rewording():
    def wording(**more):
        empty = dict.fromkeys(
            ("counterparty", "counterparty_iban", "end_to_end_id", "transaction_id")
        )
        return {**empty, "details": [], "references": [], "remittance": ["Invoice"], **more}

    def same(one, other):
        return pair_off([Pair("n", "a", "o", one, other, True)])

    assert same(wording(), wording(counterparty="Anna")) == {"n": "o"}
    assert same(wording(counterparty="Bernd"), wording(counterparty="Anna")) == {}
    assert same(wording(counterparty_iban="A"), wording(counterparty_iban="B")) == {}
    assert same(wording(remittance=[]), wording()) == {}


def test_an_account_that_was_forgotten_is_said_later(csv_bank, tmp_path):
    file = tmp_path / "bank.csv"
    file.write_bytes(csv("01,89.00,EUR,Invoice 1", "13,10.00,EUR,other"))
    billing("import", file)
    [stored] = listed()

    result = billing("reread", stored["id"], "--account", OWN_IBAN, "--json")

    assert json.loads(result.output)["result"]["statements"][0]["account"] == OWN_IBAN
    assert [row.account for row in csv_bank.statements()] == [OWN_IBAN]
    assert sorted(csv_bank.amounts()) == [1000, 8900]


def test_an_account_that_was_forgotten_is_said_by_importing_again(csv_bank, tmp_path):
    file = tmp_path / "bank.csv"
    file.write_bytes(csv("01,89.00,EUR,Invoice 1", "13,10.00,EUR,other"))
    billing("import", file)

    rehearsed = billing("import", file, "--account", f" {OWN_IBAN[:4]} {OWN_IBAN[4:]}", "--dry-run")
    assert rehearsed.exit_code == 0
    assert [row.account.partition("/")[0] for row in csv_bank.statements()] == ["unstated"]
    billing("import", file, "--account", f"{OWN_IBAN[:4]} {OWN_IBAN[4:]}")

    assert [row.account for row in csv_bank.statements()] == [OWN_IBAN]


def test_rereading_a_file_without_currency_keeps_the_lines_that_another_file_has_too(
    csv_bank, tmp_path
):
    head = "Date,Amount,Description\n2026-02-01,1.00,a\n2026-02-13,2.00,b\n"
    for name, more in (("one", ""), ("two", "2026-02-14,3.00,c\n")):
        (tmp_path / name).write_text(head + more)
        billing("import", tmp_path / name, "--account", "DE2")
    two, _ = listed()

    assert billing("reread", two["id"]).exit_code == 0

    assert csv_bank.amounts() == [100, 200, 300]
    assert len(csv_bank.statements()) == 2


def test_a_file_whose_lines_became_transfers_is_not_read_again(csv_bank, tmp_path):
    file = tmp_path / "bank.csv"
    file.write_bytes(csv("01,89.00,EUR,Invoice 1", "13,10.00,EUR,other"))
    billing("import", file)
    [stored], [row] = listed(), csv_bank.statements()
    csv_bank.register(row.account, source_format="CSV")
    csv_bank.release_all()
    assert matched(csv_bank) == {("transfer", ""): 2}

    refused = billing("reread", stored["id"], "--account", OWN_IBAN)

    assert refused.exit_code == 1
    assert "it has transfers already" in refused.output
    assert sorted(csv_bank.amounts()) == [1000, 8900]


def test_a_refused_file_is_read_again_and_one_that_was_read_is_not(bank, tmp_path):
    (tmp_path / "bad").write_bytes(b"%PDF-1.7")
    (tmp_path / "good").write_bytes(statement(line("1.00")))
    billing("import", tmp_path / "bad")
    billing("import", tmp_path / "good")
    good, bad = listed()

    again = billing("reread", bad["id"])
    refused = billing("reread", good["id"], "--account", "DE1")

    assert (again.exit_code, refused.exit_code) == (1, 1)
    assert "UnknownFormat" in again.output or "refused" in again.output
    assert "its statements name their account and currency" in refused.output


def billing(*arguments):
    return CliRunner().invoke(main, ["statements", *map(str, arguments)])


def listed():
    return json.loads(billing("files", "--json").output)["files"]
