"""A bank for tests: statements as text, one a day, and the rows that their import makes."""

import datetime as dt
import io
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import sqlalchemy as sa

from billing.bank.intake import accounts as bank_accounts
from billing.bank.intake import files as bank_files
from billing.bank.intake import held_statements
from billing.bank.intake import store as statement_store
from models.bank import BankLine, LineWording, Statement, StatementLine
from tests.billing.statements.writing import OWN_IBAN, PAYER_IBAN
from tests.story import NOON
from worker.database import transaction

FIRST_DAY = dt.date(2026, 2, 1)
_SIGNS = {"CRDT": 1, "DBIT": -1}


def line(
    amount,
    *,
    text="",
    reference=None,
    payer="Anna Schmidt",
    iban=PAYER_IBAN,
    mark="CRDT",
    bank_reference=None,
    end_to_end=None,
    transaction_id=None,
    reversal=False,
    currency="EUR",
    day=None,
    code="",
):
    """One line of a camt.053 statement, as text; `day` and `mark` are filled in by the statement."""
    side = "Dbtr" if (mark == "CRDT") != reversal else "Cdtr"
    strd = (
        f"<Strd><CdtrRefInf><Tp><CdOrPrtry><Cd>SCOR</Cd></CdOrPrtry></Tp><Ref>{reference}</Ref>"
        "</CdtrRefInf></Strd>"
        if reference
        else ""
    )
    refs = "".join(
        f"<{name}>{value}</{name}>"
        for name, value in (
            ("EndToEndId", end_to_end),
            ("TxId", transaction_id),
        )
        if value
    )
    account = f"<{side}Acct><Id><IBAN>{iban}</IBAN></Id></{side}Acct>" if iban else ""
    party = f"<RltdPties><{side}><Nm>{escape(payer)}</Nm></{side}>{account}</RltdPties>"
    detail = (
        f"<TxDtls><Refs>{refs}</Refs>{party}<RmtInf>"
        f"{f'<Ustrd>{escape(text)}</Ustrd>' if text else ''}{strd}</RmtInf></TxDtls>"
    )
    return {
        "minor": round(float(amount) * 100) * _SIGNS[mark],
        "xml": (
            f'<Ntry><Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{mark}</CdtDbtInd>'
            f"{'<RvslInd>true</RvslInd>' if reversal else ''}<Sts>BOOK</Sts>"
            f"<BookgDt><Dt>{day or '{day}'}</Dt></BookgDt><ValDt><Dt>{day or '{day}'}</Dt></ValDt>"
            f"{f'<AcctSvcrRef>{bank_reference}</AcctSvcrRef>' if bank_reference else ''}"
            f"{code}<NtryDtls>{detail}</NtryDtls></Ntry>"
        ),
    }


def _balance(kind, minor, day):
    mark = "CRDT" if minor >= 0 else "DBIT"
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>"
        f'<Amt Ccy="EUR">{abs(minor) // 100}.{abs(minor) % 100:02d}</Amt><CdtDbtInd>{mark}</CdtDbtInd>'
        f"<Dt><Dt>{day}</Dt></Dt></Bal>"
    )


def statement(
    *lines,
    number=1,
    opening=0,
    closing=None,
    day=None,
    iban=OWN_IBAN,
    message="BkToCstmrStmt",
    element="Stmt",
    version="camt.053.001.08",
):
    """A camt file of one statement; opening and closing in cents."""
    day = day or FIRST_DAY + dt.timedelta(days=number - 1)
    closing = opening + sum(one["minor"] for one in lines) if closing is None else closing
    entries = "".join(one["xml"].replace("{day}", str(day)) for one in lines)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:{version}">'
        f"<{message}><GrpHdr><MsgId>M{number}</MsgId></GrpHdr><{element}><Id>S{number}</Id>"
        f"<ElctrncSeqNb>{number}</ElctrncSeqNb><Acct><Id><IBAN>{iban}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
        f"{_balance('OPBD', opening, day)}{_balance('CLBD', closing, day)}{entries}"
        f"</{element}></{message}></Document>"
    ).encode()


def statements(*days):
    """One file a day, each opening where the last one closed; a day is a list of lines."""
    opening, made = 0, []
    for number, lines in enumerate(days, start=1):
        made.append(statement(*lines, number=number, opening=opening))
        opening += sum(one["minor"] for one in lines)
    return made


@dataclass
class Bank:
    """A bank account of ours, in a real database; time moves only when told."""

    now: dt.datetime = NOON
    results: list = field(default_factory=list)

    def register(self, number=OWN_IBAN, *, currency="EUR", source_format="camt.053", customer=None):
        with transaction() as ctx:
            return bank_accounts.add(
                ctx.at(self.now).by("test"),
                number,
                currency=currency,
                source_format=source_format,
                customer_id=customer,
            )

    def receive(self, *contents, account=None):
        """Import these files; what became of the statements of the last one."""
        stored = []
        for content in contents:
            with transaction() as ctx:
                file = bank_files.receive(
                    ctx.at(self.now), io.BytesIO(content), name="a file", account=account
                )
            stored = []
            for one in statement_store.read(
                io.BytesIO(content), name="a file", today=self.now.date()
            ):
                with transaction() as ctx:
                    stored.append(
                        statement_store.store(
                            ctx.at(self.now), one, file_id=file.id, stated_account=account
                        )
                    )
            with transaction() as ctx:
                statement_store.refresh(ctx.session, stored)
                bank_files.finish(ctx.at(self.now), file.id)
        return stored

    def release_all(self):
        """Release every held statement."""
        for row in self.statements():
            with transaction() as ctx:
                held_statements.release(ctx.by("test"), str(row.digest), because="test")

    def statements(self):
        with transaction() as ctx:
            rows = sa.select(Statement).order_by(Statement.closing_day, Statement.sequence)
            return list(ctx.session.scalars(rows))

    def holds(self):
        """Why each statement is held, in the order of their days."""
        return [
            [hold["reason"] for hold in (*row.holds, *row.chain_holds)] for row in self.statements()
        ]

    def amounts(self):
        """Minor units of all lines, small to large."""
        with transaction() as ctx:
            return sorted(ctx.session.scalars(sa.select(BankLine.amount_minor)))

    def dump(self):
        """All that was read, as rows that do not say when or from which file."""
        columns = {
            Statement: [c for c in Statement.__table__.c if c.name != "recorded_at"],
            BankLine: list(BankLine.__table__.c),
            LineWording: list(LineWording.__table__.c),
            StatementLine: list(StatementLine.__table__.c),
        }
        with transaction() as ctx:
            return {
                table.__name__: sorted(map(repr, ctx.session.execute(sa.select(*of)).all()))
                for table, of in columns.items()
            }
