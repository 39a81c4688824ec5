"""References and account numbers: found, normalised and checked, even if mistyped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.statements.references import (
    Scheme,
    check_reference,
    drop_placeholder,
    find_references,
    fits_account,
    is_cut_iban,
    is_qr_iban,
    is_usable_bank_id,
    is_valid_fi,
    party_account,
    plain_iban,
)

QRR = "210000000003139471430009017"
QR_IBAN, NORMAL_IBAN = "CH4431999123000889012", "CH9300762011623852957"


def with_rf_check(body):
    number = int("".join(str(int(char, 36)) for char in f"{body}RF00"))
    return f"RF{98 - number % 97:02d}{body}"


def with_fi_check(body):
    weighed = sum(int(digit) * (7, 3, 1)[place % 3] for place, digit in enumerate(reversed(body)))
    return f"{body}{-weighed % 10}"


@pytest.mark.parametrize(
    ("text", "scheme", "value"),
    [
        ("RF18 5390 0754 7034", Scheme.RF, "RF18539007547034"),
        ("rf18539007547034", Scheme.RF, "RF18539007547034"),
        ("+++090/9337/55493+++", Scheme.OGM, "090933755493"),
        ("21 00000 00003 13947 14300 09017", Scheme.QRR, QRR),
    ],
)
def test_a_structured_reference_is_normalised(text, scheme, value):
    reference = check_reference(text)

    assert (reference.scheme, reference.value, reference.is_valid) == (scheme, value, True)


def test_a_finnish_reference_is_recognised_only_where_it_is_expected():
    assert check_reference("1234561") is None
    assert check_reference("1234561", Scheme.FI).is_valid


@pytest.mark.parametrize("text", ["RF19539007547034", "+++090/9337/55494+++", QRR[:-1] + "8"])
def test_a_mistyped_reference_is_found_and_not_valid(text):
    [reference] = find_references(f"Invoice {text} thanks")

    assert not reference.is_valid


@pytest.mark.parametrize(
    "text", ["", "Invoice 12", "RF1", "RFC 1234", "12345", "XRF18539007547034", QRR + "0"]
)
def test_text_without_a_reference_has_none(text):
    assert find_references(text) == ()


def test_a_reference_in_groups_does_not_swallow_the_next_word():
    [reference] = find_references("pay RF18 5390 0754 7034 NOW please")

    assert (reference.value, reference.is_valid) == ("RF18539007547034", True)


def test_two_references_in_one_text_are_both_found():
    assert [reference.scheme for reference in find_references(f"RF18539007547034 and {QRR}")] == [
        Scheme.RF,
        Scheme.QRR,
    ]


@given(body=st.text(alphabet="0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=21))
def test_every_reference_with_right_check_digits_is_valid(body):
    assert check_reference(with_rf_check(body), Scheme.RF).is_valid


@given(
    body=st.text(alphabet="0123456789", min_size=4, max_size=21),
    place=st.integers(4, 20),
    digit=st.sampled_from("0123456789"),
)
def test_one_wrong_digit_is_always_noticed(body, place, digit):
    right = with_rf_check(body)
    at = min(place, len(right) - 1)
    wrong = right[:at] + digit + right[at + 1 :]

    assert check_reference(wrong, Scheme.RF).is_valid == (wrong == right)


@given(body=st.text(alphabet="0123456789", min_size=3, max_size=19))
def test_every_finnish_reference_with_its_check_digit_is_valid(body):
    right = with_fi_check(body)

    assert is_valid_fi(right)
    assert not is_valid_fi(right[:-1] + str((int(right[-1]) + 1) % 10))


@given(text=st.text(max_size=80))
def test_any_text_can_be_searched(text):
    assert all(reference.value.isascii() for reference in find_references(text))


def test_a_qr_iban_takes_qrr_and_nothing_else():
    qrr, rf = check_reference(QRR), check_reference("RF18539007547034")

    assert is_qr_iban(QR_IBAN)
    assert not is_qr_iban(NORMAL_IBAN)
    assert fits_account(qrr, QR_IBAN)
    assert not fits_account(qrr, NORMAL_IBAN)
    assert fits_account(rf, NORMAL_IBAN)
    assert not fits_account(rf, QR_IBAN)


@pytest.mark.parametrize(
    "text", ["NOTPROVIDED", "notprovided", "NONREF", " ", "", None, "NOT PROVIDED"]
)
def test_a_placeholder_means_nothing(text):
    assert drop_placeholder(text) is None


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ("BANK1", True),
        ("NONREF", False),
        ("0000", False),
        ("1000000000000000", False),
        (None, False),
        ("10001", True),
    ],
)
def test_some_bank_identifiers_tell_nothing_apart(text, usable):
    assert is_usable_bank_id(text) is usable


def test_an_account_number_has_the_form_of_an_iban_or_not():
    assert plain_iban("de89 3704 0044 0532 0130 00") == "DE89370400440532013000"
    assert plain_iban("12345678") is None


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [
        ("PL61109010140000071219812874", True),
        ("pl61 1090 1014 0000 0712 1981 2874", True),
        ("NO9386011117947", True),
        ("MT84MALT011000012345MTLCAST001S", True),
        ("PL6110901014000007121981287", False),
        ("DE8937040044053201300", False),
        ("DE89370400440532013000EUR", False),
        ("GB29NWBK6016133192681", False),
    ],
)
def test_an_iban_is_as_long_as_its_country_says_or_marked(text, is_whole):
    iban, other, note = party_account(text)

    assert (iban is not None) is is_whole
    assert (other == text) is not is_whole
    assert (note is not None) is not is_whole
    assert is_cut_iban(text) is not is_whole


def test_an_iban_of_a_country_outside_the_registry_is_taken_by_its_form():
    assert party_account("ZZ12345678901234567").iban == "ZZ12345678901234567"


@pytest.mark.parametrize("text", ["12345678", "Account 5", "x" * 100])
def test_any_other_account_number_is_kept_without_a_mark(text):
    assert party_account(text) == (None, text, None)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_no_account_number_is_none(text):
    assert party_account(text) == (None, None, None)
