"""Runs of the matching: a returned payment that comes again, and runs that change nothing."""

import datetime as dt

import pytest
import sqlalchemy as sa

from billing.bank import decide
from billing.bank.matching import rows
from billing.bank.matching.types import MatchingPolicy
from flows.bank import match as bank_match
from models.transfers import Decision, MatchingMark, Transfer
from tests.billing.bank.story import line
from worker.database import transaction

DEV = "dev@example.com"


def payment(reference, **more):
    return line("89.00", **{"reference": reference, "transaction_id": "TX-1"} | more)


def versions():
    with transaction() as ctx:
        return list(ctx.session.scalars(sa.select(Transfer.version).order_by(Transfer.id)))


def decisions_made():
    with transaction() as ctx:
        return ctx.session.scalar(sa.select(sa.func.count()).select_from(Decision))


def test_a_customer_whose_payment_came_back_pays_the_same_again_within_days(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(payment(invoice.reference))
    shop.pass_time(days=2)
    shop.receive(line("89.00", mark="DBIT", reversal=True, transaction_id="TX-1"))
    shop.pass_time(days=3)

    rules = shop.receive(payment(invoice.reference, transaction_id="TX-2"))

    assert rules == ["A1"]
    assert [state for state, _ in shop.transfers()] == ["reversed", "reverses", "settled"]
    assert shop.invoices("acme") == [("paid", 8900, 8900)]
    assert (shop.queue(), shop.status("acme")) == ([], "active")
    shop.check()


def test_a_part_that_came_back_does_not_count_as_sent_before(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("40.00", reference=invoice.reference, transaction_id="TX-1"))
    shop.receive(line("40.00", mark="DBIT", reversal=True, transaction_id="TX-1"))

    shop.receive(line("40.00", reference=invoice.reference, transaction_id="TX-2"))

    assert shop.invoices("acme") == [("open", 4000, 8900)]


def test_the_same_part_sent_again_waits_for_a_reviewer(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("40.00", reference=invoice.reference, transaction_id="TX-1"))

    shop.receive(line("40.00", reference=invoice.reference, transaction_id="TX-2"))

    assert shop.invoices("acme") == [("open", 4000, 8900)]
    assert "within 10 days" in shop.queue()[0].vetoes[0]


@pytest.fixture
def waiting(shop):
    """Eight customers who owe 89, and three payments of 89 that name nobody."""
    for number in range(8):
        shop.open_account(f"a{number}", status="trial")
        shop.announce(f"a{number}")
    shop.receive(*[line("89.00", text=f"thanks {n}", bank_reference=f"B{n}") for n in range(3)])
    shop.pass_time(minutes=1)
    return shop


def test_one_more_invoice_of_the_amount_writes_no_suggestion_anew(waiting):
    before, made = versions(), decisions_made()
    waiting.open_account("late", status="trial")
    waiting.announce("late")

    assert waiting.match() == ["S4"] * 3

    assert (versions(), decisions_made()) == (before, made)
    assert before == [2, 2, 2]


def test_a_better_candidate_writes_the_suggestion_anew(waiting):
    waiting.open_account("Anna Schmidt", status="trial")
    waiting.announce("Anna Schmidt")

    waiting.match()

    assert versions() == [3, 3, 3]
    assert [item.candidates[0]["parts"] for item in waiting.queue()] == [[[9, 8900]]] * 3


def test_a_new_reason_against_it_writes_the_suggestion_anew(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("89.00", text=f"refund {invoice.reference}"))
    shop.change_status("acme", "suspended", reason="dispute")
    shop.pass_time(minutes=1)
    shop.open_account("late", status="trial")
    shop.announce("late", "growth")

    shop.match()

    assert versions() == [3]
    assert len(shop.queue()[0].vetoes) == 2


def test_a_run_without_a_new_transfer_or_invoice_rests(waiting):
    waiting.open_account("late", status="trial")
    waiting.announce("late")

    assert waiting.match() == ["S4"] * 3
    assert waiting.match() == []

    with transaction() as ctx:
        [mark] = ctx.session.scalars(sa.select(MatchingMark))
        assert (mark.invoices, mark.matched_at) == (9, waiting.now)


def test_the_run_of_the_task_marks_what_it_saw_and_rests(waiting):
    waiting.open_account("late", status="trial")
    waiting.announce("late")

    assert bank_match.run().counts() == {}

    with transaction() as ctx:
        assert ctx.session.scalars(sa.select(MatchingMark.invoices)).one() == 9
        assert decide.decide(ctx.session, policy=MatchingPolicy()).decisions == []


def test_an_invoice_that_is_committed_during_a_run_is_news_for_the_next(waiting):
    with transaction() as ctx:
        seen = decide.decide(ctx.session, policy=MatchingPolicy()).invoices
    waiting.open_account("late", status="trial")
    waiting.announce("late")
    with transaction() as ctx:
        decide.mark(ctx.at(waiting.now), seen)

    assert waiting.match() == ["S4"] * 3


def test_a_transfer_of_a_held_statement_wakes_no_run(waiting):
    held = line("50.00", text="held")

    assert waiting.receive(held, closing=1) == []

    with transaction() as ctx:
        assert len(rows.undecided(ctx.session)) == 3
        assert decide.decide(ctx.session, policy=MatchingPolicy()).decisions == []


def test_a_decision_for_an_older_version_changes_nothing(waiting):
    waiting.open_account("Anna Schmidt", status="trial")
    waiting.announce("Anna Schmidt")
    with transaction() as ctx:
        [decision, *_] = decide.decide(ctx.session, policy=MatchingPolicy()).decisions
    waiting.act("reject", DEV, decision[0].transfer_id, reason="not theirs")

    with transaction() as ctx:
        assert not decide.carry_out(ctx.at(waiting.now + dt.timedelta(1)), *decision)

    assert versions() == [3, 2, 2]
