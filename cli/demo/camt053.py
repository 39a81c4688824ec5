"""A bank statement as ISO 20022 camt.053, as a bank would send it for one day."""

import datetime as dt
from typing import NamedTuple
from xml.sax.saxutils import escape

from worker import clock

IBAN, CURRENCY = "DE02120300000000202051", "USD"
OPENING_MINOR = 100_000
_NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"


class Credit(NamedTuple):
    """Money that came in, with an ISO 11649 reference or a text."""

    amount_minor: int
    payer: str
    reference: str | None = None
    text: str | None = None


def statement(*credits: Credit) -> bytes:
    """Write today's statement, with balances that fit its lines."""
    today = clock.now().date()
    closing_minor = OPENING_MINOR + sum(credit.amount_minor for credit in credits)
    entries = "\n".join(
        _entry(number, credit, today) for number, credit in enumerate(credits, start=1)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="{_NAMESPACE}"><BkToCstmrStmt>
<GrpHdr><MsgId>DEMO-1</MsgId><CreDtTm>{today}T06:00:00Z</CreDtTm></GrpHdr>
<Stmt><Id>DEMO-1</Id><ElctrncSeqNb>1</ElctrncSeqNb>
<Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>{CURRENCY}</Ccy></Acct>
{_balance("OPBD", OPENING_MINOR, today)}
{_balance("CLBD", closing_minor, today)}
{entries}
</Stmt></BkToCstmrStmt></Document>
""".encode()


def _balance(kind: str, minor: int, day: dt.date) -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>{_amount(minor)}"
        f"<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
    )


def _entry(number: int, credit: Credit, day: dt.date) -> str:
    return (
        f"<Ntry>{_amount(credit.amount_minor)}<CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        f"<AcctSvcrRef>DEMO-1-{number}</AcctSvcrRef><NtryDtls><TxDtls>"
        f"<RltdPties><Dbtr><Pty><Nm>{escape(credit.payer)}</Nm></Pty></Dbtr></RltdPties>"
        f"<RmtInf>{_remittance(credit)}</RmtInf></TxDtls></NtryDtls></Ntry>"
    )


def _remittance(credit: Credit) -> str:
    if credit.reference is None:
        return f"<Ustrd>{escape(credit.text or '')}</Ustrd>"
    return (
        "<Strd><CdtrRefInf><Tp><CdOrPrtry><Cd>SCOR</Cd></CdOrPrtry></Tp>"
        f"<Ref>{credit.reference}</Ref></CdtrRefInf></Strd>"
    )


def _amount(minor: int) -> str:
    return f'<Amt Ccy="{CURRENCY}">{minor // 100}.{minor % 100:02d}</Amt>'
