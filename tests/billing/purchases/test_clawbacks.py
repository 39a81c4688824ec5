"""Credits go back with their money: from lots to come first, then unspent ones, then as debt."""

import datetime as dt

import pytest
from sqlalchemy import select

from billing.purchases.money import PurchaseMoney, Return
from models.credits import Hold
from tests.billing.purchases.conftest import APRIL, MARCH, MAY, day
from worker.database import transaction

YEAR = {"ends_at": day(3, 1, year=2027)}


def test_months_to_come_that_are_refunded_leave_no_entry_and_tell_nobody(till, ledger):
    till.buys(**YEAR)

    till.settles(paid=120, returned=60)

    assert ledger.history("acme") == "plan  +1000  1000"
    assert till.events("credits.taken_back") == []
    assert (till.purchase().taken_back, till.purchase().cancelled) == (6000, 6000)


def test_a_clawback_names_the_payment_to_the_ledger_and_to_the_app(till, ledger):
    till.buys()
    till.spends(600)

    till.settles(returned=100)

    entry = ledger.see("acme").entries[-1]
    assert (entry.type, entry.reference) == ("take_back", "in_p")
    assert till.events("credits.taken_back") == [
        {"payment": "in_p", "unspent": 400, "debt": 600, "written_off": 0}
    ]


def test_credits_that_all_lapsed_before_the_refund_are_recorded_and_tell_nobody(till, ledger):
    till.buys()
    ledger.now = APRIL
    ledger.sweep()

    till.settles(returned=100)

    entry = ledger.see("acme").entries[-1]
    assert (entry.type, entry.amount, entry.details["expired"]) == ("take_back", 0, 1000)
    assert till.events("credits.taken_back") == []


def test_unspent_credits_of_a_later_month_pay_before_what_lapsed(till, ledger):
    till.buys(ends_at=MAY)
    ledger.now = APRIL
    ledger.sweep()
    till.gives_due()

    till.settles(returned=50)

    assert ledger.see("acme").credits == 0
    assert "expired" not in ledger.see("acme").entries[-1].details


def test_a_line_too_small_for_a_share_does_not_hold_up_the_other(till, ledger):
    till.buys(key="one", origin="in_1", plan=None, credits=1)
    till.buys(key="many", origin="in_1", plan=None, credits=1000)

    till.settles("one", "many", returned=50)

    assert [remaining for _, remaining, *_ in till.lots()] == [1, 500]


def test_payments_that_are_settled_together_keep_each_its_own_dispute(till, ledger):
    till.buys(key="a")
    till.buys(key="b")
    disputed = {"disputes": {"dp_b": 100}}
    till.settles("b", **disputed)

    for _ in range(2):
        till.settles_all({("a",): {"returned": 10}, ("b",): disputed})

    assert [lot[:3] for lot in till.lots()] == [("plan", 900, 0), ("plan", 1000, 1000)]
    assert ledger.see("acme").held == 1000
    assert ledger.audit().agrees


def test_a_dispute_that_was_answered_and_is_repeated_frees_only_once(till, ledger):
    till.buys()
    for disputes in ({"dp": 50}, {}, {}):
        till.settles(disputes=disputes)

    assert till.lots() == [("plan", 1000, 0, APRIL)]
    assert ledger.audit().agrees


def test_clawbacks_are_undone_from_the_last_to_the_first(till, ledger):
    till.buys()
    for returned in (30, 70, 0):
        till.settles(returned=returned)

    amounts = [entry.amount for entry in ledger.see("acme").entries]
    assert amounts == [1000, -300, -400, 400, 300]


def test_the_keys_of_a_payments_acts_are_those_of_every_version_before(till, ledger):
    till.buys()
    for returned in (30, 0, 20):
        till.settles(returned=returned)
    till.settles(returned=20, disputes={"dp_1": 50})

    (hold,) = ledger.see("acme").holds
    assert [entry.key for entry in ledger.see("acme").entries] == [
        "billing:bought:line:p:1",
        "billing:take-back:line:p:1",
        "billing:take-back-undone:billing:take-back:line:p:1",
        "billing:take-back:line:p:2",
    ]
    assert (hold.key_text, hold.operation) == (
        "billing:dispute:dp_1:line:p",
        f"billing:dispute:{till.purchase().id}",
    )


@pytest.mark.parametrize("disputes", [("dp_a", "dp_b"), ("dp_b", "dp_a")])
def test_two_disputes_freeze_the_same_whichever_came_first(till, ledger, disputes):
    till.buys()

    till.settles(disputes=dict.fromkeys(disputes, 60))

    frozen = {hold.key_text.split(":")[2]: hold.credits for hold in ledger.see("acme").holds}
    assert frozen == {"dp_a": 600, "dp_b": 400}


@pytest.mark.parametrize("spent", [0, 1000], ids=["frozen credits", "nothing left to freeze"])
def test_while_a_payment_is_disputed_its_months_wait_and_come_when_it_is_won(till, ledger, spent):
    till.buys(**YEAR)
    if spent:
        till.spends(spent)
    till.settles(disputes={"dp": 100})
    ledger.now = APRIL
    till.gives_due()
    waiting, holds = till.purchase(), ledger.see("acme").holds

    till.settles()

    assert (waiting.given, waiting.next_due_at) == (1, None)
    assert [hold.credits for hold in holds] == ([] if spent else [1000])
    assert (till.purchase().given, till.purchase().next_due_at) == (2, MAY)


def test_a_dispute_that_opens_again_uses_its_hold_again(till, ledger):
    till.buys()
    seen = []
    for disputes in ({"dp": 50}, {}, {"dp": 80}):
        till.settles(disputes=disputes)
        with transaction() as ctx:
            hold = ctx.session.scalars(select(Hold)).one()
        seen.append((hold.state, hold.credits, hold.placed_at, hold.finished_at))
        ledger.now += dt.timedelta(hours=1)

    ended_at = MARCH + dt.timedelta(hours=1)
    assert seen == [
        ("held", 500, MARCH, None),
        ("released", 500, MARCH, ended_at),
        ("held", 800, MARCH, None),
    ]


def moved(till, *returns, lost=0):
    part = PurchaseMoney(0, 40, 0, kept=60, lost=lost, returns=returns, gone=0)
    return {"moved": {till.purchase().id: part}}


def test_a_change_of_plan_takes_from_the_running_month_and_not_from_those_to_come(till, ledger):
    till.buys(**YEAR)

    till.settles(**moved(till, Return(MARCH, 0, 600)))

    assert till.lots() == [("plan", 400, 0, APRIL)]
    assert till.purchase().cancelled == 0


def test_a_refund_and_a_change_of_plan_take_each_their_own_months(till, ledger):
    till.buys(**YEAR)
    till.settles(paid=120, returned=60)

    till.settles(**moved(till, Return(MARCH, 0, 600), lost=36))

    assert till.lots() == [("plan", 400, 0, APRIL)]
    assert till.purchase().cancelled == (12_000 - 600) * 36 // 60


def test_money_that_turns_out_to_have_moved_gives_back_the_months_that_a_refund_took(till, ledger):
    till.buys(ends_at=MAY)
    till.settles(returned=50)

    till.settles(**moved(till, Return(MARCH, 0, 1000)))
    ledger.now = APRIL
    till.gives_due()

    assert [entry.amount for entry in ledger.see("acme").entries] == [1000, -1000, 1000]
    assert till.purchase().returned_minor == 0


@pytest.mark.parametrize("days", [0, 40], ids=["in its month", "after it"])
def test_what_a_purchase_gave_is_taken_from_its_own_lots_alone(till, ledger, days):
    till.buys()
    ledger.grant("acme", 500, "top_up", key="paid by another")
    till.spends(200)
    ledger.now += dt.timedelta(days=days)
    ledger.sweep()

    till.settles(returned=100)

    owed = 200
    assert (ledger.see("acme").credits, ledger.see("acme").debt) == (500 - owed, 0)
    assert till.lots() == [("top_up", 500 - owed, 0, None)]
    assert ledger.audit().agrees
