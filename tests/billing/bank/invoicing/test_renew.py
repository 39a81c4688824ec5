"""Renewal invoices, reminders of unpaid ones, and the end of the schedule."""

import pytest

from tests.billing.bank.story import line


@pytest.fixture
def acme(shop):
    """A customer who has paid for March."""
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("89.00", reference=invoice.reference))
    return shop


def test_the_next_invoice_is_sent_two_weeks_before_the_period_ends(acme):
    acme.go_to(2026, 3, 17)
    assert acme.bill() == []
    acme.go_to(2026, 3, 19)

    assert acme.bill() == ["renewed"]
    assert acme.bill() == []

    assert acme.invoices("acme")[1] == ("open", 0, 8900)


def test_a_renewal_that_is_paid_ahead_goes_on_from_the_periods_end(acme):
    acme.go_to(2026, 3, 20)
    acme.bill()

    acme.receive(line("89.00", reference="RF470000000002"))

    assert acme.invoices("acme")[1] == ("paid", 8900, 8900)
    assert str(acme.host()[2][0][2]) == "2026-05-01"
    assert acme.lots("acme") == {"plan": 1000}
    acme.check()


def test_a_customer_may_pay_for_a_year_month_by_month(acme):
    for month in range(4, 13):
        acme.go_to(2026, month, 1)
        acme.pass_time(days=-10)
        acme.bill()
        [reference] = _open_references(acme)
        acme.receive(line("89.00", reference=reference))

    assert [state for state, *_ in acme.invoices("acme")] == ["paid"] * 10
    assert acme.status("acme") == "active"
    acme.check()


def test_an_unpaid_first_invoice_suspends_by_the_schedule_then_is_void_and_the_account_cancelled(
    shop,
):
    shop.open_account("acme", status="trial")
    shop.announce("acme")

    told = days(shop, 30)

    assert told == ["invoice.reminder", "invoice.due", "invoice.overdue", "invoice.expired"]
    assert (shop.status("acme"), shop.invoices("acme")) == ("suspended", [("open", 0, 8900)])
    assert days(shop, 16) == ["invoice.written_off"]
    assert (shop.status("acme"), shop.invoices("acme")) == ("cancelled", [("void", 0, 8900)])


def test_a_first_invoice_that_is_paid_late_lets_the_suspended_account_in(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    days(shop, 30)

    shop.receive(line("89.00", reference=invoice.reference))

    assert (shop.status("acme"), shop.invoices("acme")) == ("active", [("paid", 8900, 8900)])
    shop.check()


def days(shop, count):
    """What happens about invoices while so many days pass."""
    told = []
    for _ in range(count):
        shop.pass_time(days=1)
        told += shop.bill()
    return told


def test_an_unpaid_renewal_ends_access_and_stays_open_until_it_is_paid(acme):
    for _ in range(50):
        acme.pass_time(days=1)
        acme.bill()
    assert (acme.status("acme"), acme.invoices("acme")[1]) == ("suspended", ("open", 0, 8900))

    acme.receive(line("89.00", reference="RF470000000002"))

    assert (acme.status("acme"), acme.invoices("acme")[1]) == ("active", ("paid", 8900, 8900))
    assert str(acme.host()[2][0][2]) == "2026-05-20"
    acme.check()


def test_a_worker_that_was_away_sends_one_reminder_and_not_all_it_missed(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.pass_time(days=22)

    assert shop.bill() == ["invoice.overdue"]


def test_money_stops_the_reminders(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("89.00", reference=invoice.reference))
    shop.pass_time(days=10)

    assert shop.bill() == []


def test_an_invoice_with_money_on_it_goes_to_review_first_then_ends_access_and_is_never_void(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("50.00", reference=invoice.reference))

    days(shop, 30)

    assert shop.status("acme") == "pending_payment"
    assert "5000 of 8900 came" in shop.queue()[0].review
    shop.act("mark_seen", "dev@example.com", 1)
    days(shop, 1)
    assert (shop.invoices("acme"), shop.status("acme")) == ([("open", 5000, 8900)], "suspended")
    days(shop, 16)
    assert (shop.invoices("acme"), shop.status("acme")) == ([("open", 5000, 8900)], "cancelled")


def test_the_rest_of_an_invoice_that_was_paid_in_part_activates_even_late(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("50.00", reference=invoice.reference))
    days(shop, 50)

    shop.receive(line("39.00", reference=invoice.reference))

    assert (shop.status("acme"), shop.invoices("acme")) == ("active", [("paid", 8900, 8900)])


def test_money_for_an_invoice_that_was_void_is_credit_for_review(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.pass_time(days=50)
    shop.bill()

    shop.receive(line("89.00", reference=invoice.reference))

    assert (shop.credit("acme"), shop.status("acme")) == (8900, "cancelled")
    assert "void" in shop.queue()[0].review


def test_a_payment_that_came_back_is_reminded_of_anew(acme):
    acme.receive(line("89.00", mark="DBIT", reversal=True, bank_reference="B1"))
    acme.act("undo", "dev@example.com", 1, reason="came back")

    told = []
    for _ in range(25):
        acme.pass_time(days=1)
        told += acme.bill()

    assert told == ["invoice.due", "invoice.overdue", "invoice.expired"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"status": "cancelled"}, id="a cancelled account"),
        pytest.param({"is_deleted": True}, id="a deleted account"),
    ],
)
def test_a_former_customer_gets_no_invoice(acme, change):
    acme.set_host("acme", **change)
    acme.go_to(2026, 3, 25)

    assert acme.bill() == []


def test_the_renewal_is_for_the_plan_that_the_account_has_now(acme):
    acme.change_plan("acme", "growth")
    acme.go_to(2026, 3, 25)

    acme.bill()

    assert acme.invoices("acme")[1] == ("open", 0, 13900)


def _open_references(shop):
    import sqlalchemy as sa

    from models.transfers import TransferInvoice
    from worker.database import transaction

    with transaction() as ctx:
        rows = sa.select(TransferInvoice.reference).where(TransferInvoice.state == "open")
        return list(ctx.session.scalars(rows))
