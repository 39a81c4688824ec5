"""The guards of holds and messages, each where it alone decides."""

import datetime as dt

import pytest
from sqlalchemy import delete, insert, select, text

from billing.usage import holds, refusals
from billing.usage.holds import Placed
from billing_client import Capture, PlaceHold, Release, Reverse
from models.credits import Hold, SpendCap
from models.host import CreditCostConfig
from tests.story import Ledger
from worker.database import transaction

MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def acme(ledger):
    """An account with 100 credits; an image costs 5."""
    ledger.open_account("acme", credits=100)
    return ledger


def place(ledger, key="h", slug="acme", *, units=1, ttl_s=900):
    message = PlaceHold(ledger.ids[slug], "image_generation", key, units=units, ttl_s=ttl_s)
    with transaction() as ctx:
        assert holds.place(ctx.at(ledger.now), message).outcome == "held"


def finish(ledger, kind=Capture, key="h", **fields):
    return ledger.debit_all([kind(ledger.ids["acme"], key, **fields)])[0]


def swept(ledger, **fields):
    """The keys of the holds that a sweep ends, by the order in which they end."""
    with transaction() as ctx:
        holds.sweep(ctx.at(ledger.now), **fields)
        rows = select(Hold.key_text).where(Hold.state == "expired").order_by(Hold.key_text)
        return list(ctx.session.scalars(rows))


def finished_at(key="h"):
    with transaction() as ctx:
        return ctx.session.scalars(select(Hold.finished_at).where(Hold.key_text == key)).one()


def cap(ledger, credits):
    with transaction() as ctx:
        ctx.session.execute(delete(SpendCap))
        ctx.session.execute(insert(SpendCap).values(account_id=ledger.ids["acme"], credits=credits))


# --- holds ----------------------------------------------------------------------------------------


def test_the_holds_that_are_overdue_longest_expire_first_and_no_more_than_asked_for(acme):
    acme.open_account("other", credits=100)
    for key, slug, seconds in (("b", "acme", 90), ("a", "other", 60), ("c", "acme", 120)):
        place(acme, key, slug, ttl_s=seconds)
    place(acme, "later", ttl_s=3600)
    acme.now += 5 * MINUTE

    assert [swept(acme, limit=1), swept(acme, limit=1), swept(acme)] == [
        ["a"],
        ["a", "b"],
        ["a", "b", "c"],
    ]


def test_the_open_holds_of_an_account_are_listed_oldest_first_as_many_as_asked_for(acme):
    acme.open_account("other", credits=100)
    place(acme, "theirs", "other")
    for key, minutes in (("m", 3), ("released", 0), ("z", 1), ("a", 2)):
        place(Ledger(acme.now + minutes * MINUTE, acme.ids), key)
    finish(acme, Release, "released")

    with transaction() as ctx:
        listed = [
            [hold.key_text for hold in holds.open_of(ctx.session, acme.ids["acme"], count=count)]
            for count in (2, 9)
        ]
    assert listed == [["z", "a"], ["z", "a", "m"]]


def test_a_hold_that_ended_keeps_the_time_of_its_end(acme):
    place(acme)
    finish(acme)
    ended_at = acme.now
    acme.now += MINUTE

    finish(acme, Reverse)
    finish(acme, Release)

    assert finished_at() == ended_at


def test_a_hold_that_ended_while_the_sweep_waited_for_its_account_is_left_as_it_is(acme):
    for key, ttl_s in (("captured", 60), ("released", 60), ("running", 3600), ("over", 60)):
        place(acme, key, ttl_s=ttl_s)
    acme.now += 5 * MINUTE
    finish(acme, Capture, "captured")
    finish(acme, Release, "released")

    with transaction() as ctx:
        uuids = [str(key) for key in ctx.session.scalars(select(Hold.key))]
        expired = holds._expire(ctx.at(acme.now), [acme.ids["acme"]], uuids)

    assert len(expired) == 1
    assert (acme.see("acme").credits, acme.see("acme").held) == (95, 5)
    assert acme.audit().agrees


@pytest.mark.parametrize(
    ("reason", "is_error"),
    [
        (None, False),
        ("InsufficientCredits", False),
        ("SpendCapReached", False),
        ("HoldEnded", False),
        ("AccountSuspended", False),
        ("AccountDeleted", True),
        ("UnknownAccount", True),
        ("UnknownOperation", True),
        ("KeyReused", True),
        ("RenewalDue", True),
    ],
)
def test_a_refused_hold_is_kept_for_replay_unless_it_was_answered_for_good(reason, is_error):
    message = PlaceHold(7, "image_generation", "h")

    error = holds.error_of(Placed("refused", None, None, reason, None), message)

    assert (error is not None) is is_error
    assert error is None or error.facts == {"hold": "h", "account_id": 7}


# --- captures -------------------------------------------------------------------------------------


def test_a_capture_costs_what_the_operation_cost_when_the_hold_was_placed(acme):
    acme.now = dt.datetime.now(dt.UTC) - MINUTE
    place(acme, units=4)
    with transaction() as ctx:
        values = {"operation": "image_generation", "credits_per_unit": 50}
        ctx.session.execute(insert(CreditCostConfig).values(**values))
    acme.now += 2 * MINUTE

    assert finish(acme, units=2).entry.amount == -10


def test_an_entry_of_a_capture_remembers_its_hold_and_what_was_asked(acme):
    place(acme, units=4)

    answer = finish(acme, units=3, metadata={"site": 7})

    entry = acme.see("acme").entries[-1]
    assert entry == answer.entry
    assert (entry.reference, entry.units, entry.details) == ("h", 3, {"site": 7})
    assert (entry.description, entry.happened_at) == ("image_generation", acme.now)


def test_a_capture_of_all_that_was_held_names_the_units_of_the_hold(acme):
    place(acme, units=4)

    assert finish(acme).entry.units == 4


def test_the_part_of_a_capture_that_nothing_covers_is_refused_under_its_operation(acme):
    place(acme, units=20)

    answer = finish(acme, units=30)

    (refusal,) = acme.see("acme").refusals
    assert answer.entry.amount == -100
    assert (refusal.operation, refusal.units) == ("image_generation", 30)
    assert (refusal.facts["needed"], refusal.facts["available"]) == (50, 0)


def test_what_was_captured_counts_against_the_months_cap(acme):
    cap(acme, 22)
    place(acme, units=4)
    finish(acme, units=3)

    answers = [acme.debit("acme", "image_generation", key=key) for key in ("1", "2")]

    assert [answer.outcome for answer in answers] == ["taken", "refused"]
    assert answers[1].error.facts == {"needed": 5, "available": 2, "cap": 22}


def test_work_that_is_done_is_captured_although_the_cap_is_reached(acme):
    place(acme, units=4)
    cap(acme, 1)

    assert finish(acme, units=6).entry.amount == -30


@pytest.mark.parametrize("kind", [Capture, Release])
def test_a_hold_of_a_deleted_account_is_not_ended_by_a_message(acme, kind):
    place(acme)
    acme.delete_account("acme")

    assert finish(acme, kind).error.name == "AccountDeleted"
    assert finished_at() is None


# --- refusals -------------------------------------------------------------------------------------


def test_a_refusal_for_good_stays_when_its_cause_is_gone(acme):
    cap(acme, 4)
    first = [acme.debit("acme", "image_generation", key="capped")]
    cap(acme, 9999)
    acme.set_host("acme", is_deleted=True)
    first.append(acme.debit("acme", key="deleted"))
    acme.set_host("acme", is_deleted=False)
    first.append(acme.debit("acme", "image_generation", key="poor", units=100))
    first.append(finish(acme, Reverse, "poor"))
    first.append(finish(acme, Reverse, "early"))
    acme.grant("acme", 900, key="gift")

    again = [
        acme.debit("acme", "image_generation", key="capped"),
        acme.debit("acme", key="deleted"),
        acme.debit("acme", "image_generation", key="poor", units=100),
        finish(acme, Reverse, "poor"),
        finish(acme, Reverse, "early"),
    ]

    names = "SpendCapReached AccountDeleted InsufficientCredits NothingToReverse ReversedFirst"
    assert [answer.error.name for answer in first] == names.split()
    assert [answer.error.name for answer in again] == names.split()
    assert {(answer.outcome, answer.is_rejected) for answer in first + again} == {
        ("refused", False)
    }
    assert [answer.is_repeat for answer in again] == [True] * 5
    assert acme.see("acme").credits == 1000


def test_the_last_refusals_are_listed_oldest_first(acme):
    acme.open_account("other")
    acme.debit("other", key="theirs")
    for number in range(4):
        acme.debit("acme", "image_generation", key=f"{number}", units=100)

    with transaction() as ctx:
        listed = refusals.last(ctx.session, acme.ids["acme"], count=3)
    assert [refusal.key for refusal in listed] == ["1", "2", "3"]


def test_a_refusal_remembers_what_was_asked_and_when_it_happened(acme):
    yesterday = acme.now - dt.timedelta(days=1)
    acme.debit("acme", "image_generation", key="d", units=100, happened_at=yesterday)
    finish(acme, Reverse, "early")

    debit, reversal = acme.see("acme").refusals
    assert (debit.operation, debit.units, debit.happened_at) == ("image_generation", 100, yesterday)
    assert (reversal.key, reversal.operation, reversal.happened_at) == (
        "early",
        Reverse.TASK,
        acme.now,
    )


def test_one_batch_sums_up_debits_without_access_by_account_and_reason(acme):
    acme.open_account("left", credits=100, status="cancelled")
    acme.set_host("acme", status="suspended")
    for _ in range(2):
        for slug, units in (("acme", 1), ("left", 3)):
            key = f"{slug}{acme.now.isoformat()}"
            acme.debit(slug, "image_generation", key=key, units=units)
        acme.now += MINUTE

    with transaction() as ctx:
        statement = "SELECT reason, debits, credits FROM billing.debits_without_access ORDER BY 1"
        sums = ctx.session.execute(text(statement)).all()
    assert sums == [("cancelled", 2, 30), ("suspended", 2, 10)]
