"""The life of an event in the inbox: what finishes it, when it is due again, and who wakes it."""

import datetime as dt
import itertools

import pytest
from sqlalchemy import select

from billing.errors import AccountDeleted
from billing.stripe import inbox, inbox_upkeep
from billing.stripe.errors import (
    BadObject,
    ForeignProduct,
    NeedsApiKey,
    StripeKnowsNone,
    UnknownCustomer,
    UnknownPlan,
)
from billing.stripe.inbox import Applied, OpenEvent, Retry
from billing.stripe.inbox_upkeep import UnknownEvent
from models.stripe import StripeEvent
from worker.database import transaction

NOW = dt.datetime(2026, 3, 17, 12, tzinfo=dt.UTC)
DAY, SECOND = dt.timedelta(days=1), dt.timedelta(seconds=1)


@pytest.fixture
def event(database):
    """Stores an event with these fields; returns its number."""
    names = itertools.count(1)

    def event(state="received", **fields):
        name = f"evt_{next(names)}"
        fields = {"payload": {"id": name}, "received_at": NOW, "recorded_at": NOW, **fields}
        row = StripeEvent(event_id=name, digest=name.encode(), source="webhook", state=state)
        for field, value in fields.items():
            setattr(row, field, value)
        with transaction() as ctx:
            ctx.session.add(row)
            ctx.session.flush()
            return row.id

    return event


def row_of(number) -> StripeEvent:
    with transaction() as ctx:
        row = ctx.session.get(StripeEvent, number)
        ctx.session.expunge(row)
        return row


def ends(number, result, *, now=NOW) -> StripeEvent:
    """Claim an event, and let it end with this result; return its row."""
    with transaction() as ctx:
        rows = inbox.claim(ctx.session, [number])
        with inbox.handle(ctx.at(now), rows) as handling:
            handling.results[number] = result
    return row_of(number)


@pytest.mark.parametrize(
    ("result", "state", "reason", "is_finished", "is_due"),
    [
        pytest.param(Applied(7, {"is_newer": True}), "applied", None, True, False, id="applied"),
        pytest.param(
            Applied(7, {}, UnknownPlan(plan="gold", price="p")),
            "failed",
            "UnknownPlan",
            False,
            False,
            id="applied but for a part: an operator",
        ),
        pytest.param(ForeignProduct(), "ignored", "ForeignProduct", True, False, id="not ours"),
        pytest.param(StripeKnowsNone(), "ignored", "StripeKnowsNone", True, False, id="gone"),
        pytest.param(UnknownCustomer(), "parked", "UnknownCustomer", False, True, id="it waits"),
        pytest.param(AccountDeleted(), "parked", "AccountDeleted", False, True, id="deleted"),
        pytest.param(NeedsApiKey(), "parked", "NeedsApiKey", False, True, id="a key is missing"),
        pytest.param(BadObject(field="x"), "failed", "BadObject", False, False, id="no sense"),
        pytest.param(Retry(ValueError()), "failed", "ValueError", False, True, id="a bug"),
    ],
)
def test_a_result_says_whether_the_event_is_finished_and_whether_it_is_due_again(
    event, result, state, reason, is_finished, is_due
):
    row = ends(event(), result)

    assert (row.state, row.reason, row.attempts) == (state, reason, 1)
    assert (row.finished_at is not None, row.due_at is not None) == (is_finished, is_due)


def test_the_facts_of_a_reason_are_kept_for_the_operator(event):
    ignored = ends(event(), ForeignProduct(prices=["price_1"]))
    failed = ends(event(), Retry(UnknownPlan(plan="gold", price="price_1")))
    parked = ends(event(), UnknownCustomer(customer="cus_1"))

    assert ignored.facts == {"prices": ["price_1"]}
    assert failed.facts == {"plan": "gold", "price": "price_1"}
    assert parked.facts == {"customer": "cus_1"}


def test_the_account_of_an_event_stays_when_it_fails_later(event):
    number = event(account_id=7)

    assert ends(number, Retry(ValueError())).account_id == 7


@pytest.mark.parametrize(
    ("attempts", "longest"), [(0, 30), (1, 60), (3, 240), (8, 7680), (9, None), (20, None)]
)
def test_a_bug_is_tried_again_after_a_pause_that_doubles_and_the_tenth_time_waits(
    event, attempts, longest
):
    due_at = ends(event(attempts=attempts), Retry(ValueError())).due_at

    if longest is None:
        assert due_at is None
    else:
        assert longest / 2 * SECOND <= due_at - NOW <= longest * SECOND


@pytest.mark.parametrize("attempts", [10, 50, 10_000])
def test_what_waits_is_looked_at_again_at_least_every_six_hours(event, attempts):
    pause = ends(event(attempts=attempts), UnknownCustomer()).due_at - NOW

    assert dt.timedelta(hours=3) <= pause <= dt.timedelta(hours=6)


def test_events_that_failed_together_are_not_tried_again_together(event):
    rows = [ends(event(attempts=8), Retry(ValueError())) for _ in range(5)]

    assert len({row.due_at for row in rows}) == 5


def test_what_waits_is_given_up_after_thirty_days_and_not_before(event):
    number = event(recorded_at=NOW - 30 * DAY)

    waiting = ends(number, UnknownCustomer(customer="cus_1"))
    given_up = ends(number, UnknownCustomer(customer="cus_1"), now=NOW + SECOND)

    assert waiting.state == "parked"
    assert (given_up.state, given_up.reason) == ("ignored", "NeverLinked")
    assert given_up.facts == {"customer": "cus_1"}
    assert given_up.due_at is None


@pytest.mark.parametrize("state", ["applied", "ignored", "refused"])
def test_a_finished_event_is_not_claimed_again(event, state):
    number = event(state)

    with transaction() as ctx:
        assert inbox.claim(ctx.session, [number]) == []


def test_an_event_that_another_worker_has_is_left_to_it(event):
    numbers = [event(), event()]

    with transaction() as mine:
        claimed = inbox.claim(mine.session, numbers[:1])
        with transaction() as other:
            rest = inbox.claim(other.session, reversed(numbers))

    assert [[row.id for row in rows] for rows in (claimed, rest)] == [numbers[:1], numbers[1:]]


@pytest.mark.parametrize("count", [1, 2])
def test_a_refusal_that_breaks_a_batch_undoes_it_and_is_the_answer_of_a_batch_of_one(event, count):
    numbers = [event() for _ in range(count)]
    rows = [OpenEvent(number, {}, 0, NOW) for number in numbers]

    def break_it():
        with transaction() as ctx, inbox.handle(ctx.at(NOW), rows):
            ctx.session.get(StripeEvent, numbers[0]).deliveries = 99
            ctx.session.flush()
            raise BadObject(field="x")

    if count == 1:
        break_it()
        assert row_of(numbers[0]).state == "failed"
    else:
        with pytest.raises(BadObject):
            break_it()
    assert row_of(numbers[0]).deliveries == 1


# --- due, and woken --------------------------------------------------------------------------------------


def states_of(numbers) -> list[str]:
    return [row_of(number).state for number in numbers]


def test_what_is_due_is_taken_up_the_longest_overdue_first_up_to_the_limit(event):
    later = event(due_at=NOW)
    first = event("failed", due_at=NOW - DAY)
    event("parked", due_at=NOW + SECOND)
    event("failed", due_at=None)
    same = event("parked", due_at=NOW)

    with transaction() as ctx:
        due = [inbox_upkeep.due(ctx.at(NOW), limit=limit) for limit in (2, 9)]

    assert due == [[first, later], [first, later, same]]


def test_only_what_is_due_is_postponed_and_no_attempt_is_counted(event):
    due, later, waits = event(due_at=NOW), event(due_at=NOW + DAY), event("failed", due_at=None)

    with transaction() as ctx:
        inbox_upkeep.postpone(ctx.at(NOW), [due, later, waits])

    assert [row_of(number).due_at for number in (due, later, waits)] == [
        NOW + inbox.TAKEN_UP_AGAIN,
        NOW + DAY,
        None,
    ]
    assert row_of(due).attempts == 0


@pytest.mark.parametrize(
    ("fields", "is_woken"),
    [
        pytest.param({"customer": "cus_1"}, True, id="of the customer"),
        pytest.param({"object_id": "in_1"}, True, id="of the object"),
        pytest.param({"reason": "UnknownPrice"}, True, id="for the reason"),
        pytest.param({"customer": "cus_2", "object_id": "in_2", "reason": "X"}, False, id="other"),
        pytest.param({"state": "failed", "customer": "cus_1"}, False, id="failed"),
        pytest.param({"state": "ignored", "customer": "cus_1"}, False, id="finished"),
    ],
)
def test_parked_events_are_woken_by_customer_object_or_reason(event, fields, is_woken):
    number = event(**{"state": "parked", "due_at": NOW + DAY, **fields})

    with transaction() as ctx:
        woken = inbox.wake(
            ctx.at(NOW), customers=["cus_1"], object_ids=["in_1"], reason="UnknownPrice"
        )

    assert woken == is_woken
    assert row_of(number).due_at == (NOW if is_woken else NOW + DAY)


@pytest.mark.parametrize(
    ("fields", "is_opened"),
    [
        pytest.param({}, True, id="ignored as foreign"),
        pytest.param({"object_id": "in_2"}, False, id="of another object"),
        pytest.param({"reason": "ByHand"}, False, id="ignored by an operator"),
        pytest.param({"payload": None}, False, id="pruned"),
        pytest.param({"state": "applied"}, False, id="applied"),
    ],
)
def test_what_was_foreign_alone_is_reopened_by_the_session_that_sold_it(event, fields, is_opened):
    foreign = {"state": "ignored", "reason": "ForeignProduct", "object_id": "in_1"}
    number = event(**{**foreign, "finished_at": NOW - DAY, **fields})

    with transaction() as ctx:
        assert inbox.reopen_foreign(ctx.at(NOW), ["in_1"]) == is_opened

    row = row_of(number)
    assert (row.state == "received", row.due_at == NOW) == (is_opened, is_opened)
    assert (row.finished_at is None) == is_opened


@pytest.mark.parametrize(
    ("fields", "is_woken"),
    [
        ({"state": "parked", "reason": "UnknownPrice"}, True),
        ({"state": "parked", "reason": "UnknownCustomer"}, False),
        ({"state": "ignored", "reason": "ForeignProduct", "facts": {"prices": ["p_1"]}}, True),
        ({"state": "ignored", "reason": "ForeignProduct", "facts": {"prices": ["p_2"]}}, False),
        ({"state": "ignored", "reason": "NeverLinked", "facts": {"prices": ["p_1", "p_2"]}}, True),
        ({"state": "ignored", "reason": "NeverLinked", "facts": {"customer": "cus_1"}}, False),
        ({"state": "ignored", "reason": "ByHand", "facts": {"prices": ["p_1"]}}, False),
        ({"state": "failed", "reason": "UnknownPlan"}, True),
        ({"state": "failed", "reason": "LineWithoutPeriod"}, True),
        ({"state": "failed", "reason": "CustomerTaken"}, False),
        ({"state": "applied", "reason": None}, False),
        ({"state": "failed", "reason": "UnknownPlan", "payload": None}, False),
    ],
    ids=str,
)
def test_a_price_that_is_learned_wakes_what_it_may_free_and_nothing_else(event, fields, is_woken):
    number = event(**{"finished_at": NOW - DAY, **fields})

    with transaction() as ctx:
        assert inbox_upkeep.wake_price(ctx.at(NOW), "p_1") == is_woken

    row = row_of(number)
    assert (row.state == "received", row.due_at == NOW) == (is_woken, is_woken)
    assert (row.finished_at is None) == is_woken


# --- an operator's hand ----------------------------------------------------------------------------------


def test_events_are_listed_newest_first_by_state_and_reason(event):
    old, new = event("failed", reason="UnknownPlan"), event("failed", reason="BadObject")
    event("applied")

    with transaction() as ctx:
        every = inbox_upkeep.listed(ctx.session, states=["failed"], limit=9)
        newest = inbox_upkeep.listed(ctx.session, states=["failed"], limit=1)
        some = inbox_upkeep.listed(ctx.session, states=["failed"], limit=9, reason="UnknownPlan")
        numbers = [[row.id for row in rows] for rows in (every, newest, some)]

    assert numbers == [[new, old], [new], [old]]


def test_a_replay_begins_anew_in_any_state(event):
    numbers = [
        event(state, attempts=10, finished_at=NOW - DAY)
        for state in ("failed", "ignored", "applied")
    ]

    for number in numbers:
        with transaction() as ctx:
            inbox_upkeep.replay(ctx.at(NOW), number)

    for number in numbers:
        row = row_of(number)
        assert (row.state, row.due_at, row.attempts, row.finished_at) == ("received", NOW, 0, None)


def test_what_was_pruned_or_never_came_is_not_replayed(event):
    for number in (event("applied", payload=None), 999_999):
        with pytest.raises(UnknownEvent), transaction() as ctx:
            inbox_upkeep.replay(ctx.at(NOW), number)


@pytest.mark.parametrize(
    ("fields", "is_taken"),
    [
        ({"state": "received"}, True),
        ({"state": "parked", "reason": "UnknownCustomer"}, True),
        ({"state": "failed", "reason": "UnknownPlan"}, True),
        ({"state": "ignored", "reason": "ForeignProduct", "facts": {"amount_minor": 5}}, True),
        ({"state": "ignored", "reason": "ForeignProduct", "facts": {"prices": []}}, False),
        ({"state": "ignored", "reason": "StripeKnowsNone", "facts": None}, False),
        ({"state": "applied", "facts": {"amount_minor": 5}}, False),
    ],
    ids=str,
)
def test_an_operator_ignores_what_is_open_and_money_without_an_effect(event, fields, is_taken):
    number = event(**fields)

    def ignore():
        with transaction(actor="operator:test") as ctx:
            inbox_upkeep.ignore(ctx.at(NOW), number)

    if not is_taken:
        with pytest.raises(UnknownEvent):
            ignore()
        return
    ignore()
    row = row_of(number)
    assert (row.state, row.reason) == ("ignored", "ByHand")
    assert row.facts == {"actor": "operator:test", "was": fields.get("reason")}


def test_finished_payloads_are_pruned_once_they_are_old_and_open_ones_never(event):
    old = {"recorded_at": NOW - DAY - SECOND}
    pruned = [event(state, **old) for state in ("applied", "ignored")]
    pruned.append(event("refused", payload=None, raw=b"x", **old))
    kept = [event(state, **old) for state in ("received", "parked", "failed")]
    kept.append(event("applied", recorded_at=NOW - DAY))

    with transaction() as ctx:
        counts = [
            inbox_upkeep.prune(ctx.session, before=NOW - DAY, limit=limit) for limit in (2, 9, 9)
        ]

    assert counts == [2, 1, 0]
    with transaction() as ctx:
        empty = select(StripeEvent.id).where(
            StripeEvent.payload.is_(None), StripeEvent.raw.is_(None)
        )
        assert sorted(ctx.session.scalars(empty)) == pruned
        assert inbox_upkeep.counts(ctx.session) == {"received": 1, "parked": 1, "failed": 1}


def test_money_of_one_payment_is_one_question_however_many_events_tell_of_it(event):
    money = {
        "payment": "in_1",
        "account_id": 7,
        "currency": "USD",
        "amount_minor": 5,
        "objects": [],
    }
    event("ignored", reason="ForeignProduct", facts=money)
    event("ignored", reason="ForeignProduct", facts=money)
    event("failed", reason="UnknownPlan", facts=money | {"payment": "in_2"})
    event("parked", reason="UnknownPrice", facts=money | {"payment": "in_3"})
    event("failed", reason="UnknownPlan", facts={"plan": "gold"})

    with transaction() as ctx:
        assert inbox_upkeep.unanswered(ctx.session) == 2
