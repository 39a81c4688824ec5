"""What must be known before the jobs begin: customers, our bank account, what a price means."""

from sqlalchemy.orm import Session

from billing.bank.intake import accounts as bank_accounts
from billing.stripe import catalog
from cli import samples
from cli.demo import accounts, camt053, stripe_event
from worker import clock

STARTER = 2
ACTOR = "operator:demo"


def set_up(session: Session) -> bool:
    """Load the samples, sign up the demo's customers, and tell what an operator tells once.

    The last is `billing statements account` and `billing stripe prices link`. False if the
    database has seen a demo before.
    """
    samples.load_into(session)
    if not accounts.sign_up(session):
        return False
    now = clock.now()
    bank_accounts.add(
        session,
        camt053.IBAN,
        currency=camt053.CURRENCY,
        source_format="camt.053",
        actor=ACTOR,
        now=now,
    )
    catalog.link(session, stripe_event.PRICE, plan_id=STARTER, credits=None, actor=ACTOR, now=now)
    return True
