"""Guards on unapplied cash and on what a payment buys, each alone."""

import datetime as dt

import pytest
import sqlalchemy as sa

from billing.bank.review import decisions
from billing.host import accounts
from models.purchases import Purchase
from models.transfers import TransferInvoice, UnappliedCash
from tests.billing.bank.invoicing.test_held_money import accept
from tests.billing.bank.story import line
from worker.database import transaction

REVIEWER = "dev@example.com"


@pytest.fixture
def acme(shop):
    """A customer with an open invoice of 89.00."""
    shop.open_account("acme", status="trial")
    shop.invoice = shop.announce("acme")
    return shop


def holds_cash(shop, amount, currency):
    with transaction() as ctx:
        values = {"currency": currency, "amount_minor": amount, "why": "kept"}
        account = {"account_id": shop.ids["acme"], "recorded_at": shop.now}
        decision = sa.select(sa.func.max(UnappliedCash.decision_id)).scalar_subquery()
        ctx.session.execute(
            sa.insert(UnappliedCash).values(**values, **account, decision_id=decision)
        )


def test_a_return_in_euro_leaves_an_invoice_that_dollars_paid(acme):
    acme.receive(line("89.00", text="thanks", transaction_id="TX-1"))
    acme.act("keep_as_credit", REVIEWER, 1, acme.ids["acme"], reason="hers")
    acme.use_credit(REVIEWER, acme.invoice.id)
    second = acme.announce("acme", key="again")
    with transaction() as ctx:
        values = sa.update(TransferInvoice).where(TransferInvoice.id == second.id)
        ctx.session.execute(values.values(currency="USD"))
    holds_cash(acme, 8900, "USD")
    acme.use_credit(REVIEWER, second.id)

    acme.receive(line("89.00", mark="DBIT", reversal=True, transaction_id="TX-1"))

    assert acme.invoices("acme") == [("open", 0, 8900), ("paid", 8900, 8900)]


def test_a_return_leaves_an_invoice_that_another_customers_cash_paid(acme):
    acme.open_account("beta", status="trial")
    of_beta = acme.announce("beta")
    acme.receive(line("89.00", text="thanks", transaction_id="TX-1"))
    acme.receive(line("89.00", text="too", payer="Zed", iban=None))
    acme.act("keep_as_credit", REVIEWER, 1, acme.ids["acme"], reason="hers")
    acme.act("keep_as_credit", REVIEWER, 2, acme.ids["beta"], reason="theirs")
    acme.use_credit(REVIEWER, acme.invoice.id)
    acme.use_credit(REVIEWER, of_beta.id)

    acme.receive(line("89.00", mark="DBIT", reversal=True, transaction_id="TX-1"))

    assert acme.invoices("acme") == [("open", 0, 8900)]
    assert acme.invoices("beta") == [("paid", 8900, 8900)]
    acme.check()


def test_cash_moves_only_under_the_lock_of_its_account(acme):
    acme.receive(line("89.00", text="thanks"))

    with transaction() as ctx:
        accounts.lock(ctx.session, [acme.ids["acme"]])
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"), transaction() as other:
            other.session.execute(sa.text("SET LOCAL lock_timeout = 1"))
            review = acme.review(other, REVIEWER, 1)
            decisions.keep_as_credit(review, acme.ids["acme"], reason="hers")


def purchase():
    with transaction() as ctx:
        row = ctx.session.scalars(sa.select(Purchase)).one()
        return row.price_minor, row.currency


def test_what_was_bought_has_the_price_and_currency_of_its_invoice_though_a_part_was_waived(acme):
    acme.receive(line("88.00", reference=acme.invoice.reference))
    accept(acme)

    assert purchase() == (8900, "EUR")


def test_a_part_that_comes_back_takes_its_share_of_the_credits(acme):
    acme.receive(line("44.50", reference=acme.invoice.reference, transaction_id="TX-1"))
    acme.receive(line("44.50", reference=acme.invoice.reference, transaction_id="TX-2", iban=None))
    assert acme.see("acme").credits == 1000

    acme.receive(line("44.50", mark="DBIT", reversal=True, transaction_id="TX-2"))

    assert acme.invoices("acme") == [("open", 4450, 8900)]
    assert acme.see("acme").credits == 500


def test_what_is_shown_to_the_app_of_a_payment_that_came_back_is_its_amount(acme):
    acme.receive(line("50.00", reference=acme.invoice.reference, transaction_id="TX-1"))
    acme.receive(line("50.00", mark="DBIT", reversal=True, transaction_id="TX-1"))

    assert acme.host()[:2] == ([("BT-2026-000001", "open", 0, 8900)], [("refunded", 5000)])


def test_a_paid_invoice_takes_no_step_and_a_returned_one_begins_anew_in_a_week(acme):
    acme.receive(line("89.00", reference=acme.invoice.reference, transaction_id="TX-1"))
    assert invoice().next_step_at is None
    assert invoice().finished_at == acme.now

    acme.receive(line("89.00", mark="DBIT", reversal=True, transaction_id="TX-1"))

    assert invoice().due_at == acme.now + dt.timedelta(days=7)
    assert (invoice().finished_at, invoice().steps_done) == (None, 1)
    assert invoice().next_step_at == invoice().due_at


def invoice():
    with transaction() as ctx:
        return ctx.session.scalars(sa.select(TransferInvoice)).first()


def test_a_payment_with_cash_is_one_payment_in_the_app_though_it_is_undone(acme):
    acme.receive(line("89.00", text="thanks", transaction_id="TX-1"))
    acme.act("keep_as_credit", REVIEWER, 1, acme.ids["acme"], reason="hers")
    acme.use_credit(REVIEWER, acme.invoice.id)
    assert acme.host()[1] == [("succeeded", 8900)]

    acme.act("undo", REVIEWER, 1, reason="not hers")

    assert acme.host()[1] == [("refunded", 8900)]
