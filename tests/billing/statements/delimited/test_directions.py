"""Columns of debit and credit words that no profile reads: the sign of an amount is never guessed."""

import pytest

from tests.billing.statements.writing import only, reasons

UNKNOWN = "Date;Text;Amount;{name};Currency\n"


def file(*rows, name="Kind", header=UNKNOWN):
    lines = [
        f"2026-03-{day:02};x;{amount};{word};EUR\n"
        for day, (amount, word) in enumerate(rows, start=13)
    ]
    return header.format(name=name) + "".join(lines)


def amounts(read):
    return [entry.amount_minor for entry in read.entries]


@pytest.mark.parametrize(
    ("credit", "debit"),
    [
        ("credit", "debit"),
        ("CR", "DR"),
        ("Haben", "Soll"),
        ("Gutschrift", "Lastschrift"),
        ("Bij", "Af"),
        ("Crédit", "Débit"),
        ("abono", "cargo"),
        ("Avere", "Dare"),
        ("uznanie", "obciążenie"),
        ("Insättning", "Uttag"),
        ("pano", "otto"),
        ("in", "out"),
        ("+", "-"),
        ("Deposit", "Withdrawal"),
    ],
)
@pytest.mark.parametrize("name", ["Kind", "Transaction Type", ""])
def test_in_the_file_of_an_unknown_bank_a_column_of_such_words_alone_gives_the_sign(
    credit, debit, name
):
    read = only(file(("89.00", credit), ("50.00", debit), name=name))

    assert amounts(read) == [8900, -5000]
    assert reasons(read) == ["family_doubt"]


@pytest.mark.parametrize(
    ("credit", "debit"), [("ACH credit", "ACH debit"), ("deposit", "Withdrawal fee")]
)
def test_words_among_others_say_that_the_sign_was_not_read(credit, debit):
    read = only(file(("89.00", credit), ("50.00", debit)))

    assert "sign_not_read" in reasons(read)
    [hold] = [hold for hold in read.holds if hold.reason == "sign_not_read"]
    assert "'kind'" in hold.says


def test_two_columns_that_disagree_with_the_amounts_say_that_the_sign_was_not_read():
    header = "Date;Text;Amount;Kind;Currency;Side\n"
    rows = "2026-03-13;x;89.00;credit;EUR;C\n2026-03-14;x;50.00;debit;EUR;D\n"

    assert "sign_not_read" in reasons(only(header + rows))


def test_signed_amounts_that_mean_the_opposite_of_the_words_are_not_read_as_they_stand():
    read = only(file(("-89.00", "credit"), ("50.00", "debit")))

    assert "sign_not_read" in reasons(read)


def test_words_that_agree_with_the_signs_hold_nothing_more():
    read = only(file(("89.00", "credit"), ("-50.00", "debit"), ("(7.00)", "debit")))

    assert amounts(read) == [8900, -5000, -700]
    assert reasons(read) == ["family_doubt"]


def test_a_text_that_is_such_a_word_once_in_many_is_a_text():
    rows = [("89.00", "Invoice 1"), ("7.00", "debit"), ("8.00", "Rent"), ("9.00", "Invoice 2")]

    assert reasons(only(file(*rows))) == ["family_doubt"]


def test_the_words_of_a_known_banks_export_are_compared_too():
    header = '"Booking Date","Value Date","Partner Name","Partner Iban",Type,"Payment Reference","Account Name","Amount (EUR)"\n'
    row = "2026-01-31,2026-02-01,P,DE89370400440532013000,{},INV-1,Main,{}\n"

    held = only(header + row.format("Credit", "10.00") + row.format("Debit", "5.00"))
    fine = only(header + row.format("Credit", "10.00") + row.format("Debit", "-5.00"))

    assert reasons(held) == ["sign_not_read"]
    assert not fine.is_held
