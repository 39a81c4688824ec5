"""The audit finds bank money whose counters are not the sum of its movements."""

import pytest
import sqlalchemy as sa

from models.transfers import Transfer, TransferInvoice
from tests.billing.bank.story import line
from worker.database import transaction


@pytest.fixture
def acme(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("100.00", reference=invoice.reference))
    return shop


def test_money_that_was_matched_agrees(acme):
    assert acme.audit().findings["transfers"] == []


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        pytest.param(sa.update(Transfer).values(allocated_minor=1), "transfer 1", id="allocated"),
        pytest.param(sa.update(Transfer).values(credited_minor=0), "transfer 1", id="credited"),
        pytest.param(
            sa.update(TransferInvoice).values(settled_minor=1), "invoice BT-2026-000001", id="paid"
        ),
    ],
)
def test_a_counter_that_was_changed_by_hand_is_found(acme, change, subject):
    with transaction() as ctx:
        ctx.session.execute(change)

    assert [found for found, _ in acme.audit().findings["transfers"]] == [subject]
