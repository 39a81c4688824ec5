"""Many threads ask anything of the same accounts, by every door at once; the books stay right."""

import datetime as dt
import random
import threading
import time
from collections import Counter
from contextlib import closing

import pytest

from billing.postgres.transient import is_transient
from billing.renewal import expiry, plan_changes, renewals
from billing.usage import holds, inbox
from billing.usage import post as posting
from billing_client import Capture, Debit, PlaceHold, Release, Reverse, new_key
from billing_client import inbox as door
from tests.app import connect
from worker.database import transaction

ACCOUNTS = 6
PLANS = ("starter", "generous", "saving")


class Crowd:
    """Threads that keep what they were answered; an error that does not pass fails the test."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.accounts = [
            ledger.open_account(f"a{n}", credits=150, plan="generous" if n % 2 else "starter")
            for n in range(ACCOUNTS)
        ]
        self.keys = [new_key() for _ in range(60)]
        self.holds = [new_key() for _ in range(25)]
        self.answers = []
        self.errors = []

    def run(self, *jobs):
        threads = [threading.Thread(target=self._guarded, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.errors == []

    def _guarded(self, job, *arguments):
        try:
            job(*arguments)
        except Exception as error:
            self.errors.append(error)

    def insist(self, act):
        """As a worker does: what fails in passing goes again as a whole."""
        for tries in range(50):
            try:
                with transaction() as ctx:
                    return act(ctx)
            except Exception as error:
                if not is_transient(error):
                    raise
                time.sleep(0.01 * tries)
        raise AssertionError("an error that passes did not pass")

    def message(self, dice):
        # Each key and each hold has its account, as with real senders.
        number = dice.randrange(len(self.keys))
        account, key = self.accounts[number % ACCOUNTS], self.keys[number]
        number = dice.randrange(len(self.holds))
        holder, hold = self.accounts[number % ACCOUNTS], self.holds[number]
        return dice.choice(
            [
                Debit(account, "idea_generation", key, units=number % 7 + 1),
                Debit(account, "image_prompt_extraction", new_key()),
                Reverse(account, key),
                Capture(holder, hold, units=dice.choice([None, 1, 4])),
                Release(holder, hold),
            ]
        )

    def post(self, seed):
        dice = random.Random(seed)
        for _ in range(15):
            messages = [self.message(dice) for _ in range(12)]
            self.answers += self.insist(
                lambda ctx, asked=messages: posting.apply(ctx.at(self.ledger.now), asked)
            )

    def leave(self, seed):
        dice = random.Random(seed)
        with closing(connect()) as app:
            for _ in range(10):
                door.leave(app, [self.message(dice) for _ in range(12)])
                app.commit()

    def drain(self, _):
        after, empty = inbox.LOWEST, 0
        while empty < 20:
            try:
                drained = self.insist(
                    lambda ctx, after=after: inbox.drain(
                        ctx.at(self.ledger.now), limit=40, after=after
                    )
                )
            except inbox.AccountsLocked as error:
                after = error.after
                continue
            after, empty = drained.after, 0 if drained.rows else empty + 1
            self.answers += drained.answers
            time.sleep(0.005)

    def hold(self, seed):
        dice = random.Random(seed)
        for _ in range(40):
            number = dice.randrange(len(self.holds))
            message = PlaceHold(
                self.accounts[number % ACCOUNTS],
                "image_generation",
                self.holds[number],
                units=number % 3 + 1,
                ttl_s=60,
            )
            # Some are placed as if they were old, so that the sweep finds them due.
            placed_at = self.ledger.now.replace(hour=dice.choice([10, 12]))
            self.insist(lambda ctx, m=message, at=placed_at: holds.place(ctx.at(at), m))

    def sweep(self, _):
        for _ in range(30):
            self.insist(lambda ctx: holds.sweep(ctx.at(self.ledger.now)))
            time.sleep(0.005)

    def calendar(self, seed):
        """A year goes by for the sweeps, while the main app changes plans."""
        dice = random.Random(seed)
        for days in range(0, 360, 12):
            now = self.ledger.now + dt.timedelta(days=days)
            self.ledger.change_plan(f"a{dice.randrange(ACCOUNTS)}", dice.choice(PLANS))
            for sweep in (renewals.sweep_due, plan_changes.sweep, expiry.sweep):
                self.insist(lambda ctx, sweep=sweep, now=now: sweep(ctx.at(now)))


@pytest.fixture
def crowd(ledger):
    ledger.plan("generous", debt_limit=25)
    return Crowd(ledger)


def test_any_message_by_any_door_at_once_leaves_the_books_right(crowd, ledger):
    crowd.run(
        (crowd.post, 1),
        (crowd.post, 2),
        (crowd.leave, 3),
        (crowd.leave, 4),
        (crowd.drain, 5),
        (crowd.drain, 6),
        (crowd.hold, 7),
        (crowd.sweep, 8),
    )
    # A drain passes over accounts that others hold: what both passed over is taken now.
    while (
        rest := crowd.insist(
            lambda ctx: inbox.drain(ctx.at(ledger.now), limit=500, after=inbox.LOWEST)
        )
    ).rows:
        crowd.answers += rest.answers

    moved = Counter()
    for answer in crowd.answers:
        if answer.entry and not answer.is_repeat:
            moved[answer.entry.account_id] += answer.entry.amount
    for number, account in enumerate(crowd.accounts):
        seen = ledger.see(f"a{number}")
        assert seen.credits == seen.app_credits == 150 + moved[account]
        assert seen.credits >= -25 * (number % 2)
    assert {answer.outcome for answer in crowd.answers} >= {"taken", "given", "released", "refused"}
    assert ledger.audit().agrees


def test_a_year_of_renewals_meanwhile_leaves_the_books_right(crowd, ledger):
    ledger.plan("saving", included_credits=400, rollover_cap=100)
    ledger.repair()
    crowd.run(
        (crowd.post, 1),
        (crowd.post, 2),
        (crowd.leave, 3),
        (crowd.drain, 4),
        (crowd.hold, 5),
        (crowd.sweep, 6),
        (crowd.calendar, 7),
        (crowd.calendar, 8),
    )

    assert ledger.audit().agrees
    ledger.pass_time(days=360)
    ledger.sweep(holds.sweep, renewals.sweep_due, plan_changes.sweep, expiry.sweep)
    assert ledger.audit().agrees
    for number in range(ACCOUNTS):
        seen = ledger.see(f"a{number}")
        assert seen.credits == seen.app_credits
        assert ledger.cycle(f"a{number}").period_number == 12


def test_50_threads_debiting_one_account_never_overspend(crowd, ledger):
    account = crowd.accounts[0]

    def debit(number):
        message = Debit(account, "image_generation", f"debit:{number}")
        crowd.answers += crowd.insist(lambda ctx: posting.apply(ctx.at(ledger.now), [message]))

    crowd.run(*[(debit, number) for number in range(50)])

    assert Counter(answer.outcome for answer in crowd.answers) == {"taken": 30, "refused": 20}
    assert ledger.see("a0").credits == 0
    assert ledger.audit().agrees
