"""The contents of camt files in all versions and variants that banks send."""

import io
from datetime import date

import pytest

from billing.statements.canonical import Family, Status
from billing.statements.errors import (
    AmountTooPrecise,
    BadAmount,
    BadCurrency,
    BadDirection,
    MissingField,
    NoStatements,
    RepeatedField,
    UnknownFormat,
)
from billing.statements.read import read_statements
from tests.billing.statements.writing import (
    OWN_IBAN,
    PAYER_IBAN,
    balance,
    batch,
    camt,
    entry,
    only,
    reasons,
    transaction,
)

PARTIES = (
    f"<RltdPties><Dbtr><Nm>Payer Ltd</Nm></Dbtr><DbtrAcct><Id><IBAN>{PAYER_IBAN}</IBAN></Id></DbtrAcct>"
    f"<UltmtDbtr><Nm>Behind Payer</Nm></UltmtDbtr><Cdtr><Nm>Us</Nm></Cdtr>"
    f"<CdtrAcct><Id><IBAN>{OWN_IBAN}</IBAN></Id></CdtrAcct></RltdPties>"
)


def test_a_balanced_statement_is_read_with_all_that_matching_needs():
    details = batch(transaction(PARTIES, amount="10.00"))

    statement = only(camt(entry(details=details), closing="10.00"))

    assert (statement.format, statement.version) == ("camt.053", "camt.053.001.08")
    assert (statement.account.iban, statement.currency) == (OWN_IBAN, "EUR")
    assert (statement.opening.amount_minor, statement.closing.amount_minor) == (0, 1000)
    assert not statement.is_held
    [read_entry] = statement.entries
    assert (read_entry.amount_minor, read_entry.currency, read_entry.status) == (
        1000,
        "EUR",
        Status.BOOKED,
    )
    assert (read_entry.booking_date, read_entry.value_date) == (date(2026, 1, 31), date(2026, 2, 1))
    assert read_entry.bank_reference == "REF-1"
    detail = read_entry.only_detail
    assert detail.end_to_end_id == "INV-1"
    assert detail.remittance == ("Invoice 1",)
    assert (detail.counterparty, detail.counterparty_iban) == ("Payer Ltd", PAYER_IBAN)
    assert detail.ultimate_counterparty == "Behind Payer"


@pytest.mark.parametrize(
    ("message", "statement", "family", "format_"),
    [
        ("BkToCstmrAcctRpt", "Rpt", Family.REPORT, "camt.052"),
        ("BkToCstmrAcctRptV01", "Rpt", Family.REPORT, "camt.052"),
        ("BkToCstmrStmt", "Stmt", Family.STATEMENT, "camt.053"),
        ("BkToCstmrStmtV01", "Stmt", Family.STATEMENT, "camt.053"),
        ("BkToCstmrDbtCdtNtfctn", "Ntfctn", Family.NOTIFICATION, "camt.054"),
        ("BkToCstmrDbtCdtNtfctnV01", "Ntfctn", Family.NOTIFICATION, "camt.054"),
    ],
)
def test_the_family_follows_the_message_and_not_the_namespace(message, statement, family, format_):
    read = only(camt(entry(), message=message, statement=statement, namespace=""))

    assert (read.family, read.format, read.version) == (family, format_, None)


def test_a_message_in_the_namespace_of_another_is_held():
    read = only(camt(entry(), message="BkToCstmrAcctRpt", statement="Rpt"))

    assert reasons(read) == ["family_doubt"]


def test_a_foreign_prefix_reads_like_none():
    plain = camt(entry(), closing="10.00")
    prefixed = (
        plain.replace("<", "<x:")
        .replace("<x:/", "</x:")
        .replace("<x:?", "<?")
        .replace("xmlns=", "xmlns:x=")
    )

    assert only(prefixed) == only(plain)


def test_a_namespace_that_is_declared_but_not_used_is_no_namespace():
    text = camt(entry(), namespace="").replace(
        "<Document>", '<Document xmlns:c="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02">'
    )

    assert [read_entry.amount_minor for read_entry in only(text).entries] == [1000]


def test_elements_of_another_namespace_are_skipped():
    evil = '<e:Amt xmlns:e="urn:evil" Ccy="EUR">999.00</e:Amt><e:Ntry xmlns:e="urn:evil"/>'

    read = only(camt(entry(more=evil)))

    assert [read_entry.amount_minor for read_entry in read.entries] == [1000]
    assert "entry_count" in reasons(read)  # the bytes show an Ntry more than was read


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "iso-8859-1", "windows-1252"]
)
def test_the_declared_encoding_is_heeded(encoding):
    declared = encoding.removesuffix("-sig").removesuffix("-le")
    text = camt(
        entry(details=batch(transaction(remittance="<Ustrd>Müller</Ustrd>"))),
        closing="10.00",
        declaration=f'<?xml version="1.0" encoding="{declared}"?>',
    )

    data = b"\xff\xfe" + text.encode(encoding) if encoding == "utf-16-le" else text.encode(encoding)

    read = only(data)
    assert not read.is_held
    assert read.entries[0].details[0].remittance == ("Müller",)


def test_an_unbalanced_statement_is_held_with_the_exact_difference():
    read = only(camt(entry("10.01"), closing="10.00"))

    [hold] = read.holds
    assert (hold.reason.value, hold.difference_minor) == ("balance_mismatch", 1)


def test_a_statement_without_balances_is_held_but_a_notification_needs_none():
    assert reasons(only(camt(entry()))) == ["balance_missing"]
    assert (
        reasons(
            only(camt(entry(), message="BkToCstmrDbtCdtNtfctn", statement="Ntfctn", namespace=""))
        )
        == []
    )


def test_the_previous_closing_balance_serves_as_opening():
    read = only(camt(entry(), head=balance("PRCD", "5.00") + balance("CLBD", "15.00")))

    assert not read.is_held
    assert read.opening.amount_minor == 500


def test_available_balances_do_not_count():
    read = only(camt(entry(), head=balance("CLAV", "99.00"), closing="10.00"))

    assert read.closing.amount_minor == 1000


def test_two_different_closing_balances_hold():
    read = only(camt(entry(), head=balance("CLBD", "11.00"), closing="10.00"))

    assert "balance_ambiguous" in reasons(read)


def test_a_balance_that_is_no_number_holds():
    read = only(camt(entry(), head=balance("OPBD", "NaN")))

    assert reasons(read) == ["balance_unreadable"]


def test_only_booked_entries_make_the_balance():
    entries = [
        entry("1.00", status=f"<Sts>{status}</Sts>") for status in ("BOOK", "PDNG", "INFO", "FUTR")
    ]

    read = only(camt(*entries, closing="1.00"))

    assert not read.is_held
    assert [read_entry.status for read_entry in read.entries] == [
        Status.BOOKED,
        Status.PENDING,
        Status.INFORMATION,
        Status.FUTURE,
    ]


@pytest.mark.parametrize("status", ["<Sts><Cd>BOOK</Cd></Sts>", "<Sts>BOOK</Sts>"])
def test_the_status_is_a_code_since_version_8(status):
    assert only(camt(entry(status=status))).entries[0].status is Status.BOOKED


def test_a_missing_status_stays_missing():
    assert only(camt(entry(status=""))).entries[0].status is None


@pytest.mark.parametrize(("mark", "amount"), [("CRDT", 1000), ("DBIT", -1000)])
def test_a_reversal_flag_never_turns_the_sign(mark, amount):
    [read_entry] = only(camt(entry(mark=mark, more="<RvslInd>true</RvslInd>"))).entries

    assert (read_entry.amount_minor, read_entry.is_reversal) == (amount, True)


def test_a_reversed_credit_still_names_the_payer():
    more = "<RvslInd>true</RvslInd>"

    [read_entry] = only(
        camt(entry(mark="DBIT", more=more, details=batch(transaction(PARTIES))))
    ).entries

    assert read_entry.only_detail.counterparty == "Payer Ltd"


def test_a_debit_names_the_payee():
    swapped = PARTIES.replace(OWN_IBAN, "X").replace(PAYER_IBAN, OWN_IBAN).replace("X", PAYER_IBAN)

    [read_entry] = only(camt(entry(mark="DBIT", details=batch(transaction(swapped))))).entries

    assert (read_entry.only_detail.counterparty, read_entry.only_detail.counterparty_iban) == (
        "Us",
        PAYER_IBAN,
    )


def test_a_batch_keeps_its_transactions_apart():
    first = transaction(
        amount="7.00",
        remittance="<Strd><CdtrRefInf><Tp><CdOrPrtry><Prtry>QRR</Prtry></CdOrPrtry></Tp><Ref>1</Ref></CdtrRefInf></Strd>",
    )
    second = transaction(
        amount="3.00", end_to_end="NOTPROVIDED", remittance="<Ustrd>a</Ustrd><Ustrd>b</Ustrd>"
    )

    [read_entry] = only(camt(entry(details=batch(first, second)))).entries

    assert read_entry.split_agrees
    assert read_entry.only_detail is None
    assert [detail.amount_minor for detail in read_entry.details] == [700, 300]
    assert read_entry.details[0].references == (("QRR", "1"),)
    assert read_entry.details[1].end_to_end_id is None
    assert read_entry.details[1].remittance == ("a", "b")


def test_a_batch_that_does_not_add_up_may_not_be_split():
    details = batch(transaction(amount="7.00"), transaction(amount="2.00"))

    [read_entry] = only(camt(entry(details=details))).entries

    assert not read_entry.split_agrees


def test_a_batch_larger_than_a_block_is_read_whole():
    details = batch(
        *[transaction(amount="0.01", end_to_end=f"E{number}") for number in range(1000)]
    )

    [read_entry] = only(camt(entry(details=details))).entries

    assert read_entry.split_agrees
    assert len(read_entry.details) == 1000
    assert read_entry.details[999].end_to_end_id == "E999"


def test_an_instructed_amount_or_a_charge_is_not_the_amount():
    inner = '<AmtDtls><InstdAmt><Amt Ccy="USD">99.00</Amt></InstdAmt><TxAmt><Amt Ccy="EUR">10.00</Amt></TxAmt></AmtDtls>'

    [read_entry] = only(camt(entry(details=batch(transaction(inner))))).entries

    assert read_entry.only_detail.amount_minor == 1000


def test_equal_entries_of_one_day_are_all_kept():
    assert len(only(camt(entry(), entry(), entry())).entries) == 3


def test_two_statements_in_one_file_are_two():
    text = camt(entry(), closing="10.00")
    start, end = text.index("<Stmt>"), text.index("</Stmt>") + len("</Stmt>")

    both = read_statements((text[:end] + text[start:end] + text[end:]).encode())

    assert [len(statement.entries) for statement in both] == [1, 1]


def test_the_transaction_summary_is_checked():
    good = (
        "<TxsSummry><TtlNtries><NbOfNtries>1</NbOfNtries><Sum>10.00</Sum></TtlNtries></TxsSummry>"
    )

    assert not only(camt(entry(), head=good, closing="10.00")).is_held
    read = only(camt(entry(), head=good.replace("10.00", "12.00"), closing="10.00"))

    assert [(hold.reason.value, hold.difference_minor) for hold in read.holds] == [
        ("control_total", -200)
    ]


def test_a_return_is_marked_with_its_reason():
    inner = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"

    [read_entry] = only(camt(entry(mark="DBIT", details=batch(transaction(inner))))).entries

    assert read_entry.only_detail.return_reason == "AC04"


def test_an_entry_in_another_currency_than_the_account_holds():
    assert "currency_mismatch" in reasons(only(camt(entry(currency="USD"))))


def test_an_unknown_currency_holds():
    assert "currency_unknown" in reasons(only(camt(entry(currency="XXX"))))


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [("JPY", "1000", 1000), ("BHD", "1.234", 1234), ("EUR", "8.85000", 885)],
)
def test_amounts_count_in_the_decimals_of_their_currency(currency, amount, minor):
    assert only(camt(entry(amount, currency=currency))).entries[0].amount_minor == minor


@pytest.mark.parametrize(
    ("amount", "currency", "error"),
    [
        ("NaN", "EUR", BadAmount),
        ("Infinity", "EUR", BadAmount),
        ("1E+9", "EUR", BadAmount),
        ("1_000.00", "EUR", BadAmount),
        ("-10.00", "EUR", BadAmount),
        ("1 000.00", "EUR", BadAmount),
        ("1,000.00", "EUR", BadAmount),
        ("1'000.00", "EUR", BadAmount),
        ("1\u00a0000.00", "EUR", BadAmount),
        ("1\u202f000.00", "EUR", BadAmount),
        ("\u0661\u0660.00", "EUR", BadAmount),
        ("\uff11\uff10.00", "EUR", BadAmount),
        ("9" * 400, "EUR", BadAmount),
        ("1.00001", "EUR", AmountTooPrecise),
        ("1.5", "JPY", AmountTooPrecise),
        ("1.0001", "BHD", AmountTooPrecise),
        ("10.00", "eur", BadCurrency),
        ("10.00", "EURO", BadCurrency),
        ("10.00", "CLF", BadCurrency),
        ("", "EUR", MissingField),
    ],
)
def test_an_amount_that_is_not_beyond_doubt_refuses_the_file(amount, currency, error):
    with pytest.raises(error, match=r"Ntry\[1\]"):
        only(camt(entry(amount, currency=currency)))


def test_a_zero_amount_is_an_entry():
    assert only(camt(entry("0.00"))).entries[0].amount_minor == 0


@pytest.mark.parametrize("mark", ["CREDIT", "crdt", "D"])
def test_an_unknown_direction_refuses_the_file(mark):
    with pytest.raises(BadDirection):
        only(camt(entry(mark=mark)))


def test_an_unknown_reversal_flag_refuses_the_file():
    with pytest.raises(BadDirection):
        only(camt(entry(more="<RvslInd>maybe</RvslInd>")))


@pytest.mark.parametrize("more", ['<Amt Ccy="EUR">99.00</Amt>', "<CdtDbtInd>DBIT</CdtDbtInd>"])
def test_an_amount_or_direction_stated_twice_refuses_the_file(more):
    with pytest.raises(RepeatedField):
        only(camt(entry(more=more)))


def test_an_impossible_day_is_no_day_and_holds():
    read = only(camt(entry().replace("2026-02-01", "2026-02-30"), closing="10.00"))

    assert reasons(read) == ["date_impossible"]
    assert read.entries[0].value_date is None


def test_a_day_with_time_and_zone_is_the_day_as_printed():
    text = camt(
        entry().replace("<Dt>2026-02-01</Dt>", "<DtTm>2026-02-01T23:59:59.000+01:00</DtTm>")
    )

    assert only(text).entries[0].value_date == date(2026, 2, 1)


def test_a_message_without_statements_is_refused_by_name():
    with pytest.raises(NoStatements, match=r"camt\.053"):
        only(camt().replace("Stmt>", "Other>").replace("BkToCstmrOther>", "BkToCstmrStmt>"))


def test_xml_that_is_no_camt_is_refused_by_name():
    with pytest.raises(UnknownFormat):
        only(
            "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:pain.001.001.03'><CstmrCdtTrfInitn/></Document>"
        )


def test_a_file_is_read_as_it_streams_from_disk():
    data = camt(*[entry(f"{number}.00") for number in range(1, 700)]).encode()

    [statement] = read_statements(io.BytesIO(data))

    assert sum(read_entry.amount_minor for read_entry in statement.entries) == 100 * 699 * 700 // 2
    assert statement.entries[698].amount_minor == 69_900


@pytest.mark.parametrize("amount", ["NaN", "12.34567", ""])
def test_a_transaction_whose_amount_is_not_clear_holds_but_the_entry_is_read(amount):
    inner = f'<AmtDtls><TxAmt><Amt Ccy="EUR">{amount}</Amt></TxAmt></AmtDtls>'

    read = only(
        camt(entry(details=batch(transaction(inner), transaction(amount="1.00"))), closing="10.00")
    )

    assert [read_entry.amount_minor for read_entry in read.entries] == [1000]
    assert not read.entries[0].split_agrees
    assert set(reasons(read)) <= {"detail_unreadable"}


def test_blank_lines_before_the_declaration_do_no_harm():
    assert not only("\n\n  " + camt(entry(), closing="10.00")).is_held


def test_a_statement_is_of_the_first_of_two_accounts():
    second = f"<Acct><Id><IBAN>{PAYER_IBAN}</IBAN></Id><Ownr><Nm>Another</Nm></Ownr></Acct>"

    read = only(camt(entry(), head=second))

    assert (read.account.iban, read.account.owner) == (OWN_IBAN, None)
