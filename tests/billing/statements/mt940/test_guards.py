"""Guards of the MT940 reader, each alone: pages, marks, accounts, purposes and pivots."""

from datetime import date

import pytest

from billing.statements.dates import entry_day, short_year, swift_day
from billing.statements.errors import BadAmount
from billing.statements.mt940.fields import read_line
from billing.statements.mt940.marks import SWIFT
from billing.statements.mt940.purpose import read_ns, read_purpose
from billing.statements.read import read_statements
from tests.billing.statements.writing import PAYER_IBAN, mt940, only, reasons

CREDIT = ":61:2601310131C10,00NTRFNONREF//B1"


def pages(*numbers, opening="C260131EUR10,00"):
    """Two messages, the first closing with 10,00, with these page numbers."""
    first = mt940(CREDIT, closing=":62M:C260131EUR10,00").replace("1/1", f"1/{numbers[0]}")
    second = mt940(opening=f":60M:{opening}", closing=":62F:C260131EUR10,00")
    return (first + second.replace("1/1", f"1/{numbers[1]}")).encode()


@pytest.mark.parametrize(
    ("numbers", "is_held"),
    [(("1", "2"), False), (("1", "1"), True), (("2", "1"), True), (("A", "B"), False)],
)
def test_a_page_must_have_a_higher_number_than_the_one_before(numbers, is_held):
    _, second = read_statements(pages(*numbers))

    assert (reasons(second) == ["pages_out_of_order"]) is is_held


def test_a_page_that_opens_otherwise_is_held_with_the_difference():
    _, second = read_statements(pages("1", "2", opening="C260131EUR13,00"))

    [hold] = [hold for hold in second.holds if hold.reason.value == "pages_out_of_order"]
    assert hold.difference_minor == 300


@pytest.mark.parametrize("change", [(":28C:1/2", ":28C:2/2"), ("202051", "999999")])
def test_statements_of_another_number_or_account_are_no_pages_of_each_other(change):
    old, new = change
    first, second = pages("1", "2", opening="C260131EUR13,00").decode().split(":20:STMT")[1:]
    file = f":20:STMT{first.replace(old, new)}:20:STMT{second.replace(old, new, 1)}"
    if old == "202051":
        file = f":20:STMT{first}:20:STMT{second.replace(old, new)}"

    assert "pages_out_of_order" not in reasons(read_statements(file.encode())[1])


def test_whole_statements_that_do_not_follow_each_other_are_no_pages():
    second = mt940(opening=":60F:C260131EUR99,00", closing=":62F:C260131EUR99,00")

    assert not any(read.is_held for read in read_statements((mt940(CREDIT) + second).encode()))


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("12030000/202051", (None, "12030000/202051", "12030000")),
        ("202051", (None, "202051", None)),
        (PAYER_IBAN, (PAYER_IBAN, None, None)),
        (f"COBADEFF/{PAYER_IBAN}", (PAYER_IBAN, None, None)),
    ],
)
def test_the_account_is_an_iban_or_a_number_behind_its_bank(field, expected):
    account = only(mt940(CREDIT).replace("12030000/202051", field)).account

    assert (account.iban, account.other, account.bank) == expected


def test_head_and_balances_give_number_page_days_and_currency():
    read = only(mt940(CREDIT).replace("1/1", "7/3"))

    assert (read.sequence, read.page, read.currency) == ("7", "3", "EUR")
    assert (read.from_date, read.to_date) == (date(2026, 1, 30), date(2026, 1, 31))
    assert (read.opening.kind, read.closing.kind) == ("60F", "62F")
    assert only(mt940(CREDIT).replace("1/1", "7")).page is None


@pytest.mark.parametrize(
    ("old", "second"),
    [
        (":60F:C260130EUR0,00", ":60F:C260130EUR5,00"),
        (":62F:C260131EUR10,00", ":62F:C260131EUR5,00"),
    ],
)
def test_a_second_balance_holds_and_the_first_counts(old, second):
    read = only(mt940(CREDIT).replace(old, f"{old}\r\n{second}"))

    assert "balance_ambiguous" in reasons(read)
    assert (read.opening.amount_minor, read.closing.amount_minor) == (0, 1000)


def test_a_debit_balance_is_negative():
    read = only(mt940(CREDIT, opening=":60F:D260130EUR4,00", closing=":62F:C260131EUR6,00"))

    assert (read.opening.amount_minor, read.is_held) == (-400, False)


def mt942(*fields):
    return (
        ":20:R\r\n:25:12030000/202051\r\n:28C:1/1\r\n:34F:EUR0,\r\n:13D:2601311200+0100\r\n"
        ":61:2601310131C10,00NTRFA\r\n:61:2601310131C5,00NTRFB\r\n:61:2601310131D3,00NTRFC\r\n"
        + "".join(f"{field}\r\n" for field in fields)
        + "-\r\n"
    )


@pytest.mark.parametrize(
    ("total", "is_held"),
    [
        (":90C:2EUR15,00", False),
        (":90C:1EUR15,00", True),
        (":90C:2EUR3,00", True),
        (":90D:1EUR3,00", False),
        (":90D:2EUR3,00", True),
        (":90D:1EUR15,00", True),
        (":90D:x", True),
    ],
)
def test_each_total_of_an_interim_report_is_of_its_own_side(total, is_held):
    read = only(mt942(total))

    assert (read.format, read.family.value, read.currency) == ("MT942", "report", "EUR")
    assert read.created == "2601311200+0100"
    assert reasons(read) == (["control_total"] * len(reasons(read)))
    assert read.is_held is is_held


def test_totals_in_a_whole_statement_leave_it_a_statement():
    read = only(mt940(CREDIT, ":90C:1EUR10,00"))

    assert (read.format, read.family.value, read.is_held) == ("MT940", "statement", False)


def line(*texts, currency="EUR"):
    return read_line(list(texts), currency=currency, marks=SWIFT, position="line 1")


@pytest.mark.parametrize(
    ("text", "customer", "bank", "supplement"),
    [
        ("NTRFINV-7//B1", "INV-7", "B1", ""),
        ("NTRFINV-7", "INV-7", None, ""),
        ("NTRFNONREF//NONREF", None, None, ""),
        ("NTRFINV-7           Anna//B1", "INV-7", "B1", "Anna"),
        ("NTRF//B1", None, "B1", ""),
    ],
)
def test_the_references_stand_behind_the_code_and_two_slashes(text, customer, bank, supplement):
    read = line(f"2601310131C10,00{text}")

    assert (read.customer_reference, read.bank_reference, read.supplement) == (
        customer,
        bank,
        supplement,
    )
    assert read.type_code == "NTRF"


def test_the_supplement_is_every_other_line_that_is_not_empty():
    assert line("2601310131C1,NTRFX  Anna", " one ", "", "two").supplement == "Anna\none\ntwo"


def test_an_iban_that_the_bank_cut_is_no_counterparty():
    assert line(f"2601310131C1,NTRF{PAYER_IBAN}").iban == PAYER_IBAN
    assert line(f"2601310131C1,NTRF{PAYER_IBAN[:-1]}").iban is None


def test_the_iban_of_the_purpose_counts_before_one_in_place_of_a_reference():
    other = "DE44500105175407324931"
    field = f":61:2601310131C10,00NTRF{other}"

    for purpose_field, iban in ((f":86:166?20x?31{PAYER_IBAN}", PAYER_IBAN), (":86:x", other)):
        [entry] = only(mt940(field, purpose_field)).entries
        assert entry.only_detail.counterparty_iban == iban


@pytest.mark.parametrize("totals", [":90C:1EUR52.58", ":90D:0EUR0.00"])
def test_the_total_of_one_side_proves_no_other_marks(totals):
    report = mt940(":61:2601310131C52.58NTRFNONREF", opening=":34F:EUR0,00", closing=totals)

    with pytest.raises(BadAmount):
        only(report)


def test_one_balance_proves_no_other_marks():
    missing = mt940(":61:2601310131C52.58NTRFX", opening="", closing=":62F:C260131EUR52.58")

    with pytest.raises(BadAmount):
        only(missing)


def test_a_funds_code_and_a_missing_entry_day_do_not_shift_the_amount():
    read = line("260131CR10,00NTRFX")

    assert (read.mark, read.amount_minor, read.booking_date) == ("C", 1000, None)
    assert line("2601310131RCR10,00NTRFX").mark == "RC"


@pytest.mark.parametrize(
    ("days", "impossible"),
    [("2602300228", ("260230",)), ("2602280230", ("0230",)), ("2602300230", ("260230", "0230"))],
)
def test_each_impossible_day_of_a_line_is_named(days, impossible):
    assert line(f"{days}C1,NTRFX").impossible == impossible


def test_an_impossible_value_day_gives_the_entry_day_its_year():
    assert line("2602300105C1,NTRFX").booking_date == date(2026, 1, 5)
    assert line("2602301105C1,NTRFX").booking_date == date(2025, 11, 5)
    assert line("2613010105C1,NTRFX").booking_date == date(2026, 1, 5)


@pytest.mark.parametrize(("two", "year"), [(79, 2079), (80, 1980), (99, 1999), (0, 2000)])
def test_years_from_80_on_are_of_the_last_century(two, year):
    assert short_year(two) == year
    assert swift_day(f"{two:02d}0131") == date(year, 1, 31)


def test_a_leap_day_is_found_in_the_leap_year_nearby():
    assert entry_day("0229", date(2028, 3, 1)) == date(2028, 2, 29)
    assert entry_day("0229", date(2027, 3, 1)) is None
    assert entry_day("0229", date(2028, 8, 30)) == date(2028, 2, 29)
    assert entry_day("0229", date(2028, 8, 31)) is None
    assert entry_day("1231", date(2026, 1, 2)) == date(2025, 12, 31)
    assert entry_day("0102", date(2025, 12, 31)) == date(2026, 1, 2)


def purpose(*lines):
    return read_purpose(list(lines), 1000, "EUR")


def test_every_subfield_of_a_german_purpose_has_its_field():
    detail, note = purpose(
        "166?00GUTSCHRIFT?20EREF+E1?21KREF+K1?22MREF+M1?23SVWZ+Invoice ?24seven",
        "?29ABWA+Ben?30COBADEFF?31" + PAYER_IBAN + "?32Anna ?33Schmidt?34000?60more?63last",
    )

    assert (detail.amount_minor, detail.currency, note) == (1000, "EUR", "GUTSCHRIFT")
    assert (detail.end_to_end_id, detail.instruction_id, detail.mandate_id) == ("E1", "K1", "M1")
    assert detail.remittance == ("Invoice", "seven")
    assert (detail.counterparty, detail.counterparty_iban) == ("Anna Schmidt", PAYER_IBAN)
    assert (detail.counterparty_bank, detail.return_reason) == ("COBADEFF", None)
    assert detail.ultimate_counterparty.startswith("Ben")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("109?20x?34914", "914"),
        ("109?20x?34000", "business code 109"),
        ("109?20x", "business code 109"),
        ("166?20x?34000", None),
        ("166?20x", None),
    ],
)
def test_a_reason_or_a_business_code_marks_a_return(text, reason):
    assert purpose(text)[0].return_reason == reason


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({"31": "123"}, (None, "123")),
        ({"38": "456"}, (None, "456")),
        ({"31": "123", "38": PAYER_IBAN}, (PAYER_IBAN, None)),
        ({"31": PAYER_IBAN, "38": "456"}, (PAYER_IBAN, None)),
        ({"31": "123", "38": "456"}, (None, "456")),
    ],
)
def test_an_iban_in_either_account_field_counts_before_a_number(codes, expected):
    subfields = "".join(f"?{code}{value}" for code, value in codes.items())

    detail, _ = purpose(f"166?20x{subfields}")

    assert (detail.counterparty_iban, detail.counterparty_account) == expected


def test_every_tag_of_a_dutch_purpose_has_its_field():
    detail, _ = purpose(
        f"/TRTP/SEPA/IBAN/{PAYER_IBAN}/BIC/INGBNL2A/NAME/Anna/REMI/USTD//Invoice 7",
        "/EREF/E1/PREF/P1/MARF/M1/ULTD/Ben/RTRN/MS03",
    )

    assert (detail.counterparty, detail.counterparty_iban) == ("Anna", PAYER_IBAN)
    assert (detail.counterparty_bank, detail.ultimate_counterparty) == ("INGBNL2A", "Ben")
    assert (detail.end_to_end_id, detail.instruction_id, detail.mandate_id) == ("E1", "P1", "M1")
    assert (detail.remittance, detail.return_reason) == (("Invoice 7",), "MS03")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/ULTB/Ben/REMI/x", ("ultimate_counterparty", "Ben")),
        ("/KREF/K1/PREF/P1/REMI/x", ("instruction_id", "K1")),
        (f"/CNTP/{PAYER_IBAN}/INGBNL2A/Anna/REMI/x", ("counterparty", "Anna")),
        (f"/CNTP/{PAYER_IBAN}/INGBNL2A/Anna/REMI/x", ("counterparty_iban", PAYER_IBAN)),
        (f"/CNTP/{PAYER_IBAN}/INGBNL2A/Anna/REMI/x", ("counterparty_bank", "INGBNL2A")),
        (f"/CNTP/{PAYER_IBAN}/REMI/x", ("counterparty_iban", PAYER_IBAN)),
        ("/REMI/first/REMI/second", ("remittance", ("first",))),
        ("/REMI/STRD/CUR/RF18//", ("references", (("CUR", "RF18"),))),
    ],
)
def test_other_tags_of_a_dutch_purpose_give_the_same_fields(text, expected):
    field, value = expected

    assert getattr(purpose(f"/TRTP/SEPA{text}")[0], field) == value


def test_every_line_of_the_field_ns_has_its_field():
    lines = ["01Invoice", "14seven", "15Anna", "16Schmidt", "17note", "3312345678", "344711"]

    detail, note = read_ns([*lines, "00no", "19no", "xxno"], 1000, "EUR")

    assert detail.remittance == ("Invoice", "seven")
    assert (detail.counterparty, note) == ("Anna Schmidt", "note")
    assert (detail.counterparty_account, detail.counterparty_bank) == ("4711", "12345678")
    assert (detail.amount_minor, detail.currency) == (1000, "EUR")
