"""The main app's invoices, payments and subscriptions, as we write them."""

import datetime as dt
from dataclasses import replace

import pytest
from sqlalchemy import select

from billing.host import invoices
from billing.host.invoices import MirroredInvoice, MirroredPayment, MirroredSubscription
from models.host import Invoice, Payment, Subscription
from tests.story import NOON
from worker.database import transaction

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def write(ledger):
    """Call a writer of `billing.host.invoices` in a transaction of its own."""
    for slug in ("acme", "other"):
        ledger.open_account(slug)

    def write(writer, rows):
        with transaction() as ctx:
            return getattr(invoices, writer)(ctx.session, rows)

    return write


def all_of(table, *columns):
    with transaction() as ctx:
        rows = select(*[getattr(table, name) for name in columns]).order_by(table.id)
        return [tuple(row) for row in ctx.session.execute(rows)]


def at_stripe(stripe_id="in_1", number="A-1", **changed):
    invoice = MirroredInvoice(1, number, stripe_id, "open", "USD", 8900, 0, NOON, NOON + HOUR)
    return replace(invoice, **changed)


def test_an_invoice_keeps_its_row_and_becomes_what_it_is_now(write):
    first = write("write_of_stripe", [at_stripe()])
    second = write("write_of_stripe", [at_stripe(status="paid", paid_minor=8900, account_id=2)])

    assert first == second
    columns = ("account_id", "number", "status", "paid_minor", "due_at")
    assert all_of(Invoice, *columns) == [(2, "A-1", "paid", 8900, NOON + HOUR)]


def test_of_two_states_of_an_invoice_in_one_batch_the_last_counts(write):
    write("write_of_stripe", [at_stripe(), at_stripe(status="void")])

    assert all_of(Invoice, "stripe_invoice_id", "status") == [("in_1", "void")]


def test_a_number_belongs_to_the_first_invoice_that_has_it(write):
    write("write_of_stripe", [at_stripe("in_1")])

    write(
        "write_of_stripe",
        [
            at_stripe("in_2"),
            at_stripe("in_3", "A-3"),
            at_stripe("in_4", "A-3"),
            at_stripe("in_5", None),
            at_stripe("in_1", status="paid"),
        ],
    )

    assert sorted(all_of(Invoice, "stripe_invoice_id", "number")) == [
        ("in_1", "A-1"),
        ("in_2", None),
        ("in_3", "A-3"),
        ("in_4", None),
        ("in_5", None),
    ]


def payment(external_id="pi_1", **changed):
    made = MirroredPayment(1, None, "stripe", external_id, "succeeded", "USD", 8900, NOON)
    return replace(made, **changed)


def test_a_payment_keeps_the_time_at_which_it_was_first_seen(write):
    write("write_payment", payment())
    write("write_payment", payment(status="refunded", happened_at=NOON + HOUR))

    columns = ("external_payment_id", "status", "happened_at")
    assert all_of(Payment, *columns) == [("pi_1", "refunded", NOON)]


@pytest.mark.parametrize("known", [["ch_1"], ["ch_1", "in_1"], ["in_1", "ch_1"], []])
def test_a_payment_that_was_written_under_other_ids_keeps_its_oldest_row(write, known):
    write("write_payment", payment("in_0"))
    for number, external_id in enumerate(known):
        write("write_payment", payment(external_id, happened_at=NOON + number * HOUR))
    ids = [row[0] for row in all_of(Payment, "id")]

    write("write_payments", [(payment("in_1", happened_at=NOON + 9 * HOUR), ["ch_1", "pi_1"])])

    rows = all_of(Payment, "id", "external_payment_id", "happened_at")
    assert [row[1] for row in rows] == ["in_0", "in_1"]
    assert not known or rows[1] == (ids[1], "in_1", NOON)


def test_no_payments_write_nothing(write):
    write("write_payments", [])

    assert all_of(Payment, "id") == []


def test_an_account_has_one_subscription_which_becomes_what_it_is_now(write):
    first = MirroredSubscription(1, "active", "sub_1", NOON, NOON + HOUR, False, "stripe")
    write("write_subscription", first)

    write("write_subscription", replace(first, stripe_id="sub_2", cancels_at_end=True))

    with transaction() as ctx:
        assert invoices.subscription(ctx.session, 1) == replace(
            first, stripe_id="sub_2", cancels_at_end=True
        )
        assert invoices.subscription(ctx.session, 2) is None
        assert invoices.subscription_of(ctx.session, 1) == {
            "status": "active",
            "stripe_id": "sub_2",
            "cancels_at_end": True,
        }
        assert invoices.subscription_of(ctx.session, 2) == {}
    assert len(all_of(Subscription, "id")) == 1


def test_an_invoice_of_stripe_is_found_by_its_own_id_alone(write):
    ids = write("write_of_stripe", [at_stripe("in_1"), at_stripe("in_2", "A-2", status="paid")])

    with transaction() as ctx:
        assert invoices.id_of(ctx.session, "in_2") == ids["in_2"]
        assert invoices.id_of(ctx.session, "in_3") is None
        assert invoices.of_stripe(ctx.session, "in_2")["status"] == "paid"
        assert invoices.of_stripe(ctx.session, "in_3") == {}
