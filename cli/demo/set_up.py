"""The state before the jobs begin: sample accounts, our bank account, and the plan of a price."""

from billing.bank.intake import accounts as bank_accounts
from billing.context import Context
from billing.stripe import catalog
from cli import samples
from cli.demo import accounts, camt053, stripe_webhook
from cli.demo.bank_file import STARTER


def set_up(ctx: Context) -> bool:
    """Load the samples, sign up the demo's accounts, and do what an operator does once.

    The operator's part is `billing statements account` and `billing stripe prices link`. Returns
    False if the database has seen a demo before.
    """
    samples.load_into(ctx.session)
    if not accounts.sign_up(ctx):
        return False
    bank_accounts.add(ctx, camt053.IBAN, currency=camt053.CURRENCY, source_format="camt.053")
    catalog.link(ctx, stripe_webhook.PRICE, plan_id=STARTER, credits=None)
    return True
