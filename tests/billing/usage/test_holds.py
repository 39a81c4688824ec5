"""A hold sets credits aside before the work; captured, released or out of time, it ends once."""

import datetime as dt
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import text

from billing.renewal import expiry
from billing.usage import holds, post
from billing_client import BillingClient, Capture, PlaceHold, Release, Reverse
from tests.app import connect
from worker.database import engine, transaction


@pytest.fixture
def act(books):
    """Place, capture, release and expire, by slug."""

    class Act:
        def place(self, slug, operation="image_generation", *, key, units=1, ttl_s=900):
            message = PlaceHold(books.ids.get(slug, 404), operation, key, units=units, ttl_s=ttl_s)
            with transaction() as session:
                return holds.place(session, message, now=books.now)

        def capture(self, slug, hold, units=None):
            return self._post(Capture(books.ids[slug], hold, units=units))

        def reverse(self, slug, hold):
            return self._post(Reverse(books.ids[slug], hold))

        def release(self, slug, hold):
            return self._post(Release(books.ids[slug], hold))

        def expire(self):
            with transaction() as session:
                return len(holds.sweep(session, now=books.now))

        def _post(self, message):
            with transaction() as session:
                return post.apply(session, [message], now=books.now)[0]

    return Act()


def figures(books, slug="acme"):
    seen = books.see(slug)
    return {"credits": seen.credits, "held": seen.held, "available": seen.available}


def test_held_credits_cannot_be_spent_by_others(books, act):
    books.open_account("acme", credits=12)

    placed = act.place("acme", key="h1", units=2)

    assert (placed.outcome, placed.credits, placed.available) == ("held", 10, 2)
    assert books.debit("acme", "image_generation", key="d").outcome == "refused"
    assert figures(books) == {"credits": 12, "held": 10, "available": 2}


def test_a_hold_that_does_not_fit_is_refused_at_once_and_recorded(books, act):
    books.open_account("acme", credits=9)

    placed = act.place("acme", key="h1", units=2)

    assert (placed.outcome, placed.reason, placed.available) == (
        "refused",
        "InsufficientCredits",
        9,
    )
    assert [r.key for r in books.see("acme").refusals] == ["h1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"slug": "nobody"}, "UnknownAccount", id="no such account"),
        pytest.param({"slug": "gone"}, "AccountDeleted", id="a deleted account"),
        pytest.param({"operation": "mind_reading"}, "UnknownOperation", id="no such operation"),
    ],
)
def test_a_hold_says_why_not(books, act, fields, reason):
    books.open_account("acme", credits=100)
    books.open_account("gone", credits=100, is_deleted=True)

    placed = act.place(**{"slug": "acme", "key": "h1"} | fields)

    assert (placed.outcome, placed.reason) == ("refused", reason)


def test_placing_twice_holds_once(books, act):
    books.open_account("acme", credits=100)
    first = act.place("acme", key="h1")

    again = act.place("acme", key="h1")

    assert (again.outcome, again.credits) == (first.outcome, first.credits)
    assert figures(books)["held"] == 5


@pytest.mark.parametrize("end", ["capture", "release", "expire"])
def test_a_hold_that_has_ended_is_not_held_again_by_asking_again(books, act, end):
    """It was answered "held": the work began again, and finishing it had been answered already."""
    books.open_account("acme", credits=100)
    act.place("acme", key="h1")
    books.pass_time(hours=1)
    act.expire() if end == "expire" else getattr(act, end)("acme", "h1")

    again = act.place("acme", key="h1")

    assert (again.outcome, again.reason) == ("refused", "HoldEnded")
    assert figures(books)["held"] == 0
    message = PlaceHold(books.ids["acme"], "image_generation", "h1")
    assert holds.error_of(again, message) is None, "a message that comes twice is no dead letter"


def test_a_refused_hold_stays_refused_under_its_key(books, act):
    books.open_account("acme", credits=0)
    act.place("acme", key="h1")
    books.grant("acme", 100, key="gift")

    assert act.place("acme", key="h1").reason == "InsufficientCredits"


def test_a_key_of_another_hold_or_debit_is_reused(books, act):
    books.open_account("acme", credits=100)
    books.debit("acme", key="k")
    act.place("acme", key="h1")

    assert act.place("acme", key="k").reason == "KeyReused"
    assert act.place("acme", key="h1", units=3).reason == "KeyReused"
    assert books.debit("acme", "image_generation", key="h1").error.name == "KeyReused"


def test_capturing_all_takes_what_was_held(books, act):
    books.open_account("acme", credits=100)
    act.place("acme", key="h1", units=2)

    answer = act.capture("acme", "h1")

    assert answer.outcome == "taken"
    assert (
        books.history("acme")
        == """
        opening balance    +100   100
        image_generation    -10    90
    """
    )
    assert figures(books) == {"credits": 90, "held": 0, "available": 90}


def test_capturing_part_gives_the_rest_back(books, act):
    books.open_account("acme", credits=100)
    act.place("acme", key="h1", units=4)

    act.capture("acme", "h1", units=1)

    assert figures(books) == {"credits": 95, "held": 0, "available": 95}


def test_capturing_more_takes_the_difference_from_what_is_free(books, act):
    books.open_account("acme", credits=100)
    act.place("acme", key="h1", units=1)

    act.capture("acme", "h1", units=3)

    assert figures(books) == {"credits": 85, "held": 0, "available": 85}


def test_capturing_more_than_there_is_takes_what_there_is_and_records_the_rest(books, act):
    books.open_account("acme", credits=12)
    act.place("acme", key="h1", units=2)

    answer = act.capture("acme", "h1", units=4)

    assert answer.entry.amount == -12
    (refusal,) = books.see("acme").refusals
    assert (refusal.reason, refusal.facts["needed"], refusal.facts["available"]) == (
        "InsufficientCredits",
        10,
        2,
    )
    assert books.audit().agrees


def test_capturing_more_may_become_a_debt_where_the_plan_allows_it(books, act):
    books.plan("generous", debt_limit=20)
    books.open_account("acme", credits=10, plan="generous")
    act.place("acme", key="h1", units=2)

    act.capture("acme", "h1", units=5)

    assert (books.see("acme").credits, books.see("acme").debt) == (-15, 15)
    assert books.audit().agrees


def test_releasing_gives_everything_back_without_an_entry(books, act):
    books.open_account("acme", credits=100)
    act.place("acme", key="h1")

    answer = act.release("acme", "h1")

    assert (answer.outcome, answer.entry) == ("released", None)
    assert figures(books) == {"credits": 100, "held": 0, "available": 100}


@pytest.mark.parametrize("second", ["capture", "release"])
def test_finishing_twice_gives_the_first_answer_again(books, act, second):
    books.open_account("acme", credits=100)
    act.place("acme", key="h1")
    act.place("acme", key="h2")
    captured, released = act.capture("acme", "h1"), act.release("acme", "h2")

    again = getattr(act, second)("acme", "h1")
    other = getattr(act, second)("acme", "h2")

    assert (again.entry, again.is_repeat) == (captured.entry, True)
    assert (other.outcome, other.is_repeat) == (released.outcome, True)
    assert figures(books)["credits"] == 95


def test_a_hold_expires_by_the_sweep_and_only_then(books, act):
    books.open_account("acme", credits=100)
    act.place("acme", key="h1", ttl_s=60)
    books.pass_time(seconds=59)
    assert act.expire() == 0
    books.pass_time(seconds=1)

    assert (act.expire(), act.expire()) == (1, 0)
    assert figures(books) == {"credits": 100, "held": 0, "available": 100}


def test_a_late_capture_is_taken_from_what_is_free(books, act):
    books.open_account("acme", credits=100)
    act.place("acme", key="h1", ttl_s=60)
    books.pass_time(minutes=2)
    act.expire()

    answer = act.capture("acme", "h1")

    assert (answer.outcome, answer.entry.amount) == ("taken", -5)


def test_a_late_capture_that_nothing_covers_is_recorded(books, act):
    books.open_account("acme", credits=5)
    act.place("acme", key="h1", ttl_s=60)
    books.pass_time(minutes=2)
    act.expire()
    books.debit("acme", "image_generation", key="d")

    answer = act.capture("acme", "h1")

    assert (answer.outcome, answer.error.name) == ("refused", "InsufficientCredits")
    assert act.capture("acme", "h1").is_repeat


def test_a_capture_is_reversed_by_the_key_of_its_hold(books, act):
    books.open_account("acme", credits=100)
    act.place("acme", key="h1", units=2)
    act.capture("acme", "h1", units=3)

    answer = act.reverse("acme", "h1")

    assert (answer.outcome, answer.entry.amount) == ("given", 15)
    assert figures(books) == {"credits": 100, "held": 0, "available": 100}


def test_a_late_capture_can_be_reversed(books, act):
    """Its hold stays "expired", and was taken for one that had taken nothing."""
    books.open_account("acme", credits=100)
    act.place("acme", key="h1", ttl_s=60)
    books.pass_time(minutes=2)
    act.expire()
    assert act.reverse("acme", "h1").error.name == "HoldNotFinished"
    act.capture("acme", "h1")

    assert act.reverse("acme", "h1").outcome == "given"
    assert figures(books)["credits"] == 100


@pytest.mark.parametrize(
    ("finish", "reason"), [("place", "HoldNotFinished"), ("release", "NothingToReverse")]
)
def test_a_hold_that_has_taken_nothing_is_not_reversed(books, act, finish, reason):
    books.open_account("acme", credits=100)
    act.place("acme", key="h1")
    if finish == "release":
        act.release("acme", "h1")

    assert act.reverse("acme", "h1").error.name == reason


def test_a_late_release_changes_nothing(books, act):
    books.open_account("acme", credits=100)
    act.place("acme", key="h1", ttl_s=60)
    books.pass_time(minutes=2)
    act.expire()

    assert act.release("acme", "h1").outcome == "released"
    assert figures(books)["available"] == 100


def test_a_lot_that_expires_keeps_what_is_held_until_the_hold_ends(books, act):
    books.open_account("acme")
    soon = books.now.replace(hour=13)
    books.grant("acme", 10, "goodwill", key="gift", expires_at=soon)
    act.place("acme", key="h1", units=1, ttl_s=86_400)
    books.pass_time(hours=2)

    assert figures(books) == {"credits": 10, "held": 5, "available": 0}
    assert act.capture("acme", "h1").entry.amount == -5
    assert figures(books) == {"credits": 5, "held": 0, "available": 0}


def test_holds_take_lots_in_the_order_that_debits_burn_them(books, act):
    books.open_account("acme")
    books.grant("acme", 3, "goodwill", key="a")
    books.grant("acme", 20, "top_up", key="b")
    act.place("acme", key="h1")

    act.capture("acme", "h1")

    assert books.lots("acme") == {"top_up": 18}


def test_a_hold_of_another_account_is_unknown(books, act):
    books.open_account("acme", credits=100)
    books.open_account("other", credits=100)
    act.place("acme", key="h1")

    assert act.capture("other", "h1").error.name == "UnknownHold"
    assert act.release("other", "nothing").error.name == "UnknownHold"
    assert act.capture("acme", "h1").outcome == "taken"


def test_a_spend_cap_counts_what_is_held(books, act):
    books.open_account("acme", credits=100)
    with transaction() as session:
        session.execute(
            text("INSERT INTO billing.spend_caps VALUES (:id, 12)"), {"id": books.ids["acme"]}
        )
    act.place("acme", key="h1", units=2)

    assert act.place("acme", key="h2").reason == "SpendCapReached"
    assert books.debit("acme", "image_generation", key="d").error.name == "SpendCapReached"
    assert books.debit("acme", "image_prompt_extraction", key="e").outcome == "taken"


def test_what_a_hold_sets_free_pays_what_is_owed(books, act):
    """Credits that a hold or a reversal gives back to an account in debt are not all its own."""
    books.plan("generous", debt_limit=10)
    books.open_account("acme", credits=10, plan="generous")
    act.place("acme", key="h1", units=2)
    books.debit("acme", "image_generation", key="d")
    act.release("acme", "h1")

    assert books.see("acme").debt == 0
    assert books.lots("acme") == {"opening_balance": 5}
    assert figures(books) == {"credits": 5, "held": 0, "available": 5}
    placed = act.place("acme", key="h2", units=2)
    assert (placed.reason, placed.available) == ("InsufficientCredits", 5)
    assert act.place("acme", key="h3").available == 0
    assert books.debit("acme", "image_generation", key="e").outcome == "taken"
    assert books.audit().agrees


def test_credits_set_free_and_then_lapsed_leave_no_debt_for_what_was_never_spent(books, act):
    """The debt stayed beside the free credits, and the account owed once these had expired."""
    books.plan("generous", debt_limit=10)
    books.open_account("acme", credits=0, plan="generous")
    books.grant("acme", 10, key="g", expires_at=books.now + dt.timedelta(days=1))
    act.place("acme", key="h1", units=2)
    books.debit("acme", "image_generation", key="d")
    books.now += dt.timedelta(hours=1)
    books.sweep(holds.sweep)

    books.now += dt.timedelta(days=2)
    books.sweep(expiry.sweep)

    assert (books.see("acme").credits, books.see("acme").debt) == (0, 0)
    assert books.audit().agrees


def test_a_month_that_costs_more_than_an_integer_holds_goes_on(books, act):
    """A number out of range broke each debit, and would have undone the app's transaction."""
    books.open_account("acme", credits=2**31 - 1)
    books.debit("acme", "image_generation", key="1")
    act.place("acme", key="h1")
    with transaction() as session:
        session.execute(text("UPDATE billing.books SET spent = 2147483647"))

    assert books.debit("acme", "image_generation", key="2").outcome == "taken"
    assert act.place("acme", key="h2").outcome == "held"
    assert act.capture("acme", "h2").outcome == "taken"


class TestFromTheMainApp:
    """The main app asks on its own connection, in its own transaction."""

    @pytest.fixture
    def connection(self, books):
        with closing(connect()) as connection:
            yield connection

    @pytest.fixture
    def client(self):
        return BillingClient("redis://127.0.0.1:1/0")

    def test_a_hold_is_answered_at_once(self, books, connection, client):
        account = books.open_account("acme", credits=100)

        held = client.place_hold(connection, account, "image_generation", key="h1")

        assert held
        assert (held.credits, held.available) == (5, 95)

    def test_a_refused_hold_says_why(self, books, connection, client):
        account = books.open_account("acme", credits=0)

        held = client.place_hold(connection, account, "image_generation", key="h1")

        assert not held
        assert held.reason == "InsufficientCredits"

    def test_a_hold_is_gone_with_the_transaction_that_placed_it(self, books, connection, client):
        account = books.open_account("acme", credits=100)
        client.place_hold(connection, account, "image_generation", key="h1")

        connection.rollback()

        assert figures(books) == {"credits": 100, "held": 0, "available": 100}

    def test_a_hold_between_a_periods_end_and_its_renewal_leaves_its_key_free(
        self, books, connection, client
    ):
        """It was refused for good, though the new period's credits came a moment later."""
        account = books.open_account("acme")
        books.seed("acme")
        with transaction() as session:
            session.execute(
                text(
                    "UPDATE billing.credit_calendars"
                    " SET anchor_at = now() - interval '40 days', next_due_at = now()"
                )
            )
            session.execute(text("UPDATE billing.lots SET expires_at = now()"))
        books.now = dt.datetime.now(dt.UTC)

        refused = client.place_hold(connection, account, "image_generation", key="h1")
        connection.commit()
        books.sweep()
        held = client.place_hold(connection, account, "image_generation", key="h1")

        assert (refused.reason, bool(held)) == ("RenewalDue", True)
        assert books.see("acme").refusals == []

    def test_a_key_that_another_account_claims_at_once_is_answered_not_raised(
        self, books, connection, client
    ):
        """A broken constraint would have undone all that the app's transaction did."""
        one, other = books.open_account("one", credits=9), books.open_account("other", credits=9)
        client.place_hold(connection, one, "image_generation", key="h1")

        with closing(connect()) as second, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.place_hold, second, other, "image_generation", key="h1")
            wait_for_a_lock()
            connection.commit()
            held = waiting.result()

        assert (held.is_held, held.reason) == (False, "KeyReused")


def wait_for_a_lock():
    """Until some transaction waits for another."""
    for _ in range(1000):
        with engine().connect() as watcher:
            if watcher.execute(text("SELECT 1 FROM pg_locks WHERE NOT granted")).first():
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def test_50_threads_placing_holds_never_hold_more_than_there_is(books, act):
    books.open_account("acme", credits=100)
    outcomes = []

    def place(number):
        outcomes.append(act.place("acme", key=f"h{number}").outcome)

    threads = [threading.Thread(target=place, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (outcomes.count("held"), outcomes.count("refused")) == (20, 30)
    assert figures(books) == {"credits": 100, "held": 100, "available": 0}
    assert books.audit().agrees
