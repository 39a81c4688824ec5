"""Payment by bank transfer: announced, received, matched, and the account is active."""

import pytest

from billing.bank.errors import InvoicePartlyPaid, PlanNotForSale
from billing.errors import AccountDeleted, KeyReused, SystemAccount, UnknownAccount
from tests.billing.bank.customers import Customers
from tests.billing.bank.story import line


def test_an_announced_transfer_makes_an_invoice_with_number_and_reference(shop):
    shop.open_account("acme", status="trial")

    invoice = shop.announce("acme")

    assert (invoice.number, invoice.reference) == ("BT-2026-000001", "RF740000000001")
    assert shop.status("acme") == "pending_payment"
    assert shop.invoices("acme") == [("open", 0, 8900)]
    assert shop.host()[0] == [("BT-2026-000001", "open", 0, 8900)]
    assert shop.events() == ["invoice.issued", "account.awaits_payment"]


def test_money_with_the_reference_activates_the_account_in_one_transaction(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")

    rules = shop.receive(line("89.00", reference=invoice.reference))

    assert rules == ["A1"]
    assert shop.status("acme") == "active"
    assert shop.invoices("acme") == [("paid", 8900, 8900)]
    invoices, payments, subscriptions = shop.host()
    assert invoices == [("BT-2026-000001", "paid", 8900, 8900)]
    assert payments == [("succeeded", 8900)]
    assert [(s[0], s[1], str(s[2])) for s in subscriptions] == [
        ("active", "bank_transfer", "2026-04-01")
    ]
    assert (
        shop.history("acme")
        == """
        plan   +1000   1000
    """
    )
    shop.check()


def test_the_same_statement_again_pays_nothing_twice(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("89.00", reference=invoice.reference))

    for _ in range(3):
        assert shop.match() == []

    assert shop.invoices("acme") == [("paid", 8900, 8900)]
    assert len(shop.decisions()) == 1


def test_three_months_are_three_lots_and_one_period(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme", months=3)
    shop.receive(line("267.00", reference=invoice.reference))

    assert str(shop.host()[2][0][2]) == "2026-06-01"
    assert shop.lots("acme") == {"plan": 1000}


def test_two_parts_pay_an_invoice_and_the_second_activates(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")

    shop.receive(line("50.00", reference=invoice.reference))
    assert (shop.status("acme"), shop.invoices("acme")) == (
        "pending_payment",
        [("open", 5000, 8900)],
    )
    shop.receive(line("39.00", reference=invoice.reference))

    assert (shop.status("acme"), shop.invoices("acme")) == ("active", [("paid", 8900, 8900)])
    shop.check()


def test_too_much_pays_the_invoice_and_the_rest_is_the_customers_credit(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")

    shop.receive(line("100.00", reference=invoice.reference))

    assert (shop.status("acme"), shop.credit("acme")) == ("active", 1100)
    assert "1100 more" in shop.queue()[0].review
    shop.check()


def test_a_second_payment_is_credit_and_never_pays_another_invoice(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("89.00", reference=invoice.reference))
    other = shop.announce("acme", "growth", key="growth")

    rules = shop.receive(line("89.00", reference=invoice.reference, text="again"))

    assert rules == ["D"]
    assert shop.credit("acme") == 8900
    assert other.number == "BT-2026-000002"
    assert shop.invoices("acme")[1] == ("open", 0, 13900)
    shop.check()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        pytest.param({"closing": 1}, "the statement does not add up", id="held"),
        pytest.param({"iban": "DE89370400440532013000"}, "not our account", id="foreign"),
    ],
)
def test_a_held_statement_pays_nothing(shop, wrong, why):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")

    assert shop.receive(line("89.00", reference=invoice.reference), **wrong) == []

    assert shop.invoices("acme") == [("open", 0, 8900)], why


def test_a_notification_pays_nothing_if_statements_count(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")

    shop.receive(
        line("89.00", reference=invoice.reference),
        message="BkToCstmrDbtCdtNtfctn",
        element="Ntfctn",
        version="camt.054.001.08",
    )

    assert shop.transfers() == []
    assert shop.status("acme") == "pending_payment"


def test_a_notification_adds_words_that_the_statement_leaves_out(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(
        line("89.00", reference=invoice.reference, bank_reference="B77"),
        message="BkToCstmrDbtCdtNtfctn",
        element="Ntfctn",
        version="camt.054.001.08",
    )
    shop._closing, shop._number = 0, 0

    assert shop.receive(line("89.00", bank_reference="B77")) == ["A1"]

    assert shop.status("acme") == "active"


def test_an_invoice_that_is_announced_after_the_money_came_is_suggested_and_not_guessed(shop):
    shop.open_account("acme", status="trial")
    shop.receive(line("89.00", text="first month"))
    shop.pass_time(minutes=5)
    shop.announce("acme")

    shop.match()

    assert shop.invoices("acme") == [("open", 0, 8900)]
    assert shop.queue()[0].candidates[0]["parts"] == [[1, 8900]]


def test_the_same_announcement_gets_the_same_invoice(shop):
    shop.open_account("acme", status="trial")

    first, again, other_key = (
        shop.announce("acme"),
        shop.announce("acme"),
        shop.announce("acme", key="another"),
    )

    assert first.id == again.id == other_key.id


def test_another_plan_makes_the_unpaid_invoice_void(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")

    shop.announce("acme", "growth", key="growth")

    assert shop.invoices("acme") == [("void", 0, 8900), ("open", 0, 13900)]
    assert "invoice.void" in shop.events()


def test_another_plan_does_not_replace_an_invoice_that_has_money_on_it(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("50.00", reference=invoice.reference))

    with pytest.raises(InvoicePartlyPaid):
        shop.announce("acme", "growth", key="growth")


@pytest.mark.parametrize(
    ("opened", "asked", "error"),
    [
        pytest.param({}, {"plan": "free"}, PlanNotForSale, id="a plan without a price"),
        pytest.param({"is_deleted": True}, {}, AccountDeleted, id="a deleted account"),
        pytest.param({}, {"slug": "nobody"}, UnknownAccount, id="no account"),
        pytest.param({"slug": "aws-admin"}, {"slug": "aws-admin"}, SystemAccount, id="our own"),
    ],
)
def test_a_plan_that_can_not_be_sold_is_refused(shop, opened, asked, error):
    shop.open_account(**{"slug": "acme", "status": "trial", **opened})

    with pytest.raises(error):
        shop.announce(**{"slug": "acme", **asked})


def test_a_key_stands_for_one_announcement(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme", key="one")

    with pytest.raises(KeyReused):
        shop.announce("acme", "growth", key="one")


def test_a_suspended_customer_who_pays_is_let_in_again(shop):
    shop.open_account("acme", status="trial")
    shop.change_status("acme", "suspended", reason="trial_over")
    invoice = shop.announce("acme")
    assert shop.status("acme") == "suspended"

    shop.receive(line("89.00", reference=invoice.reference))

    assert shop.status("acme") == "active"


def test_a_dispute_keeps_money_from_being_applied(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.change_status("acme", "suspended", reason="dispute")

    shop.receive(line("89.00", reference=invoice.reference))

    assert shop.invoices("acme") == [("open", 0, 8900)]
    assert "dispute" in shop.queue()[0].vetoes[0]


def test_money_for_an_account_that_was_deleted_meanwhile_goes_to_review(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.delete_account("acme")

    shop.receive(line("89.00", reference=invoice.reference))

    assert "AccountDeleted" in shop.queue()[0].review
    assert shop.transfers() == [("waiting", 8900)]


def test_an_account_that_has_nothing_but_notifications_may_recognise_money_from_them(database):
    shop = Customers()
    shop.bank.register(source_format="camt.054")
    shop.sell("starter", 89)
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")

    shop.receive(
        line("89.00", reference=invoice.reference),
        message="BkToCstmrDbtCdtNtfctn",
        element="Ntfctn",
        version="camt.054.001.08",
    )

    assert shop.status("acme") == "active"
