"""Guards of every reader, each alone: sums, limits, amounts, references, archives, formats."""

import gzip
import io
import zipfile
from datetime import date, timedelta

import pytest

from billing.currencies import NO_CURRENCY
from billing.statements import archives, draft
from billing.statements.canonical import Account, Balance, Detail, Entry, Family, HoldReason, Status
from billing.statements.currency import with_currency
from billing.statements.dates import compact_day, separated_day
from billing.statements.draft import Budget, Draft
from billing.statements.errors import (
    AmountTooLarge,
    AmountTooPrecise,
    ArchiveRefused,
    BadAmount,
    BadCurrency,
    BadLine,
    TooManyEntries,
    TooManyStatements,
    UndecodableText,
    UnknownArchive,
    UnknownFormat,
)
from billing.statements.limits import MAX_HOLDS_OF_A_KIND, MAX_NOTES
from billing.statements.money import MAX_MINOR, currency_exponent, signed_minor, to_minor
from billing.statements.packed import BLOCK, INLINE_DETAILS, packing_entries
from billing.statements.plain import plain_entry, plain_statement, shown_amount
from billing.statements.read import hold_distant_dates, read_statements
from billing.statements.references import (
    Scheme,
    check_reference,
    creditor_reference,
    find_references,
    fits_account,
    is_qr_iban,
    is_usable_bank_id,
    is_valid_fi,
    without_zeros,
)
from billing.statements.return_codes import is_return_code
from billing.statements.source import Kind, detect, guess_encoding, open_source
from tests.billing.statements.writing import camt, entry, mt940, ofx, only, reasons, stmttrn

DAY = date(2026, 1, 31)


def made(minor=1000, **more):
    """An entry of 10.00 with one detail."""
    values = {
        "position": "line 1",
        "amount_minor": minor,
        "currency": "EUR",
        "is_credit": minor >= 0,
        "status": Status.BOOKED,
        "is_reversal": False,
        "booking_date": DAY,
        "value_date": None,
        "details": (Detail(minor, "EUR"),),
        **dict.fromkeys(("bank_reference", "customer_reference", "type_code", "corrects", "note")),
    }
    return Entry(**values | more)


def drafted(*entries, **more):
    values = {"format": "x", "family": Family.STATEMENT, "budget": Budget(), "currency": "EUR"}
    statement = Draft(**values | more)
    for one in entries:
        statement.add(one)
    return statement


def balance(minor, currency="EUR"):
    return Balance("OPBD", minor, currency, DAY)


# Sums ---------------------------------------------------------------------------------------------


def test_credits_and_debits_are_summed_apart_and_by_currency():
    entries = [made(1000), made(-300), made(-200), made(0), made(700, currency="USD")]

    totals = drafted(*entries).finish().totals

    assert totals == (("EUR", 2, 1000, 2, 500), ("USD", 1, 700, 0, 0))


@pytest.mark.parametrize(
    ("status", "booked"),
    [(Status.BOOKED, 1000), (None, 1000), (Status.PENDING, 0), (Status.EXPECTED, 0)],
)
def test_only_booked_entries_and_those_without_a_status_count_as_booked(status, booked):
    assert drafted(made(status=status)).finish().booked_minor == booked


def test_the_first_and_the_last_day_are_those_of_booking_or_else_of_value():
    early, late = DAY - timedelta(days=2), DAY + timedelta(days=2)
    entries = [made(), made(booking_date=None, value_date=early), made(booking_date=late)]

    statement = drafted(*entries, made(value_date=late + timedelta(days=9))).finish()

    assert (statement.first_day, statement.last_day) == (early, late)
    assert drafted(made(booking_date=None)).finish().first_day is None


@pytest.mark.parametrize(
    ("opening", "closing", "needs", "held", "difference"),
    [
        (0, 1000, True, [], None),
        (0, 1001, True, ["balance_mismatch"], -1),
        (1, 1000, True, ["balance_mismatch"], 1),
        (None, 1000, True, ["balance_missing"], None),
        (0, None, True, ["balance_missing"], None),
        (None, None, False, [], None),
        (0, None, False, [], None),
    ],
)
def test_opening_and_booked_entries_must_give_the_closing_balance(
    opening, closing, needs, held, difference
):
    ends = [None if minor is None else balance(minor) for minor in (opening, closing)]

    statement = drafted(made(), opening=ends[0], closing=ends[1], needs_balances=needs).finish()

    assert reasons(statement) == held
    assert [hold.difference_minor for hold in statement.holds] == [difference] * len(held)
    assert len(statement.checks) == (None not in (opening, closing))


def test_the_missing_balance_is_named():
    for name, more in (("opening", {"closing": balance(0)}), ("closing", {"opening": balance(0)})):
        [hold] = drafted(needs_balances=True, **more).finish().holds
        assert f"the {name} balance is missing" in hold.says


def test_an_unreadable_balance_is_not_missing_too():
    statement = drafted(needs_balances=True)
    statement.hold(HoldReason.BALANCE_UNREADABLE, "x")

    assert reasons(statement.finish()) == ["balance_unreadable"]


@pytest.mark.parametrize(
    ("entry_currency", "balance_currency", "held"),
    [
        ("EUR", "EUR", []),
        ("USD", "EUR", ["currency_mismatch"]),
        ("EUR", "USD", ["currency_mismatch"]),
        ("ZZZ", "EUR", ["currency_unknown", "currency_mismatch"]),
    ],
)
def test_every_amount_must_be_in_the_currency_of_the_account(
    entry_currency, balance_currency, held
):
    ends = {"opening": balance(0, balance_currency), "closing": balance(1000, balance_currency)}

    assert reasons(drafted(made(currency=entry_currency), **ends).finish()) == held


def test_the_currency_is_that_of_the_account_or_of_a_balance_or_of_an_entry():
    def currency(**more):
        return drafted(made(currency="CHF"), currency=None, **more).finish().currency

    account = Account(currency="EUR")
    assert currency(account=account, opening=balance(0, "USD")) == "EUR"
    assert currency(opening=balance(0, "USD")) == "USD"
    assert currency(closing=balance(0, "GBP")) == "GBP"
    assert currency() == "CHF"


@pytest.mark.parametrize(("stated", "held"), [(5, []), (4, ["control_total"])])
def test_a_control_figure_that_differs_holds_with_the_difference(stated, held):
    statement = drafted()
    statement.check("sum", stated=stated, found=5)

    finished = statement.finish()
    assert reasons(finished) == held
    assert finished.checks[0].agrees is not bool(held)
    assert [hold.difference_minor for hold in finished.holds] == [1] * len(held)


@pytest.mark.parametrize(("needs_sums", "has_check"), [(True, True), (False, False)])
def test_an_entry_that_can_not_be_read_holds_where_a_sum_shows_it(needs_sums, has_check):
    statement = drafted()
    statement.skip(BadLine("line 1", field="x", text="y"), "line 1", needs_sums=needs_sums)
    if has_check:
        statement.check("sum", stated=1, found=1)

    assert reasons(statement.finish()) == ["row_not_read"]
    assert (statement.row_count, statement.entry_count) == (1, 0)


def test_the_first_entry_that_can_not_be_read_refuses_the_file_where_no_sum_shows_it():
    statement = drafted()
    for number in (1, 2):
        statement.skip(BadLine(f"line {number}", field="x", text="y"), "place")

    with pytest.raises(BadLine, match="line 1"):
        statement.finish()


def test_of_very_many_holds_and_notes_the_first_are_kept():
    statement = drafted()
    for number in range(MAX_HOLDS_OF_A_KIND + 3):
        statement.hold(HoldReason.TEXT_DOUBT, f"n {number}")
    for number in range(MAX_NOTES + 1):
        statement.note(f"n {number}")
    statement.hold(HoldReason.DATE_MISSING, "other")

    finished = statement.finish()
    assert len(finished.holds) == MAX_HOLDS_OF_A_KIND + 2
    assert finished.holds[-1].says == "3 more of this kind"
    assert len(finished.notes) == MAX_NOTES
    assert statement.has_hold(HoldReason.DATE_MISSING, HoldReason.TRUNCATED)
    assert not statement.has_hold(HoldReason.TRUNCATED)


@pytest.mark.parametrize(
    ("limit", "error", "spend"),
    [
        ("MAX_STATEMENTS", TooManyStatements, lambda budget: budget.spend_statement("x")),
        ("MAX_ENTRIES", TooManyEntries, lambda budget: budget.spend_entry("x", 0)),
        ("MAX_UNITS", TooManyEntries, lambda budget: budget.spend_entry("x", 0)),
    ],
)
def test_a_budget_lasts_for_just_as_many_as_its_limit(monkeypatch, limit, error, spend):
    monkeypatch.setattr(draft, limit, 2)
    budget = Budget()
    for _ in range(2):
        spend(budget)

    with pytest.raises(error):
        spend(budget)


def test_each_detail_of_an_entry_counts_in_the_budget(monkeypatch):
    monkeypatch.setattr(draft, "MAX_UNITS", 3)
    Budget().spend_entry("x", 2)

    with pytest.raises(TooManyEntries):
        Budget().spend_entry("x", 3)


# Amounts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "exponent", "minor"),
    [
        ("1", 2, 100), ("1.5", 2, 150), ("1.50000", 2, 150), (".5", 2, 50), ("5.", 2, 500),
        ("7", 0, 7), ("7.00", 0, 7), ("1.234", 3, 1234), ("1,234.5", 2, 123450),
        ("12,345,678.00", 2, 1234567800), ("0", 2, 0), ("007", 2, 700),
    ],
)  # fmt: skip
def test_an_amount_is_read_in_the_decimals_of_its_currency(text, exponent, minor):
    assert to_minor(text, exponent=exponent, position="x", decimal=".", group=",") == minor


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1.001", AmountTooPrecise), ("1.5001", AmountTooPrecise), ("1,23.00", BadAmount),
        ("1234,567.00", BadAmount), (",123.00", BadAmount), ("1.000.00", BadAmount),
        ("1.000000", BadAmount), ("", BadAmount), (".", BadAmount), ("-1", BadAmount),
        ("9" * 19, BadAmount), ("9" * 65, BadAmount), ("1\u0661", BadAmount),
    ],
)  # fmt: skip
def test_an_amount_that_is_not_clear_is_refused_by_name(text, error):
    with pytest.raises(error):
        to_minor(text, exponent=2, position="x", decimal=".", group=",")


def test_the_largest_amount_fits_and_one_more_does_not():
    assert to_minor(str(MAX_MINOR), exponent=0, position="x") == MAX_MINOR
    with pytest.raises(AmountTooLarge):
        to_minor(str(MAX_MINOR + 1), exponent=0, position="x")


@pytest.mark.parametrize(
    ("text", "minor"),
    [("-1.00", -100), ("1.00-", -100), ("+1.00", 100), ("1.00+", 100), ("1.00", 100)],
)
def test_a_sign_may_stand_on_either_side(text, minor):
    assert signed_minor(text, exponent=2, position="x") == minor


@pytest.mark.parametrize("text", ["1]23", "1[234", "1 234", "1,234"])
def test_without_marks_of_thousands_none_is_read(text):
    with pytest.raises(BadAmount):
        to_minor(text, exponent=2, position="x")


@pytest.mark.parametrize("text", ["--1.00", "-1.00-", "+-1.00", "-"])
def test_two_signs_are_none(text):
    with pytest.raises(BadAmount):
        signed_minor(text, exponent=2, position="x")


def test_an_unknown_currency_has_two_decimals_and_a_unit_of_four_none():
    assert [currency_exponent(code, "x") for code in ("EUR", "JPY", "BHD", "ZZZ")] == [2, 0, 3, 2]
    for code in ("CLF", "eur", "EU", "EURO", ""):
        with pytest.raises(BadCurrency):
            currency_exponent(code, "x")


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [(5, "EUR", "0.05 EUR"), (-1234, "EUR", "-12.34 EUR"), (7, "JPY", "7 JPY"),
     (-7, "JPY", "-7 JPY"), (1, "BHD", "0.001 BHD"), (0, "EUR", "0.00 EUR"), (5, "ZZZ", "0.05 ZZZ")],
)  # fmt: skip
def test_an_amount_is_shown_in_the_decimals_of_its_currency(minor, currency, shown):
    assert shown_amount(minor, currency) == shown


def silent(text="10.00"):
    """A statement of one CSV row that names no currency."""
    rows = f"Date,Amount,Description,Balance\n2026-01-31,{text},x,{text}\n"
    return only(rows)


@pytest.mark.parametrize(("currency", "minor"), [("EUR", 1000), ("JPY", 10), ("BHD", 10000)])
def test_a_statement_without_a_currency_is_read_in_that_of_its_account(currency, minor):
    read = with_currency(silent(), currency)

    [only_entry] = read.entries
    assert (only_entry.amount_minor, only_entry.currency) == (minor, currency)
    assert only_entry.only_detail[:2] == (minor, currency)
    assert (read.closing.amount_minor, read.closing.currency) == (minor, currency)
    assert (read.opening.amount_minor, read.booked_minor) == (0, minor)
    assert read.totals == ((currency, 1, minor, 0, 0),)
    assert (read.currency, "currency_unknown" in reasons(read)) == (currency, False)
    assert currency in read.notes[-1]


def test_decimals_that_the_accounts_currency_does_not_have_are_refused():
    with pytest.raises(AmountTooPrecise):
        with_currency(silent("10.50"), "JPY")
    assert with_currency(silent("-10.00"), "JPY").booked_minor == -10


@pytest.mark.parametrize("count", [2, INLINE_DETAILS, INLINE_DETAILS + 1])
def test_every_share_of_a_batch_is_read_in_the_currency_of_the_account(count):
    shares = (Detail(1000, NO_CURRENCY),) * count
    batch = made(1000 * count, currency=NO_CURRENCY, details=shares)

    read = with_currency(drafted(batch, currency=NO_CURRENCY).finish(), "JPY")

    [entry] = read.entries
    assert [detail[:2] for detail in entry.details] == [(10, "JPY")] * count
    assert (entry.amount_minor, read.opening, read.closing) == (10 * count, None, None)


def test_a_share_without_an_amount_or_in_a_stated_currency_stays_as_it_is():
    shares = (Detail(None, NO_CURRENCY), Detail(500, "USD"))
    batch = made(currency=NO_CURRENCY, details=shares)

    [entry] = with_currency(drafted(batch, currency=NO_CURRENCY).finish(), "JPY").entries

    assert tuple(entry.details) == shares


# Days ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "is_held"),
    [((-400, 7), False), ((-401, 0), True), ((0, 8), True), ((0, 0), False)],
)
def test_days_over_400_ago_or_over_7_ahead_hold(days, is_held):
    today = date(2026, 1, 31)
    first, last = (today + timedelta(days=number) for number in days)
    statement = drafted(made(booking_date=first), made(booking_date=last)).finish()

    assert hold_distant_dates(statement, today=today).is_held is is_held
    assert not hold_distant_dates(drafted().finish(), today=today).is_held


@pytest.mark.parametrize(
    ("text", "order", "day"),
    [
        ("2026-01-31", "ymd", DAY), ("31.01.2026", "dmy", DAY), ("01/31/2026", "mdy", DAY),
        ("31.1.26", "dmy", DAY), ("31.01.2026.", "dmy", DAY), ("2026-01-31 12:00", "ymd", DAY),
        ("31.01.96", "dmy", date(1996, 1, 31)), ("31.01.2026", "mdy", None),
        ("2026-01-31", "dmy", None), ("001/31/2026", "mdy", None), ("031.01.2026", "dmy", None),
        ("2026-01-031", "ymd", None), ("026-01-31", "ymd", None), ("31.01.202", "dmy", None),
        ("31 01 2026", "dmy", None), ("31.01.2026 " + "x" * 90, "dmy", None),
    ],
)  # fmt: skip
def test_a_day_is_read_in_its_order_or_not_at_all(text, order, day):
    assert separated_day(text, order) == day


@pytest.mark.parametrize(
    ("text", "day"),
    [("20260131", DAY), ("20260131120000", DAY), ("20260131120000.000[-5:EST]", DAY),
     ("20260230", None), ("2026013", None), ("00000000", None), ("20260131" + " " * 60, None)],
)  # fmt: skip
def test_a_compact_day_may_have_a_time(text, day):
    assert compact_day(text) == day


# References ---------------------------------------------------------------------------------------


def test_a_reference_is_checked_by_its_own_digits():
    assert creditor_reference(1) == "RF740000000001"
    assert creditor_reference(9_999_999_999).endswith("9999999999")
    with pytest.raises(AssertionError):
        creditor_reference(10_000_000_000)
    assert without_zeros("RF740000000001") == "RF741"
    assert without_zeros("RF000000000010") == "RF0010"


@pytest.mark.parametrize(
    ("digits", "is_valid"),
    [("1232", True), ("1233", False), ("123", False), ("1" * 21, False), ("13", False),
     ("0000", True), ("12325", False)],
)  # fmt: skip
def test_a_finnish_reference_has_4_to_20_digits_and_its_check_digit(digits, is_valid):
    assert is_valid_fi(digits) is is_valid


@pytest.mark.parametrize(
    ("iban", "is_qr"),
    [("CH4430000000000000000", True), ("CH4431999000000000000", True),
     ("CH4429999000000000000", False), ("CH4432000000000000000", False),
     ("LI4430500000000000000", True), ("DE4430500000000000000", False),
     ("CH44A0500000000000000", False)],
)  # fmt: skip
def test_a_qr_iban_is_swiss_and_of_an_institution_from_30000_to_31999(iban, is_qr):
    assert is_qr_iban(iban) is is_qr


def test_a_reference_fits_the_account_that_takes_its_kind():
    qr_iban, plain = "CH4430000000000000000", "CH9300762011623852957"
    qrr = check_reference("210000000003139471430009017")
    rf = check_reference("RF18539007547034")
    fi = check_reference("1232", Scheme.FI)

    assert [fits_account(each, qr_iban) for each in (qrr, rf, fi)] == [True, False, True]
    assert [fits_account(each, plain) for each in (qrr, rf, fi)] == [False, True, True]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pay RF18 5390 0754 7034 now", [("RF18539007547034", True)]),
        ("RF18 5390 0754 7034 THANKS", [("RF18539007547034", True)]),
        ("XRF18539007547034", []),
        ("RF19 5390 0754 7034", [("RF19539007547034", False)]),
        ("+++010/8068/17183+++", [("010806817183", True)]),
        ("***010/8068/17183***", [("010806817183", True)]),
        ("010/8068/17183", []),
        ("21 00000 00003 13947 14300 09017", [("210000000003139471430009017", True)]),
        ("1210000000003139471430009017", []),
    ],
)
def test_references_are_found_in_free_text(text, found):
    assert [(each.value, each.is_valid) for each in find_references(text)] == found


def test_of_two_kinds_that_fit_the_valid_one_counts_and_else_the_first():
    assert check_reference("010806817183", Scheme.OGM, Scheme.FI).scheme is Scheme.OGM
    assert check_reference("000000012344", Scheme.OGM, Scheme.FI).scheme is Scheme.FI
    neither = check_reference("000000012345", Scheme.OGM, Scheme.FI)
    assert (neither.scheme, neither.is_valid) == (Scheme.OGM, False)
    assert check_reference("nothing") is None


@pytest.mark.parametrize(
    ("text", "is_usable"),
    [("B1", True), ("NONREF", False), ("0000", False), ("1000", False), ("1001", True),
     ("10", False), ("2000", True), (None, False), ("  ", False), ("11", False)],
)  # fmt: skip
def test_an_identifier_that_tells_nothing_apart_is_none(text, is_usable):
    assert is_usable_bank_id(text) is is_usable


@pytest.mark.parametrize(
    ("code", "of", "is_return"),
    [
        ("NTRF+109", "MT940", True), ("109+NTRF", "MT940", False), ("109", "MT940", False),
        ("NRTI", "MT940", True), ("SRTI", "CSV", True), ("FRTI", "MT940", True),
        ("PMNT-RDDT-PRDD", "camt.053", True), ("pmnt-rddt-prdd", "camt.053", True),
        ("NRTI", "BAI2", False), ("252", "BAI2", True), ("252", "MT940", False),
        ("694", "BAI2", True), ("251", "BAI2", False), ("NRTIX", "MT940", False),
    ],
)  # fmt: skip
def test_a_return_code_counts_in_the_format_that_defines_it(code, of, is_return):
    assert is_return_code(code, of=of) is is_return


# Packed entries and their plain form --------------------------------------------------------------


@pytest.mark.parametrize(
    ("details", "agrees"),
    [
        ((Detail(600, "EUR"), Detail(400, "EUR")), True),
        ((Detail(600, "EUR"), Detail(300, "EUR")), False),
        ((Detail(600, "EUR"), Detail(400, "USD")), False),
        ((Detail(600, "EUR"), Detail(None, None)), False),
        ((Detail(1000, "EUR"),), True),
        ((Detail(999, "EUR"),), False),
        ((Detail(10, "EUR"),) * 100, True),
        ((Detail(10, "EUR"),) * 101, False),
    ],
    ids=range(8),
)
def test_a_split_agrees_if_the_details_add_up_in_the_entrys_currency(details, agrees):
    packing = packing_entries()
    packing.add(made(details=details))

    [unpacked] = packing.finish()

    assert unpacked.split_agrees is agrees
    assert (unpacked.only_detail is None) is (len(details) > 1)
    assert len(unpacked.details) == len(details)


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_every_entry_is_reached_from_either_end(count):
    packing = packing_entries()
    large = made(details=(Detail(1, "EUR"),) * (INLINE_DETAILS + 1))
    packing.extend([made(number) for number in range(count)])
    packing.add(large)
    entries = packing.finish()

    assert len(entries) == count + 1
    assert [one.amount_minor for one in entries[:count]] == list(range(count))
    assert entries[-1].amount_minor == 1000
    for place in (count + 1, -count - 2):
        with pytest.raises(IndexError):
            entries[place]
    if count:
        assert (entries[0].amount_minor, entries[-2].amount_minor) == (0, count - 1)
        assert entries[-count - 1] == entries[0]


def test_packed_entries_are_equal_by_content_alone():
    one, other = packing_entries(), packing_entries()
    one.add(made(1))
    other.add(made(2))
    packed = one.finish()

    assert packed == [next(iter(packed))]
    assert packed != other.finish()
    assert packed != []
    assert packed != 5


def test_the_plain_form_of_an_entry_has_the_fields_of_its_only_detail():
    packing = packing_entries()
    detail = Detail(1000, "EUR", bank_reference="D1", type_code="T", note="n", remittance=("x",))
    packing.add(made(details=(detail,), bank_reference="B1", note="of the entry"))
    packing.add(made(details=(detail, Detail(0, "EUR"))))

    single, batch = map(plain_entry, packing.finish())

    assert (single["bank_reference"], single["detail_bank_reference"]) == ("B1", "D1")
    assert (single["note"], single["detail_note"]) == ("of the entry", "n")
    assert (single["detail_type_code"], single["detail_amount_minor"]) == ("T", 1000)
    assert (single["remittance"], single["details"]) == (["x"], [])
    assert (single["booking_date"], single["value_date"], single["status"]) == (
        "2026-01-31",
        None,
        "BOOK",
    )
    assert len(batch["details"]) == 2
    assert (batch["remittance"], batch["detail_bank_reference"]) == ([], None)


def test_the_plain_form_of_a_statement_says_whether_it_is_held():
    good, held = only(camt(entry(), closing="10.00")), only(camt(entry(), closing="9.00"))

    plain = plain_statement(good)
    assert (plain["outcome"], plain_statement(held)["outcome"]) == ("read", "held")
    assert (plain["closing"]["amount_minor"], plain["closing"]["day"]) == (1000, "2026-01-31")
    assert (plain["currency_exponent"], plain["entry_count"]) == (2, 1)
    assert plain_statement(only("Date,Amount,Description\n"))["opening"] is None


# Archives and formats -----------------------------------------------------------------------------


def zipped(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


STATEMENT = camt(entry(), closing="10.00").encode()


def test_what_an_operating_system_adds_to_an_archive_is_no_file_of_it():
    members = {"__MACOSX/._a.xml": b"PK\x03\x04", "a/.DS_Store": b"PK\x03\x04", "d/": b""}

    [read] = read_statements(zipped(**{"a.xml": STATEMENT} | members))

    assert read.notes == ()
    with pytest.raises(ArchiveRefused, match="it is empty"):
        read_statements(zipped(**members))


def test_an_encrypted_member_is_refused_before_any_other_is_read():
    data = bytearray(zipped(a=b"%PDF-1.7", b=STATEMENT))
    place = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1) + 8
    data[place] |= 1

    with pytest.raises(ArchiveRefused, match="encrypted") as refusal:
        read_statements(bytes(data))

    assert refusal.value.facts["reason"] == "encrypted"


@pytest.mark.parametrize("name", ["/a", "../a", "a/../../b", "C:/a", "a\\..\\b"])
def test_a_member_that_leads_out_of_the_archive_is_refused(name):
    with pytest.raises(ArchiveRefused, match="leads out"):
        read_statements(zipped(**{name: STATEMENT}))
    assert read_statements(zipped(**{"a..b/c:d": STATEMENT}))


def test_the_size_of_an_archive_is_that_of_all_its_members_stated_and_unpacked(monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 2 * len(STATEMENT))
    assert len(read_statements(zipped(a=STATEMENT, b=STATEMENT))) == 2

    with pytest.raises(ArchiveRefused, match="bytes unpacked") as refusal:
        read_statements(zipped(a=STATEMENT, b=STATEMENT, c=b"x"))

    assert refusal.value.position == ""


def test_just_as_many_members_as_the_limit_are_read(monkeypatch):
    monkeypatch.setattr(archives, "MAX_ARCHIVE_MEMBERS", 2)

    assert len(read_statements(zipped(a=STATEMENT, b=STATEMENT))) == 2
    with pytest.raises(ArchiveRefused, match="more than 2 files"):
        read_statements(zipped(a=STATEMENT, b=STATEMENT, c=STATEMENT))


def test_an_unpacked_file_of_just_the_limit_is_read(monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", len(STATEMENT))

    assert len(read_statements(gzip.compress(STATEMENT))) == 1
    with pytest.raises(ArchiveRefused):
        read_statements(gzip.compress(STATEMENT + b" "))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (STATEMENT, Kind.CAMT), (b"\n \t" + STATEMENT, Kind.CAMT),
        (b"\xef\xbb\xbf" + STATEMENT, Kind.CAMT), (STATEMENT.decode().encode("utf-16"), Kind.CAMT),
        (mt940().encode(), Kind.MT940), (b"{1:F01}{4:\r\n:20:X", Kind.MT940),
        (b"\x01" + mt940().encode(), Kind.MT940), (ofx(stmttrn()).encode(), Kind.OFX),
        (b'<?xml version="1.0"?><?OFX OFXHEADER="200"?><OFX>', Kind.OFX),
        (b"01,BANK,US,260131,0900,1,,,2/", Kind.BAI2), (b"01,a,b,c,d", Kind.CSV),
        (b"Date,Amount\n", Kind.CSV), (b"x :20: y", Kind.CSV), (b"PK\x05\x06", Kind.ZIP),
        (b"\x1f\x8b", Kind.GZIP),
    ],
)  # fmt: skip
def test_the_first_bytes_say_the_format(head, kind):
    assert detect(open_source(head)) is kind


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (b"%PDF-1.7", UnknownFormat), (b"\x89PNG", UnknownFormat), (b"BZh9", UnknownArchive),
        (b"Rar!", UnknownArchive), (b"PK\x03\x04 xl/workbook", UnknownFormat),
        (b"\0" * 257 + b"ustar", UnknownArchive), (b"<HTML>", UnknownFormat),
        (b"<svg:svg>", UnknownFormat), (b"<!-- x --><rss>", UnknownFormat),
    ],
)  # fmt: skip
def test_a_document_or_another_archive_is_refused(head, error):
    with pytest.raises(error):
        detect(open_source(head))


@pytest.mark.parametrize(
    ("data", "declared", "expected"),
    [
        ("Müller".encode(), None, ("utf-8", False)),
        ("Müller".encode("cp1252"), None, ("cp1252", False)),
        ("Müller".encode("utf-16-le"), None, ("utf-16-le", False)),
        ("Müller".encode("utf-16-be"), None, ("utf-16-be", False)),
        ("Müller".encode("utf-16"), None, ("utf-16", False)),
        ("Müller".encode("utf-8-sig"), None, ("utf-8-sig", False)),
        ("Kraków".encode("cp1250"), "cp1250", ("cp1250", False)),
        ("Kraków".encode(), "cp1250", ("utf-8", False)),
        (b"\x81 M\x81ller", None, ("cp437", True)),
        (b"A", None, ("utf-8", False)),
    ],
)
def test_the_encoding_is_the_first_that_decodes(data, declared, expected):
    assert guess_encoding(open_source(data), declared=declared) == expected


@pytest.mark.parametrize("data", [b"\xff\xfeA", b"\xef\xbb\xbf\xff"])
def test_a_text_that_its_own_mark_does_not_decode_is_refused(data):
    with pytest.raises(UndecodableText):
        guess_encoding(open_source(data))
