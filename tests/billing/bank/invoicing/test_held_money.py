"""Before an invoice is dunned, the money that we hold is looked at: cash, parts, open questions."""

import pytest

from billing.bank.errors import NotAllowed, PartsRefused
from billing.bank.review import reviewers, shortfalls
from billing.context import Policy
from tests.billing.bank.story import line
from worker.database import transaction

REVIEWER = "dev@example.com"


@pytest.fixture
def acme(shop):
    """A customer whose first invoice of 89.00 is open."""
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    return shop


def reference_of(shop, slug="acme"):
    return shop.event_data("invoice.issued")[-1]["reference"]


def goes_on(shop, days):
    """Let days pass with the billing of each; returns what was done."""
    done = []
    for _ in range(days):
        shop.pass_time(days=1)
        done += shop.bill()
    return done


def accept(shop, who=REVIEWER, invoice_id=1):
    with transaction() as ctx:
        reviewer = reviewers.reviewer(ctx.session, who)
        return shortfalls.accept(ctx.at(shop.now), reviewer, invoice_id, reason="the bank's fee")


def test_of_a_part_payment_a_reviewer_is_asked_once_and_nobody_is_suspended_meanwhile(acme):
    acme.receive(line("88.85", reference=reference_of(acme)))

    done = goes_on(acme, 60)

    assert acme.status("acme") == "pending_payment"
    assert acme.events("invoice.in_question") == ["invoice.in_question"]
    assert "invoice.expired" not in done
    assert [item.review for item in acme.queue()] == [
        "8885 of 8900 came for BT-2026-000001, and no more"
    ]


def test_once_the_reviewer_has_seen_it_the_schedule_goes_on(acme):
    acme.receive(line("88.85", reference=reference_of(acme)))
    goes_on(acme, 30)

    acme.act("mark_seen", REVIEWER, 1)
    goes_on(acme, 2)

    assert acme.status("acme") in {"suspended", "cancelled"}


def test_a_reviewer_accepts_what_is_missing(acme):
    acme.receive(line("88.85", reference=reference_of(acme)))

    missing = accept(acme)

    assert missing == 15
    assert (acme.invoices("acme"), acme.status("acme")) == ([("paid", 8885, 8900)], "active")
    assert acme.lots("acme") == {"plan": 1000}
    acme.check()


def test_what_is_missing_is_accepted_for_a_part_payment_alone(acme):
    with pytest.raises(PartsRefused):
        accept(acme)


def test_nobody_accepts_a_shortfall_of_the_own_account(acme):
    acme.hire("owner@example.com", owns="acme")
    acme.receive(line("88.85", reference=reference_of(acme)))

    with pytest.raises(NotAllowed):
        accept(acme, who="owner@example.com")


@pytest.mark.parametrize(
    ("tolerance", "came", "state"),
    [(15, "88.85", "paid"), (14, "88.85", "open"), (15, "88.84", "open"), (0, "88.99", "open")],
)
def test_a_plan_accepts_a_shortfall_up_to_its_limit(shop, tolerance, came, state):
    shop.plan("cheap", shortfall_minor=tolerance)
    shop.sell("cheap", 89)
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme", "cheap")

    shop.receive(line(came, reference=invoice.reference))

    assert shop.invoices("acme")[0][0] == state
    shop.check()


def test_a_shortfall_that_was_accepted_is_open_again_when_the_money_is_returned(acme):
    acme.receive(line("88.85", reference=reference_of(acme)))
    accept(acme)

    acme.act("undo", REVIEWER, 1, reason="not theirs")

    assert acme.invoices("acme") == [("open", 0, 8900)]
    assert acme.lots("acme") == {}
    acme.check()


def test_unapplied_cash_that_covers_the_next_invoice_pays_it(acme):
    acme.receive(line("178.00", reference=reference_of(acme)))

    acme.go_to(2026, 3, 19)
    done = goes_on(acme, 40)

    assert acme.invoices("acme")[1][:2] == ("paid", 8900)
    assert acme.credit("acme") == 0
    assert acme.status("acme") == "active"
    assert "invoice.paid" in done
    acme.check()


def test_cash_that_does_not_cover_it_stays(acme):
    acme.receive(line("177.00", reference=reference_of(acme)))
    acme.go_to(2026, 3, 19)
    goes_on(acme, 10)

    assert acme.credit("acme") == 8800
    assert acme.invoices("acme")[1][:2] == ("open", 0)


def test_cash_pays_nothing_by_itself_where_the_operator_says_so(acme):
    acme.policy = Policy(uses_unapplied_cash=False)
    acme.receive(line("178.00", reference=reference_of(acme)))
    acme.go_to(2026, 3, 19)
    goes_on(acme, 10)

    assert acme.credit("acme") == 8900


def two_payers_send(shop, reference):
    """Two payers send the whole amount with one reference: a reviewer's to decide."""
    shop.receive(
        line("89.00", reference=reference, payer="Anna Schmidt"),
        line("89.00", reference=reference, payer="Ben", iban="FR1420041010050500013M02606"),
    )


def test_while_transfers_with_the_reference_wait_nobody_is_suspended(acme):
    reference = reference_of(acme)
    two_payers_send(acme, reference)

    goes_on(acme, 60)
    waiting = [item.id for item in acme.queue()]

    assert len(waiting) == 2
    assert acme.status("acme") == "pending_payment"
    assert acme.act("confirm", REVIEWER, waiting[0], [(1, 8900)]) == "done"
    assert acme.status("acme") == "active"


def test_a_transfer_that_a_reviewer_rejected_holds_nothing_up(acme):
    reference = reference_of(acme)
    two_payers_send(acme, reference)
    for item in acme.queue():
        acme.act("reject", REVIEWER, item.id, reason="a test payment")

    goes_on(acme, 50)

    assert acme.status("acme") == "cancelled"


def test_a_strangers_transfer_of_the_same_amount_holds_nothing_up(acme):
    acme.receive(
        line(
            "89.00",
            text="for something else",
            payer="Zebra Unrelated Ltd",
            iban="FR1420041010050500013M02606",
        )
    )

    goes_on(acme, 50)

    assert acme.status("acme") == "cancelled"


def test_while_a_held_statement_names_the_invoice_nobody_is_suspended(acme):
    acme.receive(line("89.00", reference=reference_of(acme)), closing=1)

    goes_on(acme, 40)

    assert acme.status("acme") == "pending_payment"
    assert acme.events("invoice.in_question") == ["invoice.in_question"]


def test_of_a_part_that_came_after_an_answered_question_a_reviewer_is_asked_too(acme):
    two_payers_send(acme, reference_of(acme))
    goes_on(acme, 10)
    for item in acme.queue():
        acme.act("reject", REVIEWER, item.id, reason="a mistake of the payer's")
    acme.receive(line("88.85", reference=reference_of(acme), payer="acme", iban=None))
    assert acme.invoices("acme") == [("open", 8885, 8900)]

    goes_on(acme, 40)

    assert acme.status("acme") == "pending_payment"
    assert "8885 of 8900 came for BT-2026-000001, and no more" in [
        item.review for item in acme.queue()
    ]
