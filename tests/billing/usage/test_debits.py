"""A debit takes what an AI operation costs, once, or says why not."""

import datetime as dt

import pytest
from sqlalchemy import delete

from billing_client import Debit, Reverse, new_key
from models.credits import PlanPolicy
from worker.database import transaction


def test_the_same_debit_delivered_twice_is_taken_once(ledger):
    ledger.open_account("acme", credits=458)

    ledger.debit("acme", "image_prompt_extraction", key="debit:ai:1")
    ledger.debit("acme", "image_prompt_extraction", key="debit:ai:1")

    assert (
        ledger.history("acme")
        == """
        opening balance              +458    458
        image_prompt_extraction        -2    456
    """
    )


def test_the_second_asking_gets_the_first_answer(ledger):
    ledger.open_account("acme", credits=458)
    first = ledger.debit("acme", key="debit:ai:1")

    second = ledger.debit("acme", key="debit:ai:1")

    assert (second.entry, second.is_repeat) == (first.entry, True)


def test_the_same_debit_twice_in_one_set_is_taken_once(ledger):
    account = ledger.open_account("acme", credits=10)
    message = Debit(account, "image_prompt_extraction", "debit:ai:1")

    first, second = ledger.debit_all([message, message])

    assert (first.is_repeat, second.is_repeat) == (False, True)
    assert first.entry == second.entry
    assert ledger.see("acme").credits == 8


@pytest.mark.parametrize(
    ("operation", "units", "cost"),
    [
        pytest.param("clustering", 7, 10, id="clustering costs 10 however many"),
        pytest.param("idea_generation", 3, 6, id="each idea costs 2"),
        pytest.param("content_generation", 100, 1, id="100 words cost 1"),
        pytest.param("content_generation", 101, 2, id="a started hundred counts whole"),
        pytest.param("image_generation", 2, 10, id="each image costs 5"),
        pytest.param("image_prompt_extraction", 1, 2, id="a prompt costs 2"),
    ],
)
def test_an_operation_costs_what_the_price_book_says(ledger, operation, units, cost):
    ledger.open_account("acme", credits=100)

    answer = ledger.debit("acme", operation, units=units, key=new_key())

    assert answer.entry.amount == -cost


def test_too_few_credits_are_refused_and_the_refusal_is_recorded(ledger):
    ledger.open_account("acme", credits=9)

    answer = ledger.debit("acme", "clustering", key="debit:ai:1")

    assert answer.outcome == "refused"
    assert answer.error.facts == {"needed": 10, "available": 9, "debt": 0}
    (refusal,) = ledger.see("acme").refusals
    assert (refusal.key, refusal.reason) == ("debit:ai:1", "InsufficientCredits")
    assert ledger.see("acme").credits == 9


def test_a_refused_key_stays_refused_when_credits_come(ledger):
    ledger.open_account("acme", credits=0)
    ledger.debit("acme", "clustering", key="debit:ai:1")
    ledger.grant("acme", 100, key="gift")

    again = ledger.debit("acme", "clustering", key="debit:ai:1")

    assert (again.outcome, again.is_repeat, again.error.name) == (
        "refused",
        True,
        "InsufficientCredits",
    )
    assert len(ledger.see("acme").refusals) == 1


def test_the_last_credit_can_be_spent(ledger):
    ledger.open_account("acme", credits=10)

    ledger.debit("acme", "clustering", key="debit:ai:1")

    assert ledger.see("acme").credits == 0


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"operation": "clustering"}, id="another operation"),
        pytest.param({"units": 2}, id="other units"),
    ],
)
def test_a_key_used_for_something_else_is_rejected_and_takes_nothing(ledger, other):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", "image_generation", key="debit:ai:1")

    answer = ledger.debit("acme", **{"operation": "image_generation"} | other, key="debit:ai:1")

    assert (answer.outcome, answer.error.name) == ("rejected", "KeyReused")
    assert ledger.see("acme").credits == 95


def test_time_and_metadata_are_no_part_of_what_a_key_means(ledger):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", key="debit:ai:1", metadata={"try": 1})

    again = ledger.debit("acme", key="debit:ai:1", metadata={"try": 2}, happened_at=ledger.now)

    assert again.is_repeat


def test_a_key_of_a_grant_is_reused_by_a_debit_of_the_same_key(ledger):
    ledger.open_account("acme", credits=100)
    ledger.grant("acme", 5, key="k")

    assert ledger.debit("acme", key="k").error.name == "KeyReused"


@pytest.mark.parametrize(
    ("slug", "operation", "error"),
    [
        pytest.param("nobody", "clustering", "UnknownAccount", id="no such account"),
        pytest.param("acme", "mind_reading", "UnknownOperation", id="no such operation"),
    ],
)
def test_what_can_be_cured_leaves_the_key_free(ledger, slug, operation, error):
    ledger.open_account("acme", credits=100)

    answer = ledger.debit(slug, operation, key="debit:ai:1")

    assert (answer.outcome, answer.error.name) == ("rejected", error)
    assert ledger.debit("acme", "clustering", key="debit:ai:1").outcome == "taken"


def test_a_deleted_account_pays_nothing(ledger):
    ledger.open_account("acme", credits=100)
    ledger.delete_account("acme")

    answer = ledger.debit("acme", "clustering", key="debit:ai:1")

    assert (answer.outcome, answer.error.name) == ("refused", "AccountDeleted")
    assert ledger.see("acme").app_credits == 100


def test_a_wrong_debit_harms_nothing_beside_it(ledger):
    account = ledger.open_account("acme", credits=100)
    messages = [
        Debit(account, "clustering", "debit:ai:1"),
        Debit(account, "mind_reading", "debit:ai:2"),
        Debit(404, "clustering", "debit:ai:3"),
        Debit(account, "clustering", "debit:ai:4"),
    ]

    outcomes = [answer.outcome for answer in ledger.debit_all(messages)]

    assert outcomes == ["taken", "rejected", "rejected", "taken"]
    assert ledger.see("acme").credits == 80


def test_the_app_sees_the_balance_move_by_the_same_amount(ledger):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", "clustering", key="debit:ai:1")
    ledger.set_host("acme", credits=590)  # the app itself added 500

    ledger.debit("acme", "clustering", key="debit:ai:2")

    assert ledger.see("acme").app_credits == 580


def test_an_account_with_a_negative_balance_is_adopted_as_owing_it(ledger):
    ledger.open_account("acme", credits=-30)

    answer = ledger.debit("acme", "clustering", key="debit:ai:1")

    assert (answer.error.name, ledger.see("acme").debt) == ("InsufficientCredits", 30)
    assert ledger.audit().agrees


def test_an_entry_remembers_what_was_asked(ledger):
    ledger.open_account("acme", credits=100)
    yesterday = ledger.now - dt.timedelta(days=1)

    answer = ledger.debit(
        "acme", "image_generation", units=2, key="k", happened_at=yesterday, metadata={"site": 7}
    )

    (entry,) = [e for e in ledger.see("acme").entries if e.type == "deduction"]
    assert entry == answer.entry
    assert (entry.units, entry.happened_at, entry.details, entry.recorded_at) == (
        2,
        yesterday,
        {"site": 7},
        ledger.now,
    )


@pytest.mark.parametrize("metadata", [{"quote": 'a"b\\c{},'}, {"": None}, {"ä": "€\u200b'"}, {}])
def test_metadata_comes_back_as_it_went_in(ledger, metadata):
    ledger.open_account("acme", credits=100)

    ledger.debit("acme", key='k"\\{},', metadata=metadata)

    entry = ledger.see("acme").entries[-1]
    assert (entry.key, entry.details) == ('k"\\{},', metadata)


class TestDebt:
    """A plan may let an account owe; the default does not."""

    def test_a_plan_that_allows_it_lets_the_balance_go_below_zero_to_its_floor(self, ledger):
        ledger.plan("generous", debt_limit=15)
        ledger.open_account("acme", credits=10, plan="generous")

        first = ledger.debit("acme", "clustering", key="1")
        second = ledger.debit("acme", "clustering", key="2")
        third = ledger.debit("acme", "clustering", key="3")

        assert [a.outcome for a in (first, second, third)] == ["taken", "taken", "refused"]
        assert (ledger.see("acme").credits, ledger.see("acme").debt) == (-10, 10)

    def test_credits_given_back_to_an_account_that_may_owe_no_more_are_spent_less_the_debt(
        self, ledger
    ):
        """Its balance of 5 fell to -5, for what it owed already was taken for its limit."""
        generous = ledger.plan("generous", debt_limit=10)
        ledger.open_account("acme", credits=10, plan="generous")
        ledger.debit("acme", "clustering", key="1")
        ledger.debit("acme", "image_generation", key="2")
        ledger.debit_all([Reverse(ledger.ids["acme"], "1")])
        with transaction() as ctx:
            ctx.session.execute(delete(PlanPolicy).where(PlanPolicy.plan_id == generous))
        assert ledger.see("acme").credits == 5

        too_much = ledger.debit("acme", "clustering", key="3")
        enough = ledger.debit("acme", "image_generation", key="4")

        assert (too_much.outcome, enough.outcome) == ("refused", "taken")
        assert too_much.error.facts["available"] == 5
        assert ledger.see("acme").credits == 0

    def test_what_is_owed_is_repaid_first_from_the_next_grant(self, ledger):
        ledger.plan("generous", debt_limit=15)
        ledger.open_account("acme", credits=5, plan="generous")
        ledger.debit("acme", "clustering", key="1")

        ledger.grant("acme", 100, key="gift")

        assert (ledger.see("acme").debt, ledger.lots("acme")) == (0, {"goodwill": 95})
        assert ledger.see("acme").credits == 95
        assert ledger.audit().agrees
