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
def act(ledger):
    """Place, capture, release and expire, by slug."""

    class Act:
        def place(self, slug, operation="image_generation", *, key, units=1, ttl_s=900):
            message = PlaceHold(ledger.ids.get(slug, 404), operation, key, units=units, ttl_s=ttl_s)
            with transaction() as ctx:
                return holds.place(ctx.at(ledger.now), message)

        def capture(self, slug, hold, units=None):
            return self._post(Capture(ledger.ids[slug], hold, units=units))

        def reverse(self, slug, hold):
            return self._post(Reverse(ledger.ids[slug], hold))

        def release(self, slug, hold):
            return self._post(Release(ledger.ids[slug], hold))

        def expire(self):
            with transaction() as ctx:
                return len(holds.sweep(ctx.at(ledger.now)))

        def _post(self, message):
            with transaction() as ctx:
                return post.apply(ctx.at(ledger.now), [message])[0]

    return Act()


def figures(ledger, slug="acme"):
    seen = ledger.see(slug)
    return {"credits": seen.credits, "held": seen.held, "available": seen.available}


def test_held_credits_cannot_be_spent_by_others(ledger, act):
    ledger.open_account("acme", credits=12)

    placed = act.place("acme", key="h1", units=2)

    assert (placed.outcome, placed.credits, placed.available) == ("held", 10, 2)
    assert ledger.debit("acme", "image_generation", key="d").outcome == "refused"
    assert figures(ledger) == {"credits": 12, "held": 10, "available": 2}


def test_a_hold_that_does_not_fit_is_refused_at_once_and_recorded(ledger, act):
    ledger.open_account("acme", credits=9)

    placed = act.place("acme", key="h1", units=2)

    assert (placed.outcome, placed.reason, placed.available) == (
        "refused",
        "InsufficientCredits",
        9,
    )
    assert [r.key for r in ledger.see("acme").refusals] == ["h1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"slug": "nobody"}, "UnknownAccount", id="no such account"),
        pytest.param({"slug": "gone"}, "AccountDeleted", id="a deleted account"),
        pytest.param({"operation": "mind_reading"}, "UnknownOperation", id="no such operation"),
    ],
)
def test_a_hold_says_why_not(ledger, act, fields, reason):
    ledger.open_account("acme", credits=100)
    ledger.open_account("gone", credits=100, is_deleted=True)

    placed = act.place(**{"slug": "acme", "key": "h1"} | fields)

    assert (placed.outcome, placed.reason) == ("refused", reason)


def test_placing_twice_holds_once(ledger, act):
    ledger.open_account("acme", credits=100)
    first = act.place("acme", key="h1")

    again = act.place("acme", key="h1")

    assert (again.outcome, again.credits) == (first.outcome, first.credits)
    assert figures(ledger)["held"] == 5


@pytest.mark.parametrize("end", ["capture", "release", "expire"])
def test_a_hold_that_has_ended_is_not_held_again_by_asking_again(ledger, act, end):
    """It was answered "held": the work began again, and finishing it had been answered already."""
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1")
    ledger.pass_time(hours=1)
    act.expire() if end == "expire" else getattr(act, end)("acme", "h1")

    again = act.place("acme", key="h1")

    assert (again.outcome, again.reason) == ("refused", "HoldEnded")
    assert figures(ledger)["held"] == 0
    message = PlaceHold(ledger.ids["acme"], "image_generation", "h1")
    assert holds.error_of(again, message) is None, "a message that comes twice is no dead letter"


def test_a_refused_hold_stays_refused_under_its_key(ledger, act):
    ledger.open_account("acme", credits=0)
    act.place("acme", key="h1")
    ledger.grant("acme", 100, key="gift")

    assert act.place("acme", key="h1").reason == "InsufficientCredits"


def test_a_key_of_another_hold_or_debit_is_reused(ledger, act):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", key="k")
    act.place("acme", key="h1")

    assert act.place("acme", key="k").reason == "KeyReused"
    assert act.place("acme", key="h1", units=3).reason == "KeyReused"
    assert ledger.debit("acme", "image_generation", key="h1").error.name == "KeyReused"


def test_capturing_all_takes_what_was_held(ledger, act):
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1", units=2)

    answer = act.capture("acme", "h1")

    assert answer.outcome == "taken"
    assert (
        ledger.history("acme")
        == """
        opening balance    +100   100
        image_generation    -10    90
    """
    )
    assert figures(ledger) == {"credits": 90, "held": 0, "available": 90}


def test_capturing_part_gives_the_rest_back(ledger, act):
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1", units=4)

    act.capture("acme", "h1", units=1)

    assert figures(ledger) == {"credits": 95, "held": 0, "available": 95}


def test_capturing_more_takes_the_difference_from_what_is_free(ledger, act):
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1", units=1)

    act.capture("acme", "h1", units=3)

    assert figures(ledger) == {"credits": 85, "held": 0, "available": 85}


def test_capturing_more_than_there_is_takes_what_there_is_and_records_the_rest(ledger, act):
    ledger.open_account("acme", credits=12)
    act.place("acme", key="h1", units=2)

    answer = act.capture("acme", "h1", units=4)

    assert answer.entry.amount == -12
    (refusal,) = ledger.see("acme").refusals
    assert (refusal.reason, refusal.facts["needed"], refusal.facts["available"]) == (
        "InsufficientCredits",
        10,
        2,
    )
    assert ledger.audit().agrees


def test_capturing_more_may_become_a_debt_where_the_plan_allows_it(ledger, act):
    ledger.plan("generous", debt_limit=20)
    ledger.open_account("acme", credits=10, plan="generous")
    act.place("acme", key="h1", units=2)

    act.capture("acme", "h1", units=5)

    assert (ledger.see("acme").credits, ledger.see("acme").debt) == (-15, 15)
    assert ledger.audit().agrees


def test_releasing_gives_everything_back_without_an_entry(ledger, act):
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1")

    answer = act.release("acme", "h1")

    assert (answer.outcome, answer.entry) == ("released", None)
    assert figures(ledger) == {"credits": 100, "held": 0, "available": 100}


@pytest.mark.parametrize("second", ["capture", "release"])
def test_finishing_twice_gives_the_first_answer_again(ledger, act, second):
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1")
    act.place("acme", key="h2")
    captured, released = act.capture("acme", "h1"), act.release("acme", "h2")

    again = getattr(act, second)("acme", "h1")
    other = getattr(act, second)("acme", "h2")

    assert (again.entry, again.is_repeat) == (captured.entry, True)
    assert (other.outcome, other.is_repeat) == (released.outcome, True)
    assert figures(ledger)["credits"] == 95


def test_a_hold_expires_by_the_sweep_and_only_then(ledger, act):
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1", ttl_s=60)
    ledger.pass_time(seconds=59)
    assert act.expire() == 0
    ledger.pass_time(seconds=1)

    assert (act.expire(), act.expire()) == (1, 0)
    assert figures(ledger) == {"credits": 100, "held": 0, "available": 100}


def test_a_late_capture_is_taken_from_what_is_free(ledger, act):
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1", ttl_s=60)
    ledger.pass_time(minutes=2)
    act.expire()

    answer = act.capture("acme", "h1")

    assert (answer.outcome, answer.entry.amount) == ("taken", -5)


def test_a_late_capture_that_nothing_covers_is_recorded(ledger, act):
    ledger.open_account("acme", credits=5)
    act.place("acme", key="h1", ttl_s=60)
    ledger.pass_time(minutes=2)
    act.expire()
    ledger.debit("acme", "image_generation", key="d")

    answer = act.capture("acme", "h1")

    assert (answer.outcome, answer.error.name) == ("refused", "InsufficientCredits")
    assert act.capture("acme", "h1").is_repeat


def test_a_capture_is_reversed_by_the_key_of_its_hold(ledger, act):
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1", units=2)
    act.capture("acme", "h1", units=3)

    answer = act.reverse("acme", "h1")

    assert (answer.outcome, answer.entry.amount) == ("given", 15)
    assert figures(ledger) == {"credits": 100, "held": 0, "available": 100}


def test_a_late_capture_can_be_reversed(ledger, act):
    """Its hold stays "expired", and was taken for one that had taken nothing."""
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1", ttl_s=60)
    ledger.pass_time(minutes=2)
    act.expire()
    assert act.reverse("acme", "h1").error.name == "HoldNotFinished"
    act.capture("acme", "h1")

    assert act.reverse("acme", "h1").outcome == "given"
    assert figures(ledger)["credits"] == 100


@pytest.mark.parametrize(
    ("finish", "reason"), [("place", "HoldNotFinished"), ("release", "NothingToReverse")]
)
def test_a_hold_that_has_taken_nothing_is_not_reversed(ledger, act, finish, reason):
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1")
    if finish == "release":
        act.release("acme", "h1")

    assert act.reverse("acme", "h1").error.name == reason


def test_a_late_release_changes_nothing(ledger, act):
    ledger.open_account("acme", credits=100)
    act.place("acme", key="h1", ttl_s=60)
    ledger.pass_time(minutes=2)
    act.expire()

    assert act.release("acme", "h1").outcome == "released"
    assert figures(ledger)["available"] == 100


def test_a_lot_that_expires_keeps_what_is_held_until_the_hold_ends(ledger, act):
    ledger.open_account("acme")
    soon = ledger.now.replace(hour=13)
    ledger.grant("acme", 10, "goodwill", key="gift", expires_at=soon)
    act.place("acme", key="h1", units=1, ttl_s=86_400)
    ledger.pass_time(hours=2)

    assert figures(ledger) == {"credits": 10, "held": 5, "available": 0}
    assert act.capture("acme", "h1").entry.amount == -5
    assert figures(ledger) == {"credits": 5, "held": 0, "available": 0}


def test_holds_take_lots_in_the_order_that_debits_burn_them(ledger, act):
    ledger.open_account("acme")
    ledger.grant("acme", 3, "goodwill", key="a")
    ledger.grant("acme", 20, "top_up", key="b")
    act.place("acme", key="h1")

    act.capture("acme", "h1")

    assert ledger.lots("acme") == {"top_up": 18}


def test_a_hold_of_another_account_is_unknown(ledger, act):
    ledger.open_account("acme", credits=100)
    ledger.open_account("other", credits=100)
    act.place("acme", key="h1")

    assert act.capture("other", "h1").error.name == "UnknownHold"
    assert act.release("other", "nothing").error.name == "UnknownHold"
    assert act.capture("acme", "h1").outcome == "taken"


def test_a_spend_cap_counts_what_is_held(ledger, act):
    ledger.open_account("acme", credits=100)
    with transaction() as ctx:
        ctx.session.execute(
            text("INSERT INTO billing.spend_caps VALUES (:id, 12)"), {"id": ledger.ids["acme"]}
        )
    act.place("acme", key="h1", units=2)

    assert act.place("acme", key="h2").reason == "SpendCapReached"
    assert ledger.debit("acme", "image_generation", key="d").error.name == "SpendCapReached"
    assert ledger.debit("acme", "image_prompt_extraction", key="e").outcome == "taken"


def test_what_a_hold_sets_free_pays_what_is_owed(ledger, act):
    """Credits that a hold or a reversal gives back to an account in debt are not all its own."""
    ledger.plan("generous", debt_limit=10)
    ledger.open_account("acme", credits=10, plan="generous")
    act.place("acme", key="h1", units=2)
    ledger.debit("acme", "image_generation", key="d")
    act.release("acme", "h1")

    assert ledger.see("acme").debt == 0
    assert ledger.lots("acme") == {"opening_balance": 5}
    assert figures(ledger) == {"credits": 5, "held": 0, "available": 5}
    placed = act.place("acme", key="h2", units=2)
    assert (placed.reason, placed.available) == ("InsufficientCredits", 5)
    assert act.place("acme", key="h3").available == 0
    assert ledger.debit("acme", "image_generation", key="e").outcome == "taken"
    assert ledger.audit().agrees


def test_credits_set_free_and_then_lapsed_leave_no_debt_for_what_was_never_spent(ledger, act):
    """The debt stayed beside the free credits, and the account owed once these had expired."""
    ledger.plan("generous", debt_limit=10)
    ledger.open_account("acme", credits=0, plan="generous")
    ledger.grant("acme", 10, key="g", expires_at=ledger.now + dt.timedelta(days=1))
    act.place("acme", key="h1", units=2)
    ledger.debit("acme", "image_generation", key="d")
    ledger.now += dt.timedelta(hours=1)
    ledger.sweep(holds.sweep)

    ledger.now += dt.timedelta(days=2)
    ledger.sweep(expiry.sweep)

    assert (ledger.see("acme").credits, ledger.see("acme").debt) == (0, 0)
    assert ledger.audit().agrees


def test_a_month_that_costs_more_than_an_integer_holds_goes_on(ledger, act):
    """A number out of range broke each debit, and would have undone the app's transaction."""
    ledger.open_account("acme", credits=2**31 - 1)
    ledger.debit("acme", "image_generation", key="1")
    act.place("acme", key="h1")
    with transaction() as ctx:
        ctx.session.execute(text("UPDATE billing.books SET spent = 2147483647"))

    assert ledger.debit("acme", "image_generation", key="2").outcome == "taken"
    assert act.place("acme", key="h2").outcome == "held"
    assert act.capture("acme", "h2").outcome == "taken"


class TestFromTheMainApp:
    """The main app asks on its own connection, in its own transaction."""

    @pytest.fixture
    def connection(self, ledger):
        with closing(connect()) as connection:
            yield connection

    @pytest.fixture
    def client(self):
        return BillingClient("redis://127.0.0.1:1/0")

    def test_a_hold_is_answered_at_once(self, ledger, connection, client):
        account = ledger.open_account("acme", credits=100)

        held = client.place_hold(connection, account, "image_generation", key="h1")

        assert held
        assert (held.credits, held.available) == (5, 95)

    def test_a_refused_hold_says_why(self, ledger, connection, client):
        account = ledger.open_account("acme", credits=0)

        held = client.place_hold(connection, account, "image_generation", key="h1")

        assert not held
        assert held.reason == "InsufficientCredits"

    def test_a_hold_is_gone_with_the_transaction_that_placed_it(self, ledger, connection, client):
        account = ledger.open_account("acme", credits=100)
        client.place_hold(connection, account, "image_generation", key="h1")

        connection.rollback()

        assert figures(ledger) == {"credits": 100, "held": 0, "available": 100}

    def test_a_hold_between_a_periods_end_and_its_renewal_leaves_its_key_free(
        self, ledger, connection, client
    ):
        """It was refused for good, though the new period's credits came a moment later."""
        account = ledger.open_account("acme")
        ledger.seed("acme")
        with transaction() as ctx:
            ctx.session.execute(
                text(
                    "UPDATE billing.credit_calendars"
                    " SET anchor_at = now() - interval '40 days', next_due_at = now()"
                )
            )
            ctx.session.execute(text("UPDATE billing.lots SET expires_at = now()"))
        ledger.now = dt.datetime.now(dt.UTC)

        refused = client.place_hold(connection, account, "image_generation", key="h1")
        connection.commit()
        ledger.sweep()
        held = client.place_hold(connection, account, "image_generation", key="h1")

        assert (refused.reason, bool(held)) == ("RenewalDue", True)
        assert ledger.see("acme").refusals == []

    def test_a_key_that_another_account_claims_at_once_is_each_accounts_own(
        self, ledger, connection, client
    ):
        """A broken constraint would have undone all that the app's transaction did."""
        one, other = ledger.open_account("one", credits=9), ledger.open_account("other", credits=9)
        client.place_hold(connection, one, "image_generation", key="h1")

        with closing(connect()) as second, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.place_hold, second, other, "image_generation", key="h1")
            wait_for_a_lock()
            connection.commit()
            held = waiting.result()

        assert (held.is_held, held.reason) == (True, None)


def wait_for_a_lock():
    """Until some transaction waits for another."""
    for _ in range(1000):
        with engine().connect() as watcher:
            if watcher.execute(text("SELECT 1 FROM pg_locks WHERE NOT granted")).first():
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def test_50_threads_placing_holds_never_hold_more_than_there_is(ledger, act):
    ledger.open_account("acme", credits=100)
    outcomes = []

    def place(number):
        outcomes.append(act.place("acme", key=f"h{number}").outcome)

    threads = [threading.Thread(target=place, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (outcomes.count("held"), outcomes.count("refused")) == (20, 30)
    assert figures(ledger) == {"credits": 100, "held": 100, "available": 0}
    assert ledger.audit().agrees
