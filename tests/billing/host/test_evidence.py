"""The payments that settle a dunning case."""

import pytest
from sqlalchemy import insert, select

from billing.host import payment_evidence
from models.host import Invoice
from models.life import DunningCase
from worker.database import transaction


def invoice(ledger, status, *, id=7):
    with transaction() as ctx:
        values = {"account_id": ledger.ids["acme"], "status": status}
        ctx.session.execute(insert(Invoice).values(id=id, **values))


@pytest.mark.parametrize(
    ("case", "about", "payment", "is_settled"),
    [
        ({}, None, {"days": 0}, True),
        ({}, None, {"days": 0, "status": "paid"}, True),
        ({}, None, {"days": 0, "status": "failed"}, False),
        ({}, None, {"days": -1}, False),
        ({}, None, {"days": 0, "slug": "other"}, False),
        ({"invoice_id": 7}, "open", {"days": 0}, False),
        ({"invoice_id": 7}, "paid", {"days": -9}, True),
        ({"invoice_id": 7}, "succeeded", {"days": -9}, True),
        ({"invoice_id": 7}, "void", {"days": 0}, False),
    ],
    ids=str,
)
def test_a_case_is_settled_by_its_invoice_or_by_a_later_payment_where_it_has_none(
    rows, ledger, case, about, payment, is_settled
):
    if about:
        invoice(ledger, about)
    rows.case(**case)
    rows.payment(**payment)

    with transaction() as ctx:
        case_ids = list(ctx.session.scalars(select(DunningCase.id)))
        assert payment_evidence.settled(ctx.session, case_ids) == set(case_ids * is_settled)
