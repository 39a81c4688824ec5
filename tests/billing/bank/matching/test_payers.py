"""The bank accounts that trials are paid from: one trial for each, known by a digest of the IBAN."""

import pytest
from sqlalchemy import select

from billing.lifecycle.trials import fingerprints
from billing.lifecycle.trials import sweeps as trial_sweeps
from models.life import TrialIdentity
from models.operations import OutboxEvent
from models.transfers import TransferInvoice
from tests.billing.bank.story import line
from tests.billing.statements.writing import PAYER_IBAN
from worker.database import transaction

DEV = "dev@example.com"
SEEN = fingerprints.of_iban(PAYER_IBAN).digest


@pytest.fixture
def tried(shop):
    """Two customers whose trials have begun and who announced a transfer."""
    for slug in ("acme", "acme2"):
        shop.open_account(slug, status="trial")
    sweep(shop)
    for slug in ("acme", "acme2"):
        shop.announce(slug)
    return shop


def sweep(shop):
    with transaction() as ctx:
        trial_sweeps.begin_missing(ctx.at(shop.now))


def references():
    with transaction() as ctx:
        rows = select(TransferInvoice.reference).order_by(TransferInvoice.id)
        return list(ctx.session.scalars(rows))


def payers(shop):
    """Who pays from the IBAN."""
    slugs = {account_id: slug for slug, account_id in shop.ids.items()}
    rows = select(TrialIdentity.account_id).where(
        TrialIdentity.kind == "iban", TrialIdentity.digest == SEEN
    )
    with transaction() as ctx:
        return sorted(slugs[account_id] for account_id in ctx.session.scalars(rows))


def test_two_trials_that_are_paid_from_one_account_are_told(tried):
    one, two = references()
    tried.receive(line("89.00", reference=one))
    tried.pass_time(days=1)
    tried.receive(line("89.00", reference=two))
    tried.act("confirm", DEV, 2, [(2, 8900)])  # no rule dares: the payer is known for acme
    sweep(tried)

    with transaction() as ctx:
        rows = select(OutboxEvent.account_id, OutboxEvent.payload)
        told = ctx.session.execute(rows.where(OutboxEvent.type == "trial.repeated")).all()
    said = {"kinds": ["iban"], "accounts": [tried.ids["acme"]], "is_refused": False}
    assert [tuple(each) for each in told] == [(tried.ids["acme2"], said)]
    assert tried.status("acme2") == "active"


def test_a_confirmed_payer_is_known_and_an_undone_payer_is_not(tried):
    tried.receive(line("89.00", text="first month"))
    tried.act("confirm", DEV, 1, [(1, 8900)])
    confirmed = payers(tried)

    tried.act("undo", DEV, 1, reason="it was another's")

    assert (confirmed, payers(tried)) == (["acme"], [])


def test_a_reassigned_payer_belongs_to_the_other_account(tried):
    tried.receive(line("89.00", text="first month"))
    tried.act("confirm", DEV, 1, [(1, 8900)])

    tried.act("reassign", DEV, 1, [(2, 8900)], credit_to=None, reason="mixed up")

    assert payers(tried) == ["acme2"]


def test_money_that_is_kept_as_credit_shows_its_payer_too(tried):
    tried.receive(line("5.00", text="?"))

    tried.act("keep_as_credit", DEV, 1, tried.ids["acme"], reason="hers")

    assert payers(tried) == ["acme"]


def test_a_payer_without_an_iban_is_nobody(tried):
    (one, _) = references()

    tried.receive(line("89.00", reference=one, iban=None))

    assert tried.status("acme") == "active"
    assert payers(tried) == []
