"""Bank: reading, storing and matching files, and a simulated year whose truth is known."""

import io
import time

import sqlalchemy as sa

from bench import bank_read, bank_year, ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from billing.bank.intake import accounts as bank_accounts
from billing.bank.invoicing import issue
from billing_client.bank import AnnounceTransfer
from flows.bank import import_file as import_file_flow
from flows.bank import match as bank_match
from models.host import Account, Plan
from worker import clock
from worker.database import engine, transaction

#: For each of `count`: entries read (100,000 by default, for which the limits hold), lines stored,
#: invoices matched and paid, customers of the simulated year.
READ, STORED, PAID, CUSTOMERS = 5, 1, 0.02, 0.05
FIRST_ACCOUNT, PLAN = 5_000_001, 5_000_001
IBAN = "DE02120300000000202051"
MONTHS = 12


def run(*, count: int, rounds: int) -> Result:
    """Read, store, match; then simulate. Raises LedgerDisagrees. `rounds`: seeds of the year."""
    paid = max(10, int(count * PAID))
    rows = [*bank_read.rows(count * READ), _store(count * STORED), *_pay(paid)]
    ground.check_ledger(with_chain=False)
    customers = max(20, int(count * CUSTOMERS))
    years = [_year(customers, seed) for seed in range(1, rounds + 1)]
    rows.append(measure.median([row for row, _ in years]))
    return Result(rows, facts={"bank_year": [report for _, report in years]})


def _store(lines: int) -> Row:
    file = io.BytesIO()
    bank_read.write_camt(file, lines)
    # Of another bank account, so that these lines are not read as payments.
    content = file.getvalue().replace(IBAN.encode(), b"DE89370400440532013000")

    def store() -> None:
        outcome = import_file_flow.import_from(io.BytesIO(content), name="bench")
        assert outcome.outcome in {"imported", "repeat"}

    return measure.timed("bank_store_lines", lines, store, roots=server_pids())


def _pay(invoices: int) -> list[Row]:
    """Announce invoices and pay them: the matching alone, then a whole import with its matching.

    In the whole import as many transfers name no invoice.
    """
    references = _announce(2 * invoices)
    first, rest = references[:invoices], references[invoices:]
    import_file_flow.import_from(io.BytesIO(_statement(first)), name="bench")

    def match() -> None:
        assert bank_match.run().settled == invoices

    settled = measure.timed("bank_settle_transfers", invoices, match, roots=server_pids())
    unknown = [(f"thanks {n}", 1234) for n in range(invoices)]
    opening = sum(due for _, due in first)
    file = io.BytesIO(_statement(rest + unknown, number=3, opening=opening))

    def import_whole() -> None:
        import_file_flow.import_from(file, name="bench")
        match()

    whole = measure.timed("bank_import_whole", 2 * invoices, import_whole, roots=server_pids())
    return [settled, whole]


def _announce(count: int) -> list[tuple[str, int]]:
    with engine().begin() as connection:
        connection.execute(
            sa.insert(Plan).values(
                id=PLAN,
                slug=f"bench-{PLAN}",
                name="Bench",
                price=89,
                included_credits=1000,
                max_sites=1,
                max_users=1,
            )
        )
        connection.execute(
            sa.insert(Account),
            [
                {"id": FIRST_ACCOUNT + n, "name": f"Payer {n}", "slug": f"bench-payer-{n}"}
                for n in range(count)
            ],
        )
    issued = []
    with transaction() as ctx:
        now = clock.now()
        bank_accounts.add(ctx.at(now).by("bench"), IBAN, currency="EUR", source_format="camt.053")
        for n in range(count):
            message = AnnounceTransfer(FIRST_ACCOUNT + n, PLAN, f"bench-{n}")
            invoice = issue.announce(ctx.at(now), message, currency="EUR")
            issued.append((invoice.reference, invoice.due_minor))
    return issued


def _statement(references: list[tuple[str, int]], *, number: int = 2, opening: int = 0) -> bytes:
    day = clock.now().date()
    total = sum(due for _, due in references)

    def amount(minor: int) -> str:
        return f"{minor // 100}.{minor % 100:02d}"

    def balance(kind: str, minor: int) -> str:
        shown = bank_read.CAMT_BALANCE.format(kind=kind, amount=amount(minor))
        return shown.replace("2026-01-31", str(day))

    entries = "".join(
        f'<Ntry><Amt Ccy="EUR">{amount(due)}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>'
        f"<BookgDt><Dt>{day}</Dt></BookgDt><AcctSvcrRef>PAY{number}{n:09d}</AcctSvcrRef><NtryDtls><TxDtls>"
        f"<RmtInf><Ustrd>{reference}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>"
        for n, (reference, due) in enumerate(references)
    )
    head = bank_read.CAMT_HEAD.replace("S1", f"S{number}")
    tail = "</Stmt></BkToCstmrStmt></Document>"
    return f"{head}{balance('OPBD', opening)}{balance('CLBD', opening + total)}{entries}{tail}".encode()


def _year(customers: int, seed: int) -> tuple[Row, dict[str, object]]:
    bank_year.forget_names()
    began, cpu = time.monotonic(), time.process_time()
    year = bank_year.simulate(accounts=customers, months=MONTHS, seed=seed)
    took, used = time.monotonic() - began, time.process_time() - cpu
    row = Row("bank_match_year", year.transfers / took, used * 1000 / year.transfers)
    return row, year.report()
