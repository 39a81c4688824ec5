"""Guards on bank money, each alone: what a transfer may pay, whom it makes known, what is undone."""

import pytest
import sqlalchemy as sa

from billing.bank.errors import PartsRefused
from billing.bank.review import queue
from billing.lifecycle import status
from models.host import Plan, Subscription
from models.transfers import Payer, TransferInvoice, UnappliedCash
from tests.billing.bank.story import line
from worker.database import transaction

DEV = "dev@example.com"


@pytest.fixture
def acme(shop):
    """A customer with an open invoice of 89, and that money without a reference."""
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(line("89.00", text="first month"))
    return shop


def change_invoice(**values):
    with transaction() as ctx:
        ctx.session.execute(sa.update(TransferInvoice).values(**values))


def known_payers():
    with transaction() as ctx:
        rows = ctx.session.scalars(sa.select(Payer).order_by(Payer.account_id))
        return [(row.account_id, row.matched, row.confirmed, row.declined) for row in rows]


def test_a_transfer_in_euro_never_pays_an_invoice_in_dollars_by_a_rule(shop):
    shop.open_account("acme", status="trial")
    reference = shop.announce("acme").reference
    change_invoice(currency="USD")

    shop.receive(line("89.00", reference=reference))

    assert shop.transfers() == [("waiting", 8900)]
    assert "is in USD, not EUR" in shop.queue()[0].vetoes[0]


def lifted(shop):
    with transaction() as ctx:
        by_stripe = ctx.at(shop.now).by("stripe")
        status.suspend(by_stripe, shop.ids["acme"], reason="dispute")
        status.lift(by_stripe, shop.ids["acme"], reason="dispute")


def suspended(shop):
    shop.change_status("acme", "suspended", reason="payment_failed")


def of_another(shop):
    shop.open_account("beta", status="active")
    shop.change_status("beta", "suspended", reason="dispute")


@pytest.mark.parametrize("change", [lifted, suspended, of_another])
def test_only_an_open_dispute_of_the_account_keeps_its_money_from_being_applied(shop, change):
    shop.open_account("acme", status="active")
    reference = shop.announce("acme").reference
    change(shop)

    shop.receive(line("89.00", reference=reference))

    assert shop.invoices("acme") == [("paid", 8900, 8900)]


def test_the_figures_of_a_report_name_no_refused_files_where_there_are_none(shop):
    shop.receive(line("89.00", text="hello"))

    with transaction() as ctx:
        kinds = [(figure.kind, figure.count) for figure in queue.figures(ctx.session)]

    assert kinds == [("waiting", 1)]


def test_a_reviewer_cannot_pay_an_invoice_in_dollars_with_euro(acme):
    change_invoice(currency="USD")

    with pytest.raises(PartsRefused, match="is in USD"):
        acme.act("confirm", DEV, 1, [(1, 8900)])


def test_unapplied_euro_never_pay_an_invoice_in_dollars(acme):
    acme.act("keep_as_credit", DEV, 1, acme.ids["acme"], reason="hers")
    change_invoice(currency="USD")

    with pytest.raises(PartsRefused, match="no unapplied cash"):
        acme.use_credit(DEV, 1)


@pytest.mark.parametrize("state", ["void", "refunded"])
def test_a_reviewer_cannot_pay_an_invoice_that_is_closed(acme, state):
    change_invoice(state=state)

    with pytest.raises(PartsRefused, match=f"it is {state}"):
        acme.act("confirm", DEV, 1, [(1, 8900)])
    acme.act("keep_as_credit", DEV, 1, acme.ids["acme"], reason="hers")
    with pytest.raises(PartsRefused, match="not open"):
        acme.use_credit(DEV, 1)


def test_two_parts_for_one_invoice_may_not_be_more_than_is_open(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(line("178.00"))

    with pytest.raises(PartsRefused, match="can't take 8900"):
        shop.act("confirm", DEV, 1, [(1, 8900), (1, 8900)])


def test_the_parts_may_not_be_more_than_the_transfer(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(line("50.00"))

    with pytest.raises(PartsRefused, match="more than the transfer"):
        shop.act("confirm", DEV, 1, [(1, 8900)])


def test_a_rest_of_several_customers_money_belongs_to_nobody(shop):
    for slug in ("acme", "beta"):
        shop.open_account(slug, status="trial")
        shop.announce(slug)
    shop.receive(line("179.00"))

    with pytest.raises(PartsRefused, match="belongs to no account"):
        shop.act("confirm", DEV, 1, [(1, 8900), (2, 8900)])


def test_what_is_undone_twice_is_taken_out_once_each_time(acme):
    for _ in range(2):
        acme.act("confirm", DEV, 1, [(1, 8900)])
        acme.act("undo", DEV, 1, reason="wrong")

    assert (acme.transfers(), acme.invoices("acme")) == ([("waiting", 8900)], [("open", 0, 8900)])
    acme.check()


def test_credit_that_is_undone_leaves_nothing_behind(acme):
    acme.act("keep_as_credit", DEV, 1, acme.ids["acme"], reason="hers")
    acme.act("undo", DEV, 1, reason="not hers")

    assert acme.credit("acme") == 0
    acme.act("confirm", DEV, 1, [(1, 8900)])
    acme.act("undo", DEV, 1, reason="wrong")
    with transaction() as ctx:
        assert len(ctx.session.scalars(sa.select(UnappliedCash)).all()) == 2


@pytest.mark.parametrize(
    ("amount", "known"),
    [("89.00", [(1, 1, 0, 0)]), ("88.00", []), ("90.00", [])],
    ids=["the exact amount", "a part", "more"],
)
def test_only_an_exact_payment_by_reference_makes_its_payer_known(shop, amount, known):
    shop.open_account("acme", status="trial")
    reference = shop.announce("acme").reference

    shop.receive(line(amount, reference=reference))

    assert known_payers() == known


def test_money_for_a_closed_invoice_makes_nobody_known(shop):
    shop.open_account("acme", status="trial")
    reference = shop.announce("acme").reference
    change_invoice(state="void")

    shop.receive(line("89.00", reference=reference))

    assert (shop.credit("acme"), known_payers()) == (8900, [])


def test_a_reviewer_makes_the_payer_known_for_credit_too(acme):
    acme.act("keep_as_credit", DEV, 1, acme.ids["acme"], reason="hers")

    assert known_payers() == [(1, 0, 1, 0)]


def test_a_reviewer_makes_the_payer_known_for_each_customer_it_paid_for(shop):
    for slug in ("acme", "beta"):
        shop.open_account(slug, status="trial")
        shop.announce(slug)
    shop.receive(line("178.00"))

    shop.act("confirm", DEV, 1, [(1, 8900), (2, 8900)])

    assert known_payers() == [(1, 0, 1, 0), (2, 0, 1, 0)]


def test_an_undone_payer_is_declined(acme):
    acme.act("confirm", DEV, 1, [(1, 8900)])
    acme.act("undo", DEV, 1, reason="wrong")

    assert known_payers() == [(1, 0, 1, 1)]


def test_a_part_payment_shows_in_the_main_app(shop):
    shop.open_account("acme", status="trial")
    reference = shop.announce("acme").reference

    shop.receive(line("50.00", reference=reference))

    assert shop.host()[:2] == (
        [("BT-2026-000001", "open", 5000, 8900)],
        [("succeeded", 5000)],
    )
    assert "invoice.paid" not in shop.events()


def test_an_invoice_that_is_paid_already_is_paid_once(acme):
    acme.act("confirm", DEV, 1, [(1, 8900)])
    paid = acme.host()[2]
    acme.pass_time(days=20)

    acme.receive(line("89.00", reference="RF740000000001"))

    assert acme.host()[2] == paid
    assert acme.events("invoice.paid") == ["invoice.paid"]
    assert acme.see("acme").credits == 1000


def test_a_plan_without_credits_is_paid_without_a_lot(shop):
    shop.sell("seats", 89, included_credits=0)
    shop.open_account("acme", status="trial", plan="seats")
    reference = shop.announce("acme", "seats").reference

    shop.receive(line("89.00", reference=reference))

    assert (shop.status("acme"), shop.lots("acme")) == ("active", {})


@pytest.fixture
def renewed(shop):
    """A customer whose second invoice is open, for the month from 1 April."""
    shop.open_account("acme", status="trial")
    shop.receive(line("89.00", reference=shop.announce("acme").reference))
    shop.go_to(2026, 3, 20)
    shop.bill()
    return shop


def period():
    with transaction() as ctx:
        row = ctx.session.scalars(sa.select(Subscription)).one()
        return str(row.current_period_start.date()), str(row.current_period_end.date())


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        pytest.param((2026, 3, 20), ("2026-03-01", "2026-05-01"), id="ahead"),
        pytest.param((2026, 4, 16), ("2026-04-01", "2026-05-01"), id="15 days late"),
        pytest.param((2026, 4, 17), ("2026-04-17", "2026-05-17"), id="later than that"),
    ],
)
def test_a_renewal_begins_with_its_period_unless_it_is_paid_very_late(renewed, day, expected):
    renewed.go_to(*day)

    renewed.receive(line("89.00", reference="RF470000000002"))

    assert period() == expected
    renewed.check()


def test_a_waiting_return_gets_no_decision_by_a_matching_rule(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(line("89.00", mark="DBIT", reversal=True, transaction_id="TX-9"))
    shop.receive(line("5.00", text="thanks"))

    assert [(id, rule) for id, rule, *_ in shop.decisions()] == [(1, "R"), (2, "X")]


def test_a_price_with_parts_of_a_cent_is_not_invoiced(shop):
    with transaction() as ctx:
        price = sa.update(Plan).where(Plan.slug == "starter").values(price="89.01")
        ctx.session.execute(price)
    shop.open_account("acme", status="trial")

    assert shop.announce("acme", months=3).due_minor == 26703
