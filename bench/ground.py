"""The common ground of all benches: accounts with a balance, and the audit at the end."""

import random
from collections.abc import Iterator

import sqlalchemy as sa

from billing.usage import post
from billing_client import Debit, new_key
from flows import audit
from models.host import Account, Plan
from worker.database import engine, transaction

ACCOUNTS = 1000
CREDITS = 1_000_000_000
#: The plan of all accounts here.
SLUG = "bench-ground"
OPERATIONS = ("clustering", "idea_generation", "image_prompt_extraction")


class LedgerDisagrees(Exception):
    """The figures are worthless: debits were lost, doubled or booked wrongly."""


def open_accounts(first: int, *, count: int = ACCOUNTS, is_adopted: bool = True) -> None:
    """Create accounts from this id on; `is_adopted`: adopt them too, as a first debit does."""
    ids = range(first, first + count)
    with engine().begin() as connection:
        existing = connection.execute(
            sa.select(sa.func.count()).where(Account.id.in_(ids))
        ).scalar()
        if existing:
            return
        plan_id = _plan(connection)
        # With access: what accounts without it spend is flagged, and is no plain debit.
        has_access = {"credits": CREDITS, "plan_id": plan_id, "status": "active"}
        connection.execute(
            sa.insert(Account),
            [{"id": id, "name": f"Bench {id}", "slug": f"bench-{id}", **has_access} for id in ids],
        )
    if is_adopted:
        with transaction() as ctx:
            firsts = [Debit(id, OPERATIONS[0], new_key()) for id in ids]
            answers = post.apply(ctx, firsts)
            assert all(answer.outcome == "taken" for answer in answers)
    settle()


def _plan(connection: sa.Connection) -> int:
    """Return the id of the benches' plan; create it the first time."""
    of_bench = sa.select(Plan.id).where(Plan.slug == SLUG)
    plan_id = connection.execute(of_bench).scalar()
    if plan_id is not None:
        return plan_id
    values = {"slug": SLUG, "name": "Bench", "price": 0, "included_credits": 0}
    new = sa.insert(Plan).values(**values, max_sites=1, max_users=1).returning(Plan.id)
    return connection.execute(new).scalar_one()


def settle() -> None:
    """Vacuum, analyze and checkpoint, so that no contestant pays for another's work."""
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))
        connection.execute(sa.text("CHECKPOINT"))


def debits(count: int, *, first: int = 1, accounts: int = ACCOUNTS) -> Iterator[Debit]:
    """Yield debits with time-ordered keys, spread over the accounts."""
    chance = random.Random(count)
    for _ in range(count):
        account_id = first + chance.randrange(accounts)
        yield Debit(account_id, chance.choice(OPERATIONS), new_key())


def check_ledger(*, with_chain: bool = True) -> None:
    """Run the audit. Raises LedgerDisagrees unless every invariant holds."""
    report = audit.run(is_full=True, with_chain=with_chain)
    if not report.agrees:
        raise LedgerDisagrees(
            str({check: facts for check, facts in report.findings.items() if facts})
        )
