"""Statements into the database: once, whole, in any order, and held where something does not fit."""

import datetime as dt
import io
import random

import pytest
import sqlalchemy as sa

from billing.bank.intake import files, held_statements, line_keys
from billing.bank.intake.accounts import BankAccountRefused
from billing.bank.intake.held_statements import UnknownStatement
from billing.bank.intake.line_keys import MAX_BATCH
from billing.statements.errors import AmountTooLarge, EmptyFile, FileTooLarge
from billing.statements.read import read_statements
from models.bank import BankLine, LineWording
from tests.billing.bank.story import Bank, line, statement, statements
from tests.billing.statements.writing import batch, camt, entry, mt940
from tests.billing.statements.writing import transaction as tx
from tests.conftest import empty_database
from worker.database import transaction


def test_the_same_file_twice_is_one_file_and_adds_nothing(bank):
    file = statement(line("10.00", text="one"))
    bank.receive(file)
    before = bank.dump()

    [again] = bank.receive(file)

    assert again.is_known
    assert bank.dump() == before
    with transaction() as ctx:
        assert files.receive(ctx.at(bank.now), io.BytesIO(file), name="other").is_repeat


def test_the_same_statement_in_another_file_adds_nothing(bank):
    file = statement(line("10.00", text="one"))
    bank.receive(file)
    before = bank.dump()

    [again] = bank.receive(file.replace(b"<GrpHdr>", b"<!-- sent again --><GrpHdr>"))

    assert again.is_known
    assert bank.dump() == before


def test_the_distance_of_a_statements_days_is_recorded_once(bank):
    file = statement(line("10.00", text="one"), day="2024-01-01")
    bank.receive(file)
    bank.now += dt.timedelta(days=3)

    bank.receive(file.replace(b"<GrpHdr>", b"<!-- sent again --><GrpHdr>"))

    assert bank.holds() == [["date_out_of_range"]]


def test_equal_lines_of_one_day_are_kept_apart(bank):
    bank.receive(statement(*[line("4.00", text="coffee")] * 3))

    assert bank.amounts() == [400, 400, 400]


def test_files_that_overlap_merge_as_multisets(bank):
    coffee = line("4.00", text="coffee", day="2026-02-01")
    bank.receive(statement(coffee, coffee))

    bank.receive(statement(coffee, coffee, coffee, line("1.00"), number=2, opening=0))

    assert bank.amounts() == [100, 400, 400, 400]


def test_lines_that_share_a_reference_of_the_bank_but_not_the_amount_are_two(bank):
    bank.receive(
        statement(line("1.00", bank_reference="B1"), line("2.00", bank_reference="B1")),
    )

    assert bank.amounts() == [100, 200]


@pytest.mark.parametrize("reference", ["NONREF", "1000000000000000", "00000", "NOTPROVIDED"])
def test_a_reference_that_tells_nothing_apart_is_no_key(bank, reference):
    bank.receive(
        statement(
            line("4.00", text="a", bank_reference=reference),
            line("4.00", text="b", bank_reference=reference),
        )
    )

    assert bank.amounts() == [400, 400]


def test_a_line_that_two_statements_word_differently_keeps_both_wordings(bank):
    bank.receive(statement(line("1.00", text="one", bank_reference="B1")))

    bank.receive(statement(line("1.00", text="other", bank_reference="B1")))

    assert bank.amounts() == [100]
    with transaction() as ctx:
        assert ctx.session.scalar(sa.select(sa.func.count()).select_from(LineWording)) == 2


def test_two_statements_of_one_name_with_other_entries_hold_each_other(bank):
    bank.receive(statement(line("1.00", text="one"), line("2.00", text="two")))

    bank.receive(statement(line("2.50", text="one"), line("0.50", text="two")))

    assert bank.holds() == [["restated"], ["restated"]]


def test_a_correction_under_the_same_id_holds_both(bank):
    bank.receive(statement(line("1.00")))

    bank.receive(statement(line("2.00")))

    assert all("corrected" in holds for holds in bank.holds())


def test_any_order_of_files_and_any_repetition_leave_the_same_rows(bank):
    made = statements(
        [line("10.00", text="a"), line("10.00", text="a")],
        [line("3.00", mark="DBIT")],
        [],
        [line("10.00", text="a", bank_reference="B9")],
    )
    made.append(statement(line("10.00", text="a", bank_reference="B9"), line("99.00"), number=9))
    bank.receive(*made)
    expected = bank.dump()

    for seed in range(5):
        empty_database()
        again = Bank()
        again.register()
        shuffled = random.Random(seed).choices(made, k=4) + random.Random(seed).sample(made, k=5)
        again.receive(*shuffled)
        assert again.dump() == expected


def test_a_statement_that_is_left_out_makes_one_gap_until_it_comes(bank):
    made = statements(*[[line(f"{day}.00")] for day in range(1, 8)])
    bank.receive(*made[:3], *made[4:])
    assert bank.holds() == [[], [], [], ["gap"], [], []]

    bank.receive(made[3])

    assert bank.holds() == [[]] * 7


def test_a_statement_that_does_not_add_up_is_held_with_the_exact_difference(bank):
    bank.receive(statement(line("10.00"), closing=900))

    [row] = bank.statements()
    assert row.is_held
    assert [(h["reason"], h["difference_minor"]) for h in row.holds] == [("balance_mismatch", 100)]


def test_a_statement_of_an_account_that_is_not_ours_is_held_until_it_is_registered(database):
    bank = Bank()
    bank.receive(statement(line("10.00")))
    assert bank.holds() == [["account_unknown"]]

    bank.register()

    assert bank.holds() == [[]]


def test_a_statement_in_another_currency_than_registered_is_held(database):
    bank = Bank()
    bank.register(currency="CHF")

    bank.receive(statement(line("10.00")))

    assert bank.holds() == [["account_currency"]]


def test_an_account_recognises_money_from_one_format_for_ever(bank):
    with pytest.raises(BankAccountRefused, match="format camt"):
        bank.register(source_format="MT940")


def test_the_date_of_an_old_statement_holds_it(bank):
    bank.receive(statement(line("10.00", day="2020-01-01")))

    assert bank.holds() == [["date_out_of_range"]]


def test_a_line_in_two_statements_that_follow_each_other_goes_to_review(bank):
    fee = line("1.00", text="fee", day="2026-02-01")

    bank.receive(statement(fee, number=1), statement(fee, number=2, opening=100))

    assert bank.holds() == [["line_shared"], ["line_shared"]]


def test_a_held_statement_can_be_released_with_a_reason(bank):
    bank.receive(statement(line("10.00"), closing=900))
    [row] = bank.statements()

    with transaction() as ctx:
        held_statements.release(
            ctx.by("operator:ann"), str(row.digest)[:8], because="bank confirmed"
        )
    bank.receive(statement(line("10.00"), number=2, opening=900))

    first, _ = bank.statements()
    assert (first.is_held, first.released_by) == (False, "operator:ann")


@pytest.mark.parametrize("beginning", ["", "%%%%%%%%", "12345", "ffffffff"])
def test_a_statement_is_released_by_its_own_digest_alone(bank, beginning):
    bank.receive(statement(line("10.00"), closing=900))

    with transaction() as ctx, pytest.raises(UnknownStatement):
        held_statements.release(ctx.by("operator:ann"), beginning, because="guess")


def test_a_file_that_names_no_account_is_of_the_account_that_the_sender_states(bank):
    file = b"Date,Amount,Description\n2026-02-01,10.00,Invoice\n2026-02-13,-1.00,Fee\n"

    [stored] = bank.receive(file, account="DE02120300000000202051")

    assert stored.account == "DE02120300000000202051"


def test_a_file_that_names_no_account_is_an_account_of_its_own(bank):
    file = b"Date,Amount,Description\n2026-02-01,10.00,Invoice\n2026-02-13,-1.00,Fee\n"

    [stored] = bank.receive(file)

    assert stored.account.startswith("unstated/")


def test_text_that_the_database_can_not_hold_is_kept_without_it(bank):
    bank.receive(mt940(closing=":62F:C260131EUR0,00").encode().replace(b":20:", b":20:\0"))

    assert len(bank.statements()) == 1


def test_a_batch_too_large_to_keep_is_kept_as_one_amount_for_review(bank):
    many = batch(*[tx(amount="1.00")] * (MAX_BATCH + 1))
    total = f"{MAX_BATCH + 1}.00"

    bank.receive(camt(entry(total, details=many), closing=total).encode())

    assert bank.amounts() == [(MAX_BATCH + 1) * 100]
    with transaction() as ctx:
        [wording] = ctx.session.scalars(sa.select(LineWording))
    assert not wording.payload["split_agrees"]


def test_an_entry_that_is_only_pending_is_not_the_booked_one(bank):
    bank.receive(camt(entry("5.00", status="<Sts>PDNG</Sts>"), closing="0.00").encode())
    bank.receive(camt(entry("5.00"), closing="5.00").encode())

    with transaction() as ctx:
        assert set(ctx.session.scalars(sa.select(BankLine.status))) == {"PDNG", "BOOK"}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(b"", EmptyFile, id="nothing"),
        pytest.param(b"x" * 100_000_001, FileTooLarge, id="more than 100 MB"),
    ],
)
def test_a_file_that_is_no_statement_by_its_size_is_not_kept(database, content, error):
    with transaction() as ctx, pytest.raises(error):
        files.receive(ctx.at(Bank().now), io.BytesIO(content), name="x")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("a\nb\x00c", "a?b?c"),
        ("C:\\bank\\jan.xml", "jan.xml"),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_files_name_is_kept_as_plain_text(name, kept):
    assert files.shown_name(name) == kept


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"bank_reference": "R" * 30_000}, id="a reference of 30,000 characters"),
        pytest.param({"text": "T" * 60_000}, id="a text of 60,000 characters"),
        pytest.param({"payer": "N" * 30_000}, id="a name of 30,000 characters"),
        pytest.param({"text": "'; DROP TABLE billing.statements; --"}, id="SQL"),
    ],
)
def test_a_long_or_hostile_text_is_kept_as_text(bank, changed):
    bank.receive(statement(line("1.00", **changed)))

    assert bank.amounts() == [100]


def test_an_account_number_of_any_length_is_told_apart(database):
    bank = Bank()
    long = "1" * 3_000
    for last in "23":
        file = mt940(":61:2601310131C10,00NTRFNONREF").replace("12030000/202051", long[:60] + last)
        bank.receive(file.encode())

    assert len({row.account for row in bank.statements()}) == 2


def test_sums_that_no_database_holds_are_refused(bank):
    huge = [line("1000000000000000.00", text=str(n)) for n in range(95)]

    with pytest.raises(AmountTooLarge):
        bank.receive(statement(*huge, closing=0))


def test_277_statements_in_any_order_have_one_gap_for_the_one_that_is_missing(bank):
    year = statements(*[[line(f"{day % 90 + 1}.00", text=f"day {day}")] for day in range(277)])
    random.Random(277).shuffle(year)
    missing = year.pop(100)
    bank.now += dt.timedelta(days=300)

    bank.receive(in_one_file(year))

    assert sum("gap" in holds for holds in bank.holds()) == 1
    bank.receive(missing)
    assert bank.holds() == [[]] * 277


def in_one_file(files):
    """The statements of many files in one."""
    head = files[0].partition(b"<Stmt>")[0]
    found = [file.partition(b"<Stmt>")[2].partition(b"</Stmt>")[0] for file in files]
    inner = b"".join(b"<Stmt>%s</Stmt>" % one for one in found)
    return b"%s%s</BkToCstmrStmt></Document>" % (head, inner)


def test_a_line_whose_cut_iban_was_stored_as_an_iban_keeps_its_key():
    text = mt940(":61:2601310131C10,00NTRFNONREF", ":86:166?20x?31PL6110901014000007121981287")
    [read] = read_statements(text.encode())
    [entry_now] = read.entries
    detail = entry_now.only_detail
    as_before = detail._replace(counterparty_iban=detail.counterparty_account)
    entry_before = entry_now._replace(details=(as_before._replace(counterparty_account=None),))

    assert line_keys._words(entry_now, ()) == line_keys._words(entry_before, ())
