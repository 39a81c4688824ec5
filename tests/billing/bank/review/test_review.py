"""Review: staff alone decide, never about their own account, once; undone by counter-entries."""

import threading

import pytest
import sqlalchemy as sa

from billing.bank.errors import (
    NotAllowed,
    NothingToUndo,
    PartsRefused,
    TransferChanged,
    UnknownInvoice,
    UnknownTransfer,
)
from billing.bank.matching.types import MatchingPolicy
from billing.errors import UnknownAccount
from models.transfers import Payer, RefundRequest
from tests.billing.bank.story import line
from worker.database import transaction

DEV, SECOND = "dev@example.com", "second@example.com"


@pytest.fixture
def acme(shop):
    """A customer with an open invoice, and its money without a reference."""
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(line("89.00", text="first month"))
    return shop


def test_confirming_pays_the_invoice_and_lets_the_account_in(acme):
    assert acme.act("confirm", DEV, 1, [(1, 8900)]) == "done"

    assert (acme.status("acme"), acme.invoices("acme")) == ("active", [("paid", 8900, 8900)])
    assert acme.queue() == []
    assert acme.decisions()[-1] == (1, "person", "settle", "user:1")
    acme.check()


def test_a_confirmed_payer_is_known_the_next_time(acme):
    acme.act("confirm", DEV, 1, [(1, 8900)])
    acme.announce("acme", key="next")

    assert acme.receive(line("89.00", text="second month")) == ["S1"]

    assert acme.match(MatchingPolicy(trust_after=1)) == []
    acme.pass_time(minutes=1)
    acme.open_account("other", status="trial")
    acme.announce("other", "growth")
    assert acme.match(MatchingPolicy(trust_after=1)) == ["S1"]
    assert acme.invoices("acme")[1] == ("paid", 8900, 8900)


def test_a_transfer_that_waits_for_review_is_announced_once(acme):
    acme.pass_time(minutes=1)
    acme.open_account("other", status="trial")
    acme.announce("other")  # one more candidate: the suggestion is written anew

    acme.match()

    [told] = acme.event_data("transfer.needs_review")
    assert told | {"why": ""} == {
        "transfer_id": 1,
        "currency": "EUR",
        "amount_minor": 8900,
        "version": 2,
        "rule": "S4",
        "why": "",
    }
    assert told["why"] and acme.queue()[0].version == 3


def test_a_settled_or_rejected_transfer_requests_no_review(shop):
    shop.open_account("acme", status="trial")
    reference = shop.announce("acme").reference
    shop.receive(line("89.00", text=reference))

    shop.act("undo", DEV, 1, reason="not theirs")

    assert shop.transfers() == [("waiting", 8900)]
    assert shop.event_data("transfer.needs_review") == []


@pytest.mark.parametrize(
    "who",
    [
        pytest.param({"role": "admin"}, id="an admin"),
        pytest.param({"role": "owner"}, id="an owner"),
        pytest.param({"role": "viewer"}, id="a viewer"),
        pytest.param({"role": "system_bot"}, id="automation"),
        pytest.param({"account": "acme"}, id="a developer of the account itself"),
        pytest.param({"owns": "acme"}, id="a developer who owns it"),
        pytest.param({"role": "owner", "superuser": True, "owns": "acme"}, id="a superuser's own"),
    ],
)
def test_a_user_who_may_not_decide_is_refused(acme, who):
    acme.hire("x@example.com", **who)

    with pytest.raises(NotAllowed):
        acme.act("confirm", "x@example.com", 1, [(1, 8900)])

    assert acme.invoices("acme") == [("open", 0, 8900)]


def test_only_a_user_of_the_main_app_decides(acme):
    with pytest.raises(NotAllowed):
        acme.act("confirm", "nobody@example.com", 1, [(1, 8900)])


def test_a_superuser_may_decide(acme):
    acme.hire("x@example.com", role="viewer", superuser=True)

    assert acme.act("confirm", "x@example.com", 1, [(1, 8900)]) == "done"


def test_a_transfer_that_has_changed_since_is_looked_at_again(acme):
    acme.act("reject", DEV, 1, reason="not theirs", version=2)

    with pytest.raises(TransferChanged):
        acme.act("confirm", SECOND, 1, [(1, 8900)], version=2)


def test_two_reviewers_at_once_decide_once(acme):
    outcomes = []

    def decide(who):
        try:
            outcomes.append(acme.act("confirm", who, 1, [(1, 8900)], version=2))
        except TransferChanged:
            outcomes.append("changed")

    threads = [threading.Thread(target=decide, args=(who,)) for who in (DEV, SECOND)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["changed", "done"]
    acme.check()


def test_above_the_limit_two_must_want_the_same(acme):
    first = acme.act("confirm", DEV, 1, [(1, 8900)], limit=8899)
    again = acme.act("confirm", DEV, 1, [(1, 8900)], limit=8899)
    assert (first, again) == ("waits for a second person",) * 2
    assert acme.invoices("acme") == [("open", 0, 8900)]

    assert acme.act("confirm", SECOND, 1, [(1, 8900)], limit=8899) == "done"

    assert acme.invoices("acme") == [("paid", 8900, 8900)]


def test_a_second_reviewer_with_another_request_starts_over(acme):
    acme.act("confirm", DEV, 1, [(1, 8900)], limit=8899)

    other = acme.act("keep_as_credit", SECOND, 1, acme.ids["acme"], reason="later", limit=8899)

    assert other == "waits for a second person"
    assert acme.act("confirm", SECOND, 1, [(1, 8900)], limit=8899) == "waits for a second person"
    assert acme.act("confirm", DEV, 1, [(1, 8900)], limit=8899) == "done"


def test_a_transfer_is_split_over_invoices_of_several_customers(shop):
    for slug in ("acme", "beta"):
        shop.open_account(slug, status="trial")
        shop.announce(slug)
    shop.receive(line("178.00", text="for both"))

    shop.act("confirm", DEV, 1, [(1, 8900), (2, 8900)])

    assert (shop.status("acme"), shop.status("beta")) == ("active", "active")
    shop.check()


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        pytest.param([(1, 8901)], PartsRefused, id="more than the transfer"),
        pytest.param([(1, 0)], PartsRefused, id="nothing"),
        pytest.param([(1, -1)], PartsRefused, id="less than nothing"),
        pytest.param([(99, 8900)], UnknownInvoice, id="an invoice that is not there"),
        pytest.param([], PartsRefused, id="no invoice and nobody's credit"),
    ],
)
def test_parts_that_do_not_fit_change_nothing(acme, parts, error):
    with pytest.raises(error):
        acme.act("confirm", DEV, 1, parts)

    assert acme.transfers() == [("waiting", 8900)]
    acme.check()


def test_a_part_leaves_the_rest_as_the_customers_credit(acme):
    acme.act("confirm", DEV, 1, [(1, 5000)])

    assert (acme.invoices("acme"), acme.credit("acme")) == ([("open", 5000, 8900)], 3900)


def test_credit_is_kept_and_pays_the_next_invoice_only_when_a_reviewer_decides_so(acme):
    acme.act("keep_as_credit", DEV, 1, acme.ids["acme"], reason="no invoice yet")
    acme.pass_time(minutes=1)
    acme.match()
    assert (acme.invoices("acme"), acme.credit("acme")) == ([("open", 0, 8900)], 8900)

    assert acme.use_credit(DEV, 1) == 8900

    assert (acme.status("acme"), acme.credit("acme")) == ("active", 0)
    acme.check()


def test_credit_that_is_not_there_pays_nothing(acme):
    with pytest.raises(PartsRefused):
        acme.use_credit(DEV, 1)


def test_credit_for_an_account_that_is_not_there_is_refused(acme):
    with pytest.raises(UnknownAccount):
        acme.act("keep_as_credit", DEV, 1, 999, reason="typo")


def test_undoing_reopens_the_invoice_and_the_engine_leaves_it_alone(acme):
    acme.act("confirm", DEV, 1, [(1, 8900)])

    acme.act("undo", DEV, 1, reason="wrong customer")
    acme.pass_time(minutes=1)
    acme.match()

    assert acme.invoices("acme") == [("open", 0, 8900)]
    assert acme.transfers() == [("waiting", 8900)]
    assert "wrong customer" in acme.queue()[0].review
    acme.check()


def test_a_rules_decision_can_be_undone_and_reassigned(shop):
    for slug in ("acme", "beta"):
        shop.open_account(slug, status="trial")
    wrong, right = shop.announce("acme"), shop.announce("beta")
    shop.receive(line("89.00", reference=wrong.reference))

    shop.act("reassign", DEV, 1, [(right.id, 8900)], credit_to=None, reason="payer erred")

    assert shop.invoices("acme") == [("open", 0, 8900)]
    assert (shop.status("beta"), shop.invoices("beta")) == ("active", [("paid", 8900, 8900)])
    shop.check()


def test_undoing_an_unapplied_transfer_is_refused(acme):
    with pytest.raises(NothingToUndo):
        acme.act("undo", DEV, 1, reason="why not")


def test_confirming_a_settled_transfer_is_refused(acme):
    acme.act("confirm", DEV, 1, [(1, 8900)])

    with pytest.raises(PartsRefused, match="undo"):
        acme.act("confirm", DEV, 1, [(1, 8900)])


def test_a_transfer_that_is_not_there_is_said_so(acme):
    with pytest.raises(UnknownTransfer):
        acme.act("ignore", DEV, 99, reason="x", version=1)


@pytest.mark.parametrize(
    ("act", "state"),
    [("ignore", "ignored"), ("mark_duplicate", "duplicate"), ("reject", "waiting")],
)
def test_a_transfer_that_pays_nothing_leaves_the_queue_with_its_reason(acme, act, state):
    acme.act(act, DEV, 1, reason="because")

    assert acme.transfers() == [(state, 8900)]
    assert acme.invoices("acme") == [("open", 0, 8900)]
    acme.pass_time(minutes=1)
    assert acme.match() == []


def test_a_rejected_suggestion_is_remembered_against_the_payer(acme):
    acme.act("reject", DEV, 1, reason="not theirs")

    with transaction() as ctx:
        assert [one.declined for one in ctx.session.scalars(sa.select(Payer))] == [1]


def test_a_rules_decision_is_marked_as_seen(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("100.00", reference=invoice.reference))

    shop.act("mark_seen", DEV, 1)

    assert shop.queue() == []


def test_a_refund_is_asked_for_and_never_sent(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("100.00", reference=invoice.reference))

    shop.act("request_refund", DEV, 1, 1100, reason="paid too much")

    with transaction() as ctx:
        [asked] = ctx.session.scalars(sa.select(RefundRequest))
    assert (asked.amount_minor, asked.actor) == (1100, "user:1")
    assert shop.credit("acme") == 1100
    assert "transfer.refund_requested" in shop.events()


def test_a_refund_of_more_than_is_on_no_invoice_is_refused(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("100.00", reference=invoice.reference))

    with pytest.raises(PartsRefused):
        shop.act("request_refund", DEV, 1, 1101, reason="all of it")


@pytest.mark.parametrize("table", ["transfer_decisions", "allocations", "unapplied_cash"])
@pytest.mark.parametrize("act", ["UPDATE {} SET recorded_at = now()", "DELETE FROM {}"])
def test_a_movement_of_money_is_never_changed(acme, table, act):
    statement = act.format(f"billing.{table}").replace(
        "recorded_at", "decided_at" if table == "transfer_decisions" else "recorded_at"
    )

    with pytest.raises(sa.exc.InternalError, match="never changed"), transaction() as ctx:
        ctx.session.execute(sa.text(statement))
