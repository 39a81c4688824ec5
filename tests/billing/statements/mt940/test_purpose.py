"""Field 86 with numbered subfields, used in ways that the agreement does not describe."""

import pytest

from tests.billing.statements.writing import mt940, only

LINE = ":61:2601310131C10,00NTRFNONREF//BANK1"


def _read(purpose: str):
    return only(mt940(LINE, f":86:166{purpose}")).entries[0].only_detail


@pytest.mark.parametrize(
    ("purpose", "remittance", "name"),
    [
        ("?20SVWZ+Really? yes?32Payer", ("Really? yes",), "Payer"),
        ("?20SVWZ+Invoice 12?32Payer?", ("Invoice 12",), "Payer?"),
        ("?20SVWZ+What??32Payer", ("What?",), "Payer"),
        ("?00CREDIT?lost?20SVWZ+Invoice 12?32Payer", ("Invoice 12",), "Payer"),
    ],
)
def test_a_separator_without_two_digits_after_it_is_text(purpose, remittance, name):
    detail = _read(purpose)

    assert (detail.remittance, detail.counterparty) == (remittance, name)


def test_of_two_subfields_alike_the_first_counts():
    detail = _read("?20Invoice 12?32Payer?32Other?30BANKAAA?30BANKBBB")

    assert (detail.counterparty, detail.counterparty_bank) == ("Payer", "BANKAAA")


def test_a_purpose_of_very_many_subfields_is_read_whole():
    detail = _read("".join(f"?{20 + place % 10}{place}" for place in range(40)) + "?32Payer")

    assert detail.remittance == tuple(str(place) for place in range(40))
    assert detail.counterparty == "Payer"


def test_the_text_after_the_largest_number_of_subfields_is_kept():
    """A file of 100 MB full of them took 25 seconds."""
    detail = _read("".join(f"?21{place}" for place in range(100)) + "?32Payer")

    assert detail.remittance[:3] == ("0", "1", "2")
    assert detail.remittance[-1].endswith("?2198?2199?32Payer")
    assert detail.counterparty is None


@pytest.mark.parametrize(
    ("purpose", "end_to_end", "mandate", "remittance"),
    [
        ("?20EREF+A+B?21MREF+M1", "A+B", "M1", ()),
        ("?20EREF+A MREF+M1 SVWZ+Rent", "A", "M1", ("Rent",)),
        ("?20EREF+A?21 and B?22SVWZ+Rent?23EREF+C", "A and B", None, ("Rent", "EREF+C")),
        ("?20Rent EREF+A?21EREF+B", "AB", None, ("Rent",)),
    ],
)
def test_sepa_tags_begin_anywhere_and_run_on(purpose, end_to_end, mandate, remittance):
    detail = _read(purpose)

    assert (detail.end_to_end_id, detail.mandate_id) == (end_to_end, mandate)
    assert detail.remittance == remittance


POLISH_IBAN = "PL61109010140000071219812874"


@pytest.mark.parametrize("separator", list("<^~?!@#$%&*|>+\u00a7\u00ac"))
@pytest.mark.parametrize("code", ["020", "020020", ""])
def test_polish_banks_choose_the_separator_and_name_the_account_in_38(separator, code):
    parts = [
        "00PRZELEW",
        "20RF740000000001",
        "21faktura",
        "32Jan ",
        "33Kowalski",
        f"38{POLISH_IBAN}",
    ]
    text = code + "".join(f"{separator}{part}" for part in parts)

    [read_entry] = only(mt940(LINE, f":86:{text}")).entries

    detail = read_entry.only_detail
    assert detail.remittance == ("RF740000000001", "faktura")
    assert (detail.counterparty, detail.counterparty_iban) == ("Jan Kowalski", POLISH_IBAN)
    assert detail.counterparty_account is None
    assert read_entry.note == "PRZELEW"


def test_a_code_may_stand_in_a_line_and_a_field_of_its_own():
    [read_entry] = only(mt940(LINE, ":86:020", ":86:020~00X", "~20Faktura", "~32Jan")).entries

    assert read_entry.only_detail.remittance == ("Faktura",)
    assert read_entry.only_detail.counterparty == "Jan"


@pytest.mark.parametrize(
    ("codes", "iban", "account"),
    [
        (f"?31{POLISH_IBAN}", POLISH_IBAN, None),
        (f"?31109010140000071219812874?38{POLISH_IBAN}", POLISH_IBAN, None),
        (f"?31{POLISH_IBAN}?38109010140000071219812874", POLISH_IBAN, None),
        ("?31109010140000071219812874", None, "109010140000071219812874"),
        ("?38109010140000071219812874", None, "109010140000071219812874"),
    ],
)
def test_the_iban_of_both_account_fields_counts(codes, iban, account):
    detail = _read(f"?20Invoice 12{codes}")

    assert (detail.counterparty_iban, detail.counterparty_account) == (iban, account)


@pytest.mark.parametrize("text", ["#20 invoices", "+20 percent", "20-21 January", "202601-15 rent"])
def test_a_payers_text_with_such_a_mark_stays_text(text):
    assert only(mt940(LINE, f":86:{text}")).entries[0].only_detail.remittance == (text,)


@pytest.mark.parametrize(
    "purpose",
    [
        "166?20x?31PL6110901014000007121981287?32Jan",
        "166?20x?38PL6110901014000007121981287?32Jan",
        "/EREF/x//NAME/Jan/IBAN/PL6110901014000007121981287/REMI/x/",
        "/TRTP/x//CNTP/PL6110901014000007121981287/BANK/Jan//REMI/x/",
    ],
)
def test_an_iban_that_the_bank_cut_is_a_marked_account_number(purpose):
    detail = only(mt940(LINE, f":86:{purpose}")).entries[0].only_detail

    assert detail.counterparty_iban is None
    assert detail.counterparty_account == "PL6110901014000007121981287"
    assert "cut" in detail.note
