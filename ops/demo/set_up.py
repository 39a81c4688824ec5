"""What must be known before the jobs begin: customers, our bank account, what a price means."""

from sqlalchemy.orm import Session

from billing.bank import bank_accounts
from billing.stripe import catalog
from ops.demo import accounts, camt053, stripe_event
from worker import clock

STARTER = 2
ACTOR = "operator:demo"


def set_up(session: Session) -> bool:
    """Sign up the demo's customers, and tell the worker what an operator tells it once.

    The second is `billing statements account` and `billing stripe prices link`. False if the
    database has seen a demo before.
    """
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
