"""The accounts that the main app signs up for the demo."""

import datetime as dt

from billing.context import Context
from billing.host import accounts
from billing.support import overview
from cli import samples

CARD_PAYER, BANK_PAYER = "card-payer", "bank-payer"
TRIAL_OVER, NEW_CUSTOMER = "trial-over", "new-customer"
#: The card payer's customer at Stripe.
CUSTOMER = "cus_demo"
#: Time since the trial of `trial-over` began; a trial lasts 14 days.
TRIAL_AGE = dt.timedelta(days=15)
#: id, slug, plan (7: Free Trial), credits, status, owner's e-mail and role
SIGNED_UP = (
    (101, CARD_PAYER, 7, 0, "trial", "owner@card-payer.example", "owner"),
    (102, BANK_PAYER, 7, 0, "trial", "owner@bank-payer.example", "owner"),
    (103, TRIAL_OVER, 7, 0, "trial", "owner@trial-over.example", "owner"),
    (104, NEW_CUSTOMER, 7, 0, "trial", "owner@new-customer.example", "owner"),
)
IDS = {account[1]: account[0] for account in SIGNED_UP}


def sign_up(ctx: Context) -> bool:
    """Insert the demo's accounts, as the main app does; False if they are there already."""
    if accounts.read(ctx.session, NEW_CUSTOMER) is not None:
        return False
    columns: dict[str, dict[str, object]] = {
        CARD_PAYER: {"stripe_customer_id": CUSTOMER},
        TRIAL_OVER: {"created_at": ctx.now - TRIAL_AGE},
    }
    for account in SIGNED_UP:
        samples.load_account(ctx.session, account, **columns.get(account[1], {}))
    return True


def status_and_credits(ctx: Context, slug: str) -> str:
    """Describe the account, such as `account active, 1,000 credits`."""
    account = overview.of(ctx, slug)
    return f"account {account.status}, {account.credits:,} credits"
