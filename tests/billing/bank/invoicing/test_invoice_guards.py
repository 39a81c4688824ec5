"""Each guard of issuing, renewing and ending an invoice, where that guard alone says no."""

import datetime as dt

import pytest
import sqlalchemy as sa

from models.host import Plan, Subscription
from models.transfers import TransferInvoice
from tests.billing.bank.story import OWN_IBAN, line
from worker.database import transaction


@pytest.fixture
def acme(shop):
    """A customer who has paid for March."""
    shop.open_account("acme", status="trial")
    shop.receive(line("89.00", reference=shop.announce("acme").reference))
    return shop


def change(table, **values):
    with transaction() as ctx:
        ctx.session.execute(sa.update(table).values(**values))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"status": "canceled"}, id="cancelled"),
        pytest.param({"status": "unpaid"}, id="unpaid"),
        pytest.param({"cancel_at_period_end": True}, id="cancelled at its end"),
        pytest.param({"payment_method": "stripe"}, id="paid by card"),
        pytest.param({"payment_method": None}, id="paid in no way that we know"),
        pytest.param({"external_payment_id": "legacy-7"}, id="sold by the main app itself"),
        pytest.param({"external_payment_id": None}, id="without an origin"),
    ],
)
def test_a_subscription_that_is_not_a_running_one_of_ours_gets_no_invoice(acme, values):
    change(Subscription, **values)
    acme.go_to(2026, 3, 25)

    assert acme.bill() == []
    assert len(acme.invoices("acme")) == 1


@pytest.mark.parametrize("status", ["cancelled", "trial", "pending_payment"])
def test_an_account_that_is_no_customer_gets_no_invoice(acme, status):
    acme.set_host("acme", status=status)
    acme.go_to(2026, 3, 25)

    assert acme.bill() == []


def test_a_cancelled_bank_customer_is_never_billed_again(acme):
    acme.change_status("acme", "cancelled", reason="requested")
    told = []
    for _ in range(60):
        acme.pass_time(days=1)
        told += acme.bill()

    assert told == []
    assert acme.invoices("acme") == [("paid", 8900, 8900)]


def test_a_suspended_customer_is_billed(acme):
    acme.change_status("acme", "suspended", reason="manual")
    acme.go_to(2026, 3, 25)

    assert acme.bill() == ["renewed"]


@pytest.mark.parametrize("values", [{"is_active": False}, {"price": 0}], ids=["withdrawn", "free"])
def test_a_plan_that_is_not_for_sale_is_not_invoiced(acme, values):
    change(Plan, **values)
    acme.go_to(2026, 3, 25)

    assert acme.bill() == []


def test_an_account_with_an_open_invoice_gets_no_second_one(acme):
    acme.announce("acme", "growth", key="more")
    acme.go_to(2026, 3, 25)

    assert "renewed" not in acme.bill()
    assert len(acme.invoices("acme")) == 2


@pytest.mark.parametrize(("hours", "actions"), [(-1, []), (0, ["renewed"])])
def test_an_invoice_is_sent_at_two_weeks_before_the_end_and_not_earlier(acme, hours, actions):
    acme.go_to(2026, 3, 18)
    acme.pass_time(hours=hours)

    assert acme.bill() == actions


def test_a_renewal_that_was_voided_is_not_sent_again(acme):
    acme.go_to(2026, 3, 25)
    acme.bill()
    change(TransferInvoice, state=sa.case((TransferInvoice.id == 2, "void"), else_="paid"))

    assert acme.bill() == []


def test_a_renewal_is_for_as_many_months_as_the_last(shop):
    shop.open_account("acme", status="trial")
    shop.receive(line("267.00", reference=shop.announce("acme", months=3).reference))
    shop.go_to(2026, 5, 25)

    shop.bill()

    assert shop.invoices("acme")[1] == ("open", 0, 26700)


def test_a_renewal_that_is_late_is_due_today(acme):
    acme.go_to(2026, 4, 10)
    acme.bill()

    with transaction() as ctx:
        due_at = ctx.session.scalar(
            sa.select(TransferInvoice.due_at).where(TransferInvoice.id == 2)
        )
    assert due_at == acme.now


def days(shop, count):
    told = []
    for _ in range(count):
        shop.pass_time(days=1)
        told += shop.bill()
    return told


def test_an_active_customer_whose_first_invoice_is_never_paid_keeps_its_access(shop):
    shop.open_account("acme", status="active")
    shop.announce("acme")
    assert shop.status("acme") == "active"

    days(shop, 50)

    assert (shop.status("acme"), shop.invoices("acme")) == ("active", [("void", 0, 8900)])


def test_an_account_that_was_suspended_by_hand_is_not_cancelled_by_the_schedule(shop):
    shop.open_account("acme", status="active")
    shop.announce("acme")
    shop.change_status("acme", "suspended", reason="manual")

    days(shop, 50)

    assert shop.status("acme") == "suspended"


def test_an_account_that_was_deleted_meanwhile_is_left_alone(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.delete_account("acme")

    told = days(shop, 50)

    assert set(told) == {"rests"}
    assert shop.events("invoice") == ["invoice.issued"]
    assert shop.see("acme").status == "pending_payment"


def test_an_unpaid_renewal_marks_the_subscription_as_unpaid(acme):
    days(acme, 50)

    assert acme.host()[2][0][0] == "unpaid"


def test_a_first_invoice_leaves_a_subscription_that_is_paid_in_another_way(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    with transaction() as ctx:
        ctx.session.execute(
            sa.insert(Subscription).values(
                account_id=shop.ids["acme"],
                status="active",
                payment_method="stripe",
                current_period_start=shop.now,
                current_period_end=shop.now + dt.timedelta(days=365),
            )
        )

    days(shop, 30)

    assert shop.host()[2][0][0] == "active"


def test_a_part_payment_that_a_reviewer_undid_is_not_on_the_queue_twice(shop):
    shop.open_account("acme", status="trial")
    shop.receive(line("50.00", reference=shop.announce("acme").reference))
    shop.act("undo", "dev@example.com", 1, reason="not hers")

    days(shop, 30)

    assert [item.review for item in shop.queue()] == ["undone: not hers"]


def test_an_unpaid_first_invoice_without_money_sends_nothing_to_review(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")

    days(shop, 30)

    assert shop.queue() == []


@pytest.mark.parametrize(
    ("status", "after"),
    [
        ("trial", "pending_payment"),
        ("cancelled", "pending_payment"),
        ("active", "active"),
        ("pending_payment", "pending_payment"),
    ],
)
def test_only_a_trial_or_a_former_customer_waits_for_its_announced_payment(shop, status, after):
    shop.open_account("acme", status=status)

    shop.announce("acme")

    assert shop.status("acme") == after


def test_each_change_of_plan_voids_one_invoice_once(shop):
    shop.sell("scale", 229)
    shop.open_account("acme", status="trial")
    for plan in ("starter", "growth", "scale"):
        shop.announce("acme", plan, key=plan)

    assert [state for state, *_ in shop.invoices("acme")] == ["void", "void", "open"]
    assert shop.events("invoice.void") == ["invoice.void"] * 2


@pytest.mark.parametrize("requested", [{"plan": "growth"}, {"months": 2}])
def test_a_key_stands_for_one_plan_and_number_of_months(shop, requested):
    from billing.errors import KeyReused

    shop.open_account("acme", status="trial")
    shop.announce("acme", key="one")

    with pytest.raises(KeyReused):
        shop.announce(**{"slug": "acme", "key": "one", **requested})


def test_two_accounts_may_announce_under_one_key(shop):
    for slug in ("acme", "beta"):
        shop.open_account(slug, status="trial")
    for slug in ("acme", "beta", "acme", "beta"):
        shop.announce(slug, key="one")

    assert [len(shop.invoices(slug)) for slug in ("acme", "beta")] == [1, 1]


def test_an_invoice_names_our_accounts_of_its_currency_that_take_money_from_all(shop):
    shop.open_account("acme", status="trial")
    shop.bank.register("DE75512108001245126199", customer=shop.ids["acme"])
    shop.bank.register("GB33BUKB20201555555555", currency="USD")

    shop.announce("acme")

    assert shop.event_data("invoice.issued")[0]["pay_to"] == [OWN_IBAN]
