"""Builders of small bank files, in the style of real banks."""

from billing.statements.read import read_statements

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
OWN_IBAN = "DE02120300000000202051"
PAYER_IBAN = "DE89370400440532013000"


def only(data):
    """The single statement of a file."""
    [statement] = read_statements(data if isinstance(data, bytes) else data.encode())
    return statement


def reasons(statement):
    """The reasons that hold a statement."""
    return [hold.reason.value for hold in statement.holds]


def balance(kind, amount, *, mark="CRDT", currency="EUR", day="2026-01-31"):
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>"
        f'<Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{mark}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>'
    )


def entry(
    amount="10.00", *, mark="CRDT", currency="EUR", status="<Sts>BOOK</Sts>", more="", details=""
):
    return (
        f'<Ntry><Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{mark}</CdtDbtInd>{more}{status}'
        f"<BookgDt><Dt>2026-01-31</Dt></BookgDt><ValDt><Dt>2026-02-01</Dt></ValDt>"
        f"<AcctSvcrRef>REF-1</AcctSvcrRef>{details}</Ntry>"
    )


def transaction(
    inner="", *, amount=None, end_to_end="INV-1", remittance="<Ustrd>Invoice 1</Ustrd>"
):
    stated = f'<Amt Ccy="EUR">{amount}</Amt>' if amount else ""
    return (
        f"<TxDtls><Refs><EndToEndId>{end_to_end}</EndToEndId></Refs>{stated}{inner}"
        f"<RmtInf>{remittance}</RmtInf></TxDtls>"
    )


def batch(*transactions):
    return f"<NtryDtls>{''.join(transactions)}</NtryDtls>"


def camt(
    *entries,
    opening="0.00",
    closing=None,
    head="",
    namespace=NAMESPACE,
    message="BkToCstmrStmt",
    statement="Stmt",
    declaration='<?xml version="1.0" encoding="UTF-8"?>',
    after="",
):
    """A camt message; without `closing` there are no balances."""
    balances = "" if closing is None else balance("OPBD", opening) + balance("CLBD", closing)
    spaced = f' xmlns="{namespace}"' if namespace else ""
    return (
        f"{declaration}<Document{spaced}><{message}><GrpHdr><MsgId>M1</MsgId></GrpHdr><{statement}><Id>S1</Id>"
        f"<Acct><Id><IBAN>{OWN_IBAN}</IBAN></Id><Ccy>EUR</Ccy></Acct>{head}{balances}{''.join(entries)}"
        f"</{statement}></{message}></Document>{after}"
    )


def mt940(*fields, opening=":60F:C260130EUR0,00", closing=":62F:C260131EUR10,00", end="\r\n"):
    """An MT940 message; the default balances fit one credit of 10,00."""
    lines = [":20:STMT", ":25:12030000/202051", ":28C:1/1", opening, *fields, closing, "-"]
    return end.join(line for line in lines if line) + end


def ofx(
    *transactions,
    header="OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nENCODING:USASCII\nCHARSET:1252\n\n",
    ledger="10.00",
):
    """An SGML OFX file of one checking account."""
    return (
        f"{header}<OFX><BANKMSGSRSV1><STMTTRNRS><TRNUID>1<STMTRS><CURDEF>EUR"
        "<BANKACCTFROM><BANKID>12030000<ACCTID>202051<ACCTTYPE>CHECKING</BANKACCTFROM>"
        f"<BANKTRANLIST><DTSTART>20260101<DTEND>20260131{''.join(transactions)}</BANKTRANLIST>"
        f"<LEDGERBAL><BALAMT>{ledger}<DTASOF>20260131</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"
    )


def stmttrn(amount="10.00", *, fitid="F1", day="20260131", more="<MEMO>Invoice 1"):
    return (
        f"<STMTTRN><TRNTYPE>CREDIT<DTPOSTED>{day}<TRNAMT>{amount}<FITID>{fitid}{more}</STMTTRN>\n"
    )


def bai2(
    *records,
    account_total=None,
    records_in_account=None,
    currency="USD",
    opening="10000",
    closing=None,
):
    """A BAI2 file of one account in one group, with correct totals by default."""
    amounts = [int(record.split(",")[2]) for record in records if record.startswith("16")]
    summaries = f"010,{opening},,,015,{closing},," if closing else f"010,{opening},,"
    total = (
        sum(amounts) + int(opening) + int(closing or 0) if account_total is None else account_total
    )
    count = len(records) + 2 if records_in_account is None else records_in_account
    lines = [
        "01,BANK,US,260131,0900,1,,,2/",
        "02,US,BANK,1,260131,2359,USD,2/",
        f"03,12345,{currency},{summaries}/",
        *records,
        f"49,{total},{count}/",
        f"98,{total},1,{count + 2}/",
        f"99,{total},1,{count + 4}/",
    ]
    return "\n".join(lines) + "\n"
