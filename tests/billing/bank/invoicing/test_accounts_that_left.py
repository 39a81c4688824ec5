"""An account that was cancelled or deleted is not reminded of its invoices, nor suspended for them."""

import datetime as dt

import pytest
import sqlalchemy as sa

from billing.lifecycle import app_writes
from models.host import Account
from models.transfers import TransferInvoice
from tests.billing.bank.story import line
from worker.database import transaction


@pytest.fixture
def acme(shop):
    """A customer whose first invoice of 89.00 is open, and who waits for nothing else."""
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    return shop


@pytest.fixture
def payer(acme):
    """A customer who has paid for March, and whose invoice for April is open."""
    acme.receive(line("89.00", reference=reference_of(acme)))
    acme.go_to(2026, 3, 20)
    assert acme.bill() == ["renewed"]
    return acme


def reference_of(shop):
    return shop.event_data("invoice.issued")[-1]["reference"]


def goes_on(shop, days):
    """Let days pass with the billing of each; returns what was done."""
    done = []
    for _ in range(days):
        shop.pass_time(days=1)
        done += shop.bill()
    return done


def by_the_app(shop):
    shop.set_host("acme", status="cancelled")


def by_an_order(shop):
    shop.change_status("acme", "cancelled", reason="requested")


def for_good(shop):
    """Delete the account; it can no longer be restored."""
    ago = shop.now - dt.timedelta(days=1)
    shop.set_host("acme", is_deleted=True, deleted_at=ago, restore_until=ago)


LEAVES = pytest.mark.parametrize("leave", [by_the_app, by_an_order, for_good])


def due_days(shop):
    with transaction() as ctx:
        rows = sa.select(TransferInvoice.due_at).order_by(TransferInvoice.id)
        return [due_at.date() for due_at in ctx.session.scalars(rows)]


@LEAVES
def test_the_first_invoice_of_an_account_that_leaves_is_void_and_nobody_is_reminded(acme, leave):
    leave(acme)

    assert acme.bill() == ["invoice.void"]
    assert goes_on(acme, 60) == []

    assert acme.invoices("acme") == [("void", 0, 8900)]
    assert acme.events("invoice") == ["invoice.issued", "invoice.void"]
    assert acme.host()[0] == [("BT-2026-000001", "void", 0, 8900)]


@LEAVES
def test_the_renewal_of_an_account_that_leaves_is_void_and_it_is_not_suspended_for_it(payer, leave):
    leave(payer)

    assert payer.bill() == ["invoice.void"]
    assert goes_on(payer, 60) == []

    assert [state for state, *_ in payer.invoices("acme")] == ["paid", "void"]
    assert "invoice.reminder" not in payer.events("invoice")


@LEAVES
def test_an_invoice_that_is_paid_in_part_ends_its_steps_and_a_reviewer_is_asked(payer, leave):
    payer.receive(line("40.00", reference=reference_of(payer)))
    leave(payer)

    assert payer.bill() == ["set aside"]
    assert goes_on(payer, 60) == []

    assert payer.invoices("acme")[1] == ("open", 4000, 8900)
    [item] = payer.queue()
    assert item.review == "4000 of 8900 came for BT-2026-000002, and the account has left"


def test_unapplied_cash_does_not_bring_a_cancelled_account_back(payer):
    payer.receive(line("139.00", reference=payer.event_data("invoice.issued")[0]["reference"]))
    assert payer.credit("acme") == 13900
    by_the_app(payer)

    goes_on(payer, 30)

    assert (payer.status("acme"), payer.credit("acme")) == ("cancelled", 13900)


@LEAVES
def test_money_that_waits_for_a_reviewer_keeps_the_invoice_until_it_is_decided(acme, leave):
    acme.receive(line("20000.00", reference=reference_of(acme)))
    assert len(acme.queue()) == 1
    leave(acme)

    assert acme.bill() == ["invoice.in_question"]
    assert set(goes_on(acme, 30)) == {"invoice.in_question"}
    assert acme.events("invoice.in_question") == ["invoice.in_question"]
    assert acme.invoices("acme") == [("open", 0, 8900)]

    acme.act("reject", "dev@example.com", 1, reason="not theirs")
    assert goes_on(acme, 1) == ["invoice.void"]


def test_an_account_that_a_missed_invoice_cancelled_keeps_it_open_for_late_money(payer):
    goes_on(payer, 45)
    assert payer.status("acme") == "cancelled"

    assert goes_on(payer, 10) == []
    payer.receive(line("89.00", reference=reference_of(payer)))

    assert payer.invoices("acme")[1] == ("paid", 8900, 8900)
    assert payer.status("acme") == "active"


def test_a_cancelled_customer_who_comes_back_gets_a_new_invoice_for_the_period(payer):
    by_the_app(payer)
    payer.bill()
    payer.pass_time(days=1)
    payer.set_host("acme", status="active")
    payer.sweep(app_writes.sweep)

    assert goes_on(payer, 1) == ["renewed"]
    payer.receive(line("89.00", reference=reference_of(payer)))

    assert [state for state, *_ in payer.invoices("acme")] == ["paid", "void", "paid"]
    assert str(payer.host()[2][0][2]) == "2026-05-01"


def test_the_schedule_of_a_deleted_account_rests_and_goes_on_when_it_is_restored(payer):
    until = payer.now + dt.timedelta(days=60)
    payer.set_host("acme", is_deleted=True, deleted_at=payer.now, restore_until=until)

    assert set(goes_on(payer, 40)) == {"rests"}
    assert payer.events("invoice") == ["invoice.issued", "invoice.paid", "invoice.issued"]
    payer.set_host("acme", is_deleted=False, deleted_at=None, restore_until=None)
    done = goes_on(payer, 40)

    steps = ["invoice.reminder", "invoice.due", "invoice.overdue", "invoice.expired"]
    assert done == [*steps, "invoice.written_off"]
    assert due_days(payer)[1] > dt.date(2026, 4, 30)


def test_a_deleted_account_that_is_never_restored_ends_with_a_void_invoice(payer):
    until = payer.now + dt.timedelta(days=30)
    payer.set_host("acme", is_deleted=True, deleted_at=payer.now, restore_until=until)

    done = goes_on(payer, 60)

    assert set(done) == {"rests", "invoice.void"}
    assert done[-1] == "invoice.void"
    assert payer.invoices("acme")[1] == ("void", 0, 8900)


def test_nobody_is_reminded_of_an_invoice_whose_account_is_gone(payer):
    with transaction() as ctx:
        ctx.session.execute(sa.text("ALTER TABLE igny8_tenants DISABLE TRIGGER ALL"))
        ctx.session.execute(sa.delete(Account).where(Account.slug == "acme"))
        ctx.session.execute(sa.text("ALTER TABLE igny8_tenants ENABLE TRIGGER ALL"))

    assert set(goes_on(payer, 60)) <= {"rests"}
    assert "invoice.reminder" not in payer.events("invoice")


@pytest.mark.parametrize("status", ["active", "suspended", "pending_payment"])
def test_an_account_that_has_not_left_is_reminded_as_before(payer, status):
    payer.set_host("acme", status=status)

    assert goes_on(payer, 14)[0] == "invoice.reminder"
