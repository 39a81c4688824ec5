"""Unapplied cash that paid an invoice leaves it again when the transfer that brought it is undone."""

import pytest

from tests.billing.bank.story import line

REVIEWER = "dev@example.com"


@pytest.fixture
def acme(shop):
    """A customer whose first transfer was kept as credit, and then paid the invoice."""
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("89.00", text="thanks", transaction_id="TX-1"))
    shop.act("keep_as_credit", REVIEWER, 1, shop.ids["acme"], reason="hers")
    shop.use_credit(REVIEWER, invoice.id)
    assert shop.invoices("acme") == [("paid", 8900, 8900)]
    return shop


def goes_back(shop, amount="89.00"):
    shop.receive(line(amount, mark="DBIT", reversal=True, transaction_id="TX-1"))


def test_a_return_takes_its_cash_off_the_invoice_and_the_credits_back(acme):
    goes_back(acme)

    assert acme.invoices("acme") == [("open", 0, 8900)]
    assert (acme.credit("acme"), acme.see("acme").credits) == (0, 0)
    assert acme.host()[1] == [("refunded", 8900)]
    acme.check()


def test_a_reviewer_who_undoes_the_transfer_does_the_same(acme):
    acme.act("undo", REVIEWER, 1, reason="not hers")

    assert (acme.invoices("acme"), acme.credit("acme")) == ([("open", 0, 8900)], 0)
    acme.check()


def test_cash_of_another_transfer_keeps_the_invoice_paid(acme):
    acme.receive(line("89.00", text="again", transaction_id="TX-2"))
    acme.act("keep_as_credit", REVIEWER, 2, acme.ids["acme"], reason="hers")

    goes_back(acme)

    assert (acme.invoices("acme"), acme.credit("acme")) == ([("paid", 8900, 8900)], 0)
    acme.check()


def test_of_two_invoices_the_one_that_was_paid_last_is_open_again(acme):
    acme.receive(line("89.00", text="again", transaction_id="TX-2"))
    acme.act("keep_as_credit", REVIEWER, 2, acme.ids["acme"], reason="hers")
    second = acme.announce("acme", key="again")
    acme.use_credit(REVIEWER, second.id)

    goes_back(acme)

    assert acme.invoices("acme") == [("paid", 8900, 8900), ("open", 0, 8900)]
    assert acme.credit("acme") == 0
    acme.check()


def test_a_reopened_invoice_is_paid_again_by_the_next_transfer(acme):
    goes_back(acme)
    acme.receive(line("89.00", reference="RF740000000001", transaction_id="TX-3"))

    assert acme.invoices("acme") == [("paid", 8900, 8900)]
    assert acme.see("acme").credits == 1000
    acme.check()
