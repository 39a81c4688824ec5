"""`billing samples`: plans and accounts like the main app's, for a development database.

The figures are those seen in the main app's production (docs/how-to/existing-database.md); the
free-trial plan is still to be created there.
"""

import click
from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from billing.errors import BillingError
from cli.topic import Topic
from models.host import Account, CreditTransaction, Plan, User
from worker.database import transaction

_STARTER = ["ai_writer", "image_gen"]
_GROWTH = [*_STARTER, "auto_publish"]
_SCALE = [*_GROWTH, "custom_prompts"]
#: id, slug, name, price, credits, sites, users, features
PLANS: tuple[tuple[int, str, str, int, int, int, int, list[str]], ...] = (
    (1, "free", "Free Plan", 0, 100, 1, 1, []),
    (2, "starter", "Starter", 89, 1000, 1, 2, _STARTER),
    (4, "growth", "Growth", 139, 2000, 3, 3, _GROWTH),
    (5, "scale", "Scale", 229, 4000, 5, 5, _SCALE),
    (6, "enterprise", "Enterprise Plan", 0, 10000, 20, 10000, [*_SCALE, "unlimited"]),
    (7, "free-trial", "Free Trial", 0, 2000, 1, 1, []),
)
#: id, slug, plan, credits, status, owner's e-mail and role
ACCOUNTS = (
    (29, "home-g8", 2, 8000, "active", "admin@homeg8.com", "owner"),
    (14, "scale-account", 5, 8000, "active", "scale@igny8.com", "owner"),
    (5, "aws-admin", 6, 454, "active", "dev@igny8.com", "developer"),
    (28, "auto-remote", 6, 0, "trial", "auto+remote0003@example.com", "owner"),
    (30, "tacbit", 1, 100, "trial", "payments@tacbit.net", "owner"),
)
#: account, amount, balance after: the latest rows of the main app's own ledger
DEDUCTIONS = ((5, -2, 458), (5, -2, 456), (5, -2, 454))


@click.group(cls=Topic)
def samples() -> None:
    """Load sample plans and accounts into an empty database."""


class AppsOwnTables(BillingError):
    """These tables belong to the main app, so no samples are loaded."""


@samples.command()
@click.option(
    "--unless-the-apps",
    is_flag=True,
    help="Exit 0 if the tables belong to the main app (for billing run).",
)
def load(unless_the_apps: bool) -> None:
    """Load plans and accounts into an empty database; refuse tables of the main app."""
    try:
        with transaction() as ctx:
            message = load_into(ctx.session)
    except AppsOwnTables as error:
        if not unless_the_apps:
            raise
        message = str(error)
    click.echo(f"samples: {message}")


def load_into(session: Session) -> str:
    """Load the samples unless there are accounts; return a sentence about it.

    Raises AppsOwnTables.
    """
    made = "SELECT 1 FROM billing.host_changes WHERE (what, table_name) = ('created', :table)"
    if session.scalar(text(made), {"table": Account.__tablename__}) is None:
        raise AppsOwnTables
    if session.scalar(select(func.count(Account.id))):
        return "There are accounts already; nothing was loaded."
    for id, slug, name, price, credits, sites, users, features in PLANS:
        sold = {"price": price, "included_credits": credits, "features": features}
        session.add(Plan(id=id, slug=slug, name=name, max_sites=sites, max_users=users, **sold))
    session.flush()
    for sample in ACCOUNTS:
        load_account(session, sample)
    constants = {"type": "deduction", "description": "image_prompt_extraction"}
    for account_id, amount, balance in DEDUCTIONS:
        row = {"account_id": account_id, "amount": amount, "balance_after": balance}
        session.execute(insert(CreditTransaction).values(**row, **constants))
    for table in ("igny8_plans", "igny8_tenants"):
        sequence = f"pg_get_serial_sequence('{table}', 'id')"
        session.execute(text(f"SELECT setval({sequence}, max(id)) FROM {table}"))  # noqa: S608
    return f"Loaded {len(PLANS)} plans and {len(ACCOUNTS)} accounts."


def load_account(
    session: Session, sample: tuple[int, str, int, int, str, str, str], **columns: object
) -> None:
    """Insert an account and its owner; `columns` are further values of the account."""
    account_id, slug, plan_id, credits, status, email, role = sample
    owner = User(email=email, role=role, is_superuser=role == "developer")
    session.add(owner)
    session.flush()
    facts = {"slug": slug, "name": slug, "plan_id": plan_id, "credits": credits, "status": status}
    row = Account(id=account_id, owner_id=owner.id, billing_email=email, **facts, **columns)
    session.add(row)
    session.flush()
    owner.account_id = account_id
    session.flush()
