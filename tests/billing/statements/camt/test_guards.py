"""Guards of the camt reader, each alone: pages, parties, references, codes, dates and sums."""

from datetime import date

import pytest

from billing.statements.camt.fields import iso_day
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

OTHER_IBAN = "DE44500105175407324931"


def head_of_page(number, last):
    return (
        f"<StmtPgntn><PgNb>{number}</PgNb><LastPgInd>{last}</LastPgInd></StmtPgntn>"
        f"{balance('ITBD', '5.00')}{balance('ITBD', '15.00')}"
    )


def ends(statement):
    return [end and end.amount_minor for end in (statement.opening, statement.closing)]


@pytest.mark.parametrize(
    ("page", "last", "expected"),
    [
        (2, "false", [500, 1500]),
        (2, "0", [500, 1500]),
        (2, "true", [500, None]),
        (1, "false", [None, 1500]),
        (1, "true", [None, None]),
    ],
)
def test_interim_balances_open_a_later_page_and_close_one_that_is_not_the_last(
    page, last, expected
):
    read = only(camt(entry(), head=head_of_page(page, last)))

    assert ends(read) == expected
    assert read.page == str(page)
    assert bool(read.holds) is (None in expected)


def test_a_stated_balance_counts_before_an_interim_one():
    stated = balance("OPBD", "1.00") + balance("CLBD", "11.00")

    assert ends(only(camt(entry(), head=head_of_page(2, "false") + stated))) == [100, 1100]


def test_a_report_uses_no_interim_balance():
    head = head_of_page(2, "false").replace("StmtPgntn", "RptPgntn")
    report = camt(entry(), head=head, message="BkToCstmrAcctRpt", statement="Rpt")

    assert ends(only(report.replace("camt.053", "camt.052"))) == [None, None]


def test_an_available_balance_that_can_not_be_read_holds_nothing():
    head = balance("OPBD", "0.00") + balance("CLBD", "10.00") + balance("CLAV", "much")

    assert not only(camt(entry(), head=head)).is_held


def test_a_balance_of_zero_needs_no_sign():
    unsigned = balance("OPBD", "0.00").replace("<CdtDbtInd>CRDT</CdtDbtInd>", "")

    read = only(camt(entry(), head=unsigned + balance("CLBD", "10.00")))

    assert (ends(read), read.notes) == ([0, 1000], ())


def test_a_balance_carries_its_currency_and_its_day():
    read = only(camt(entry(), closing="10.00"))

    assert (read.closing.kind, read.closing.currency, read.closing.day) == (
        "CLBD",
        "EUR",
        date(2026, 1, 31),
    )


def party(role, name, iban):
    return f"<{role}><Nm>{name}</Nm></{role}><{role}Acct><Id><IBAN>{iban}</IBAN></Id></{role}Acct>"


def counterparty(debtor, creditor, *, mark="CRDT", reversal=False):
    parties = party("Dbtr", "Debtor", debtor) + party("Cdtr", "Creditor", creditor)
    details = batch(transaction(f"<RltdPties>{parties}</RltdPties>"))
    flag = "<RvslInd>true</RvslInd>" if reversal else ""
    read = only(camt(entry(mark=mark, more=flag, details=details)))
    [detail] = read.entries[0].details
    return detail.counterparty, detail.counterparty_iban


@pytest.mark.parametrize(
    ("debtor", "creditor", "more", "expected"),
    [
        pytest.param(PAYER_IBAN, OTHER_IBAN, {}, "Debtor", id="a credit"),
        pytest.param(PAYER_IBAN, OTHER_IBAN, {"mark": "DBIT"}, "Creditor", id="a debit"),
        pytest.param(PAYER_IBAN, OTHER_IBAN, {"reversal": True}, "Creditor", id="a reversal"),
        pytest.param(
            PAYER_IBAN, OWN_IBAN, {"reversal": True}, "Debtor", id="roles swapped in a reversal"
        ),
        pytest.param(OWN_IBAN, PAYER_IBAN, {}, "Creditor", id="our account as the debtor"),
        pytest.param(OWN_IBAN, OWN_IBAN, {"mark": "DBIT"}, "Creditor", id="both accounts ours"),
        pytest.param(OWN_IBAN, OWN_IBAN, {}, "Debtor", id="both accounts ours, a credit"),
    ],
)
def test_the_counterparty_is_never_the_party_with_our_own_account(debtor, creditor, more, expected):
    name, iban = counterparty(debtor, creditor, **more)

    assert name == expected
    assert iban == (debtor if expected == "Debtor" else creditor)


def test_an_agent_in_place_of_a_party_is_the_counterparty():
    agent = "<Dbtr><Agt><FinInstnId><Nm>A bank</Nm></FinInstnId></Agt></Dbtr>"
    details = batch(transaction(f"<RltdPties>{agent}</RltdPties>"))

    [detail] = only(camt(entry(details=details))).entries[0].details

    assert detail.counterparty == "A bank"


def test_a_transaction_is_read_with_every_identifier_and_party():
    inner = (
        "<RltdPties><Dbtr><Pty><Nm>Anna</Nm></Pty></Dbtr>"
        "<DbtrAcct><Id><Othr><Id>12345</Id></Othr></Id></DbtrAcct>"
        "<UltmtDbtr><Nm>Ben</Nm></UltmtDbtr></RltdPties>"
        "<RltdAgts><DbtrAgt><FinInstnId><BICFI>COBADEFF</BICFI></FinInstnId></DbtrAgt></RltdAgts>"
        "<AddtlTxInf>by post</AddtlTxInf>"
    )
    refs = (
        "</EndToEndId><TxId>T1</TxId><UETR>U1</UETR><AcctSvcrRef>A1</AcctSvcrRef>"
        "<InstrId>I1</InstrId><MndtId>M1</MndtId><EndToEndId>"
    )
    details = batch(transaction(inner, end_to_end=f"E1{refs}E2"))

    [detail] = only(camt(entry(details=details))).entries[0].details

    assert detail._replace(references=(), remittance=()) == detail.__class__(
        amount_minor=1000,
        currency="EUR",
        end_to_end_id="E1",
        transaction_id="T1",
        uetr="U1",
        bank_reference="A1",
        instruction_id="I1",
        mandate_id="M1",
        counterparty="Anna",
        counterparty_account="12345",
        counterparty_bank="COBADEFF",
        ultimate_counterparty="Ben",
        note="by post",
    )


def test_an_iban_that_the_bank_cut_is_noted_beside_its_own_note():
    cut = PAYER_IBAN[:-1]
    inner = f"<RltdPties>{party('Dbtr', 'Anna', cut)}</RltdPties><AddtlTxInf>by post</AddtlTxInf>"

    [detail] = only(camt(entry(details=batch(transaction(inner))))).entries[0].details

    assert (detail.counterparty_iban, detail.counterparty_account) == (None, cut)
    assert detail.note.startswith("by post\n")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("<Tp><CdOrPrtry><Cd>SCOR</Cd></CdOrPrtry></Tp>", "SCOR"),
        ("<Tp><CdOrPrtry><Prtry>QRR</Prtry></CdOrPrtry></Tp>", "QRR"),
        ("<Tp><Cd>SCOR</Cd></Tp>", "SCOR"),
        ("<Tp><Prtry>IPI</Prtry></Tp>", "IPI"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("element", ["Ref", "CdtrRef"])
def test_a_structured_reference_keeps_its_kind(kind, expected, element):
    strd = f"<Strd><CdtrRefInf>{kind}<{element}>RF18</{element}></CdtrRefInf></Strd>"

    [detail] = only(camt(entry(details=batch(transaction(remittance=strd))))).entries[0].details

    assert detail.references == ((expected, "RF18"),)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("<Tp><CdOrPrtry><Cd>CINV</Cd></CdOrPrtry></Tp><Nb>7</Nb>", ("CINV", "7")),
        ("<RfrdDocTp><Cd>CINV</Cd></RfrdDocTp><RfrdDocNb>8</RfrdDocNb>", ("CINV", "8")),
        ("<Nb>9</Nb>", ("document", "9")),
    ],
)
def test_the_number_of_a_document_is_a_reference(info, expected):
    strd = f"<Strd><RfrdDocInf>{info}</RfrdDocInf><AddtlRmtInf>thanks</AddtlRmtInf></Strd>"

    [detail] = only(camt(entry(details=batch(transaction(remittance=strd))))).entries[0].details

    assert (detail.references, detail.remittance) == ((expected,), ("thanks",))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("<Prtry><Cd>NTRF+166</Cd></Prtry>", "NTRF+166"),
        ("<Domn><Cd>PMNT</Cd></Domn>", "PMNT"),
        (
            "<Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn>",
            "PMNT-RCDT-ESCT",
        ),
        ("<Domn><Cd>PMNT</Cd></Domn><Prtry><Cd>NTRF+166</Cd></Prtry>", "PMNT"),
        ("<Domn><Cd>PMNT</Cd></Domn><Prtry><Cd>NRTI+109</Cd></Prtry>", "NRTI+109"),
    ],
)
def test_the_banks_own_code_counts_without_a_domain_or_where_it_marks_a_return(code, expected):
    [read] = only(camt(entry(more=f"<BkTxCd>{code}</BkTxCd>"))).entries

    assert read.type_code == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("<Rsn><Cd>AC04</Cd></Rsn>", "AC04"),
        ("<Rsn><Prtry>914</Prtry></Rsn>", "914"),
        ("<RtrRsn><Cd>MD06</Cd></RtrRsn>", "MD06"),
        ("<AddtlInf>closed</AddtlInf>", "closed"),
        ("<OrgnlBkTxCd/><Orgtr><Nm>B</Nm></Orgtr>", "not stated"),
    ],
)
def test_a_return_without_a_reason_is_one_too(reason, expected):
    details = batch(transaction(f"<RtrInf>{reason}</RtrInf>"))

    [detail] = only(camt(entry(details=details))).entries[0].details

    assert detail.return_reason == expected


def test_a_detail_may_go_the_other_way_than_its_entry():
    out = transaction(amount="2.00").replace("</Refs>", "</Refs><CdtDbtInd>DBIT</CdtDbtInd>")
    details = batch(transaction(amount="12.00"), out)

    [read] = only(camt(entry(details=details))).entries

    assert [detail.amount_minor for detail in read.details] == [1200, -200]
    assert read.split_agrees


@pytest.mark.parametrize(
    ("summary", "is_held"),
    [
        ("<TtlNtries><NbOfNtries>2</NbOfNtries><Sum>15.00</Sum></TtlNtries>", False),
        ("<TtlNtries><NbOfNtries>3</NbOfNtries></TtlNtries>", True),
        ("<TtlNtries><Sum>5.00</Sum></TtlNtries>", True),
        ("<TtlCdtNtries><NbOfNtries>1</NbOfNtries><Sum>10.00</Sum></TtlCdtNtries>", False),
        ("<TtlCdtNtries><NbOfNtries>2</NbOfNtries></TtlCdtNtries>", True),
        ("<TtlCdtNtries><Sum>15.00</Sum></TtlCdtNtries>", True),
        ("<TtlDbtNtries><NbOfNtries>1</NbOfNtries><Sum>5.00</Sum></TtlDbtNtries>", False),
        ("<TtlDbtNtries><NbOfNtries>0</NbOfNtries></TtlDbtNtries>", True),
        ("<TtlDbtNtries><Sum>10.00</Sum></TtlDbtNtries>", True),
        ("<TtlDbtNtries><Sum>many</Sum></TtlDbtNtries>", True),
    ],
)
def test_each_figure_of_the_transaction_summary_is_checked(summary, is_held):
    entries = entry("10.00"), entry("5.00", mark="DBIT")

    read = only(camt(*entries, closing="5.00", head=f"<TxsSummry>{summary}</TxsSummry>"))

    assert read.is_held is is_held
    assert set(reasons(read)) <= {"control_total"}


def test_a_summary_over_several_currencies_is_not_compared():
    summary = "<TxsSummry><TtlNtries><Sum>9.00</Sum></TtlNtries></TxsSummry>"

    read = only(camt(entry(), entry(currency="USD"), head=summary))

    assert "control_total" not in reasons(read)


def test_the_head_of_a_statement_is_read():
    head = (
        "<ElctrncSeqNb>7</ElctrncSeqNb><LglSeqNb>8</LglSeqNb><CreDtTm>2026-02-01T08:00:00</CreDtTm>"
        "<FrToDt><FrDtTm>2026-01-30T00:00:00</FrDtTm><ToDtTm>2026-01-31T23:59:59</ToDtTm></FrToDt>"
    )

    read = only(camt(entry(), head=head))

    assert (read.statement_id, read.sequence, read.created) == ("S1", "7", "2026-02-01T08:00:00")
    assert (read.from_date, read.to_date) == (date(2026, 1, 30), date(2026, 1, 31))
    assert only(camt(head="<LglSeqNb>8</LglSeqNb>")).sequence == "8"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-01-31", date(2026, 1, 31)),
        ("2026-01-31Z", date(2026, 1, 31)),
        ("2026-01-31+02:00", date(2026, 1, 31)),
        ("2026-01-31T23:30:00-05:00", date(2026, 1, 31)),
        ("2026-01-31T23:30:00.123Z", date(2026, 1, 31)),
        ("2026-02-30", None),
        ("2026-1-31", None),
        ("31.01.2026", None),
        ("2026-01-31 noon", None),
    ],
)
def test_a_day_is_the_printed_one_in_every_form_of_xml(text, day):
    assert iso_day(text) == day


@pytest.mark.parametrize(("booked", "value"), [("30", "28"), ("28", "30")])
def test_an_impossible_day_holds_whether_booked_or_of_value(booked, value):
    dates = f"<BookgDt><Dt>2026-02-{booked}</Dt></BookgDt><ValDt><Dt>2026-02-{value}</Dt></ValDt>"
    altered = entry().replace(
        "<BookgDt><Dt>2026-01-31</Dt></BookgDt><ValDt><Dt>2026-02-01</Dt></ValDt>", dates
    )

    assert reasons(only(camt(altered, closing="10.00"))) == ["date_impossible"]


def test_an_entry_without_a_value_day_holds_nothing():
    altered = entry().replace("<ValDt><Dt>2026-02-01</Dt></ValDt>", "")

    assert reasons(only(camt(altered, closing="10.00"))) == []


def test_the_account_is_its_iban_or_its_number_with_its_bank():
    other = (
        "<Id><Othr><Id>4711</Id></Othr></Id><Ownr><Nm>Us</Nm></Ownr>"
        "<Svcr><FinInstnId><BICFI>COBADEFF</BICFI></FinInstnId></Svcr>"
    )
    file = camt(entry()).replace(f"<Id><IBAN>{OWN_IBAN}</IBAN></Id>", other)

    account = only(file).account

    assert (account.iban, account.other, account.bank) == (None, "4711", "COBADEFF")
    assert (account.owner, account.currency) == ("Us", "EUR")
    assert only(camt(entry())).account.iban == OWN_IBAN


def test_the_entrys_own_note_is_the_text_of_an_entry_without_transactions():
    [read] = only(camt(entry(more="<AddtlNtryInf>Invoice 7</AddtlNtryInf>"))).entries

    assert (read.note, read.details[0].remittance) == ("Invoice 7", ("Invoice 7",))
