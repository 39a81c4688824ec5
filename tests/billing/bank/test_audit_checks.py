"""The audit finds bank money whose counters are not the sum of its movements."""

import pytest
import sqlalchemy as sa

from models.purchases import Purchase
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


def test_a_purchase_by_bank_knows_its_price(acme):
    with transaction() as ctx:
        columns = sa.select(Purchase.price_minor, Purchase.currency)
        assert ctx.session.execute(columns).one() == (8900, "EUR")


def test_a_bank_invoice_that_was_paid_and_gave_nothing_is_found(acme):
    with transaction() as ctx:
        ctx.session.execute(sa.delete(Purchase))

    (facts,) = [facts for _, facts in acme.audit().findings["bank_without_credits"]]
    assert (facts["payment"], facts["kept_minor"]) == ("BT-2026-000001", 8900)


def test_credits_of_a_returned_transfer_that_were_not_taken_back_are_found(acme):
    with transaction() as ctx:
        half_is_left = sa.update(TransferInvoice).values(state="open", due_minor=17_800)
        ctx.session.execute(half_is_left)

    (facts,) = [facts for _, facts in acme.audit().findings["unpaid_credits"]]
    assert (facts["payment"], facts["credits_too_many"]) == ("billing:invoice:BT-2026-000001", 500)
