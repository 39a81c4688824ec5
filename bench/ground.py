"""What every bench stands on: accounts with open books, and the audit at the end."""

import random
from collections.abc import Iterator

import sqlalchemy as sa

from billing.support import audit
from billing.usage import post
from billing_client import Debit, new_key
from models.host import Account
from worker.database import AUDIT_S, engine, transaction

ACCOUNTS = 1000
CREDITS = 1_000_000_000
OPERATIONS = ("clustering", "idea_generation", "image_prompt_extraction")


class BooksDisagree(Exception):
    """The figures are worth nothing: debits were lost, doubled or wrongly booked."""


def open_accounts(first: int, *, count: int = ACCOUNTS, with_books: bool = True) -> None:
    """Accounts from this id on, rich; with open books as after an account's first debit."""
    ids = range(first, first + count)
    with engine().begin() as connection:
        there = connection.execute(sa.select(sa.func.count()).where(Account.id.in_(ids))).scalar()
        if there:
            return
        connection.execute(
            sa.insert(Account),
            [
                {"id": id, "name": f"Bench {id}", "slug": f"bench-{id}", "credits": CREDITS}
                for id in ids
            ],
        )
    if with_books:
        with transaction() as ctx:
            firsts = [Debit(id, OPERATIONS[0], new_key()) for id in ids]
            answers = post.apply(ctx, firsts)
            assert all(answer.outcome == "taken" for answer in answers)
    settle()


def settle() -> None:
    """Let Postgres know what it holds, and write it down: no contestant pays for another."""
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))
        connection.execute(sa.text("CHECKPOINT"))


def debits(count: int, *, first: int = 1, accounts: int = ACCOUNTS) -> Iterator[Debit]:
    """Debits with keys in the order of time, spread over the accounts."""
    chance = random.Random(count)
    for _ in range(count):
        account_id = first + chance.randrange(accounts)
        yield Debit(account_id, chance.choice(OPERATIONS), new_key())


def check_books(*, with_chain: bool = True) -> None:
    """Raises BooksDisagree unless every invariant of the audit holds."""
    with transaction(statement_timeout_s=AUDIT_S) as ctx:
        report = audit.run(ctx, with_chain=with_chain)
    if not report.agrees:
        raise BooksDisagree(str({name: found for name, found in report.findings.items() if found}))
