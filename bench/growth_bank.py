"""Bank rows of the growth bench: matching, settling, statements of an account, a large file."""

import io

import sqlalchemy as sa

from bench import bank_read
from bench.growth import Growth
from billing.bank.intake import accounts as bank_accounts
from billing.bank.invoicing import issue
from billing_client.bank import AnnounceTransfer
from flows.bank import import_file, match
from worker import clock
from worker.database import engine, transaction

IBAN, PLAN = "DE02120300000000202051", 1
_PLAN = """
INSERT INTO igny8_plans (id, slug, name, price, included_credits, max_sites, max_users)
VALUES (1, 'bench-growth', 'Bench', 89, 1000, 1, 1)
"""
#: Accounts with names of two words, of which each is shared by few.
_ACCOUNTS = """
INSERT INTO igny8_tenants (id, name, slug, plan_id, status)
SELECT n, 'Payer' || n || ' Works' || n / 3, 'payer-' || n, 1, 'trial'
FROM generate_series(1, :count) AS n
"""
#: Invoices with the references that `creditor_reference` makes; `each`: of one account.
_INVOICES = """
INSERT INTO billing.transfer_invoices (account_id, plan_id, number, reference, key, currency,
    due_minor, settled_minor, state, months, issued_at, due_at, steps_done)
SELECT (n - 1) / :each + 1, 1, 'BT-2026-' || lpad(n::text, 6, '0'),
       'RF' || lpad((98 - (n::numeric * 1000000 + 271500) % 97)::text, 2, '0')
            || lpad(n::text, 10, '0'),
       'growth:' || n, 'EUR', :due, CASE :state WHEN 'paid' THEN :due ELSE 0 END, :state, 1,
       now() - interval '9 days', now() + interval '5 days', 0
FROM generate_series(1, :count) AS n
"""


def _run(*statements: tuple[str, dict[str, object]]) -> None:
    with engine().begin() as connection:
        for statement, values in statements:
            connection.execute(sa.text(statement), values)


def _open(accounts: int) -> None:
    """A plan, accounts and a registered bank account."""
    _run((_PLAN, {}), (_ACCOUNTS, {"count": accounts}))
    with transaction() as ctx:
        bank_accounts.add(ctx.by("bench"), IBAN, currency="EUR", source_format="camt.053")


def _owe(invoices: int, *, each: int = 1, due: int = 8900, state: str = "open") -> None:
    values = {"count": invoices, "each": each, "due": due, "state": state}
    _run((_INVOICES, values))


def _statement(
    texts: list[str], *, number: int = 1, opening: int = 0, amount: str = "89.00"
) -> bytes:
    """A camt.053 with a payment of this amount for each text."""
    day = clock.now().date()
    minor = round(float(amount) * 100)

    def balance(kind: str, total: int) -> str:
        shown = f"{total // 100}.{total % 100:02d}"
        return bank_read.CAMT_BALANCE.format(kind=kind, amount=shown).replace(
            "2026-01-31", str(day)
        )

    entries = "".join(
        f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>'
        f"<BookgDt><Dt>{day}</Dt></BookgDt><AcctSvcrRef>PAY{number:05d}{n:09d}</AcctSvcrRef>"
        f"<NtryDtls><TxDtls><RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>"
        for n, text in enumerate(texts)
    )
    head = bank_read.CAMT_HEAD.replace("<Id>S1<", f"<Id>S{number}<")
    closing = opening + minor * len(texts)
    tail = "</Stmt></BkToCstmrStmt></Document>"
    return f"{head}{balance('OPBD', opening)}{balance('CLBD', closing)}{entries}{tail}".encode()


def _receive(content: bytes) -> None:
    outcome = import_file.import_from(io.BytesIO(content), name="bench")
    assert outcome.outcome == "imported"


def _references(count: int) -> list[str]:
    rows = sa.text("SELECT reference FROM billing.transfer_invoices ORDER BY id LIMIT :count")
    with engine().connect() as connection:
        return list(connection.scalars(rows, {"count": count}))


#: One statement a day, each with a line and with the balances that link it to the one before.
_STATEMENTS = """
INSERT INTO billing.statements (digest, identity, account, format, family, currency, statement_id,
    sequence, opening_minor, opening_day, closing_minor, closing_day, booked_minor, line_count,
    holds, is_held, recorded_at)
SELECT md5('s' || n)::uuid, md5('i' || n)::uuid, :iban, 'camt.053', 'statement', 'EUR', 'S' || n,
       n::text, (n - 1) * 8900, current_date - CAST(:count AS int) + n - 1,
       n * 8900, current_date - CAST(:count AS int) + n - 1, 8900, 1, '[]', false, now()
FROM generate_series(1, :count) AS n
"""
_LINES = """
INSERT INTO billing.bank_lines (key, account, format, currency, amount_minor, status, booking_date,
                                bank_reference, is_split, pays_nothing)
SELECT md5('l' || n)::uuid, :iban, 'camt.053', 'EUR', 8900, 'BOOK',
       current_date - CAST(:count AS int) + n - 1, 'OLD' || n, true, 'no_amount'
FROM generate_series(1, :count) AS n
"""
_LISTED = """
INSERT INTO billing.statement_lines SELECT md5('s' || n)::uuid, md5('l' || n)::uuid
FROM generate_series(1, :count) AS n
"""


def _seed_statements(count: int) -> None:
    _open(1)
    values: dict[str, object] = {"count": count, "iban": IBAN}
    _run((_STATEMENTS, values), (_LINES, values), (_LISTED, values))


def _one_more_statement() -> None:
    with engine().connect() as connection:
        closing = sa.text("SELECT max(closing_minor) FROM billing.statements")
        opening = connection.execute(closing).scalar_one()
    _receive(_statement(["hello"], number=opening // 8900 + 1, opening=opening))


def _seed_waiting(count: int) -> None:
    """Transfers of one amount that wait for a reviewer, and accounts that owe nothing yet."""
    _open(10)
    _receive(_statement([f"thanks {n}" for n in range(count)]))
    while match.run().counts():
        pass


def _one_more_invoice() -> None:
    with transaction() as ctx:
        issue.announce(ctx, AnnounceTransfer(1, PLAN, "growth-one-more"), currency="EUR")
    match.run()


def _seed_old_invoices(count: int) -> None:
    _open(count // 10)
    _owe(count, each=10, state="paid")
    with transaction() as ctx:
        for account_id in range(1, 11):
            issue.announce(
                ctx, AnnounceTransfer(account_id, PLAN, f"g:{account_id}"), currency="EUR"
            )
    rows = sa.text("SELECT reference FROM billing.transfer_invoices WHERE state = 'open'")
    with engine().connect() as connection:
        references = list(connection.scalars(rows))
    _receive(_statement(["hello"]))
    match.run()  # the first run reads all names
    _receive(_statement(references, number=2, opening=8900))


def _seed_payments(count: int) -> None:
    _open(count)
    _owe(count)
    _receive(_statement(_references(count)))
    _split()


def _seed_undecided(count: int) -> None:
    _open(1)
    _receive(_statement([f"thanks {n}" for n in range(count)]))
    _split()


def _split() -> None:
    from billing.bank import line_ends

    with transaction() as ctx:
        while line_ends.split_lines(ctx):
            pass


_file = io.BytesIO()


def _seed_file(count: int) -> None:
    _open(1)
    _file.seek(0)
    _file.truncate()
    bank_read.write_camt(_file, count)


def _import_file() -> None:
    _file.seek(0)
    outcome = import_file.import_from(_file, name="bench")
    assert outcome.outcome == "imported"


ROWS = (
    Growth("bank_one_more_statement", 30, _seed_statements, _one_more_statement),
    Growth("bank_one_more_invoice", 15, _seed_waiting, _one_more_invoice),
    Growth("bank_match_beside_old_invoices", 3_000, _seed_old_invoices, match.run),
    Growth("bank_settle_transfers", 10, _seed_payments, match.run, grows=True),
    Growth("bank_undecided_transfers", 15, _seed_undecided, match.run, grows=True),
    Growth("bank_import_entries", 1_000, _seed_file, _import_file, grows=True),
)
