"""`billing samples`: plans and accounts like the main app's, for a development database.

The figures are those seen in the main app's production (docs/how-to/existing-database.md); the
free-trial plan is still to be created there.
"""

from decimal import Decimal

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
    made_by_us = session.execute(
        text(
            "SELECT count(*) FROM billing.host_changes"
            " WHERE what = 'created' AND table_name = 'igny8_tenants'"
        )
    ).scalar_one()
    if not made_by_us:
        raise AppsOwnTables
    if session.execute(select(func.count()).select_from(Account)).scalar_one():
        return "There are accounts already; nothing was loaded."
    _load_plans(session)
    for sample in ACCOUNTS:
        load_account(session, sample)
    _load_deductions(session)
    for table in ("igny8_plans", "igny8_tenants"):
        session.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'),"  # noqa: S608 - our names
                f" (SELECT max(id) FROM {table}))"
            )
        )
    return f"Loaded {len(PLANS)} plans and {len(ACCOUNTS)} accounts."


def _load_plans(session: Session) -> None:
    columns = ("id", "slug", "name", "price", "included_credits", "max_sites", "max_users")
    session.execute(
        insert(Plan),
        [
            dict(zip(columns, plan[:7], strict=True), features=plan[7], price=Decimal(plan[3]))
            for plan in PLANS
        ],
    )


def _load_deductions(session: Session) -> None:
    columns = ("account_id", "amount", "balance_after")
    constants = {"type": "deduction", "description": "image_prompt_extraction"}
    rows = [dict(zip(columns, row, strict=True), **constants) for row in DEDUCTIONS]
    session.execute(insert(CreditTransaction), rows)


def load_account(
    session: Session, sample: tuple[int, str, int, int, str, str, str], **columns: object
) -> None:
    """Insert an account and its owner; `columns` are further values of the account."""
    account_id, slug, plan_id, credits, status, email, role = sample
    owner_id = session.execute(
        insert(User)
        .values(email=email, role=role, is_superuser=role == "developer")
        .returning(User.id)
    ).scalar_one()
    session.execute(
        insert(Account).values(
            id=account_id,
            slug=slug,
            name=slug,
            plan_id=plan_id,
            credits=credits,
            status=status,
            owner_id=owner_id,
            billing_email=email,
            **columns,
        )
    )
    session.execute(
        text("UPDATE igny8_users SET tenant_id = :account WHERE id = :user"),
        {"account": account_id, "user": owner_id},
    )
