"""Whatever is asked, in any order, repeated and at once: the books do what a plain model says.

The model is tests/credits_model.py. After each step everything that can be seen of every account is
compared with it, and the audit must agree. A new act is one rule here and one method there.
"""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing.errors import Rejected
from billing.ledger import grants
from billing.renewal import expiry, renewals
from billing.usage import holds, inbox, post
from billing_client import Capture, Debit, Grant, PlaceHold, Release, Reverse
from billing_client import inbox as door
from models.calendar import CreditCalendar
from tests.app import connect
from tests.conftest import _EMPTY
from tests.credits_model import FOR_EVER, Account, Calendar, Model, Said
from tests.seeds import part
from tests.story import Ledger
from worker.database import engine, transaction

PRICES = {
    "clustering": (10, 1, True),
    "idea_generation": (2, 1, False),
    "content_generation": (1, 100, False),
}
SLUGS = ("plain", "owing", "capped")
KINDS = {"debit": Debit, "capture": Capture, "release": Release, "reverse": Reverse}


def owned(letter, count):
    """An account and a key: mostly each key has its own account, now and then any has any."""
    own = [(SLUGS[n % 3], f"{letter}{n}") for n in range(count)]
    odd = st.tuples(st.sampled_from((*SLUGS, "nobody")), st.sampled_from([key for _, key in own]))
    return st.integers(0, 5).flatmap(lambda n: st.sampled_from(own) if n else odd)


operations = st.sampled_from(("idea_generation", "idea_generation", *PRICES, "mind_reading"))
units = st.integers(0, 5).flatmap(lambda n: st.integers(1, 6 if n else 1200))
debit_keys = owned("k", 24)
hold_keys = owned("h", 6)
lots_of_keys = st.integers(0, 4).flatmap(lambda n: owned("g", 12) if n else debit_keys)
WORDS = {
    "debit": st.builds(
        lambda own, operation, units, hours: {
            "account": own[0],
            "key": own[1],
            "operation": operation,
            "units": units,
            **({"hours_ago": hours} if hours > 0 else {}),
        },
        debit_keys,
        operations,
        units,
        st.integers(-40, 40),
    ),
    "capture": st.builds(
        lambda own, units: {
            "account": own[0],
            "hold": own[1],
            **({"units": units} if units > 0 else {}),
        },
        hold_keys,
        st.integers(-6, 12),
    ),
    "release": st.builds(lambda own: {"account": own[0], "hold": own[1]}, hold_keys),
    "reverse": st.builds(lambda own: {"account": own[0], "key": own[1]}, debit_keys),
}
place_words = st.tuples(
    st.integers(0, 5).flatmap(lambda n: hold_keys if n else debit_keys),
    operations,
    st.integers(1, 9),
    st.sampled_from((60, 3600, 86_400)),
)
messages = st.sampled_from(("debit",) * 6 + ("capture", "capture", "release", "reverse")).flatmap(
    lambda kind: st.tuples(st.just(kind), WORDS[kind])
)
#: What is looked at: a query, and what the model has of an account.
LOOKS = {
    "balances": (
        "SELECT id, credits FROM igny8_tenants ORDER BY id",
        lambda account: [(account.credits,)],
    ),
    "books": (
        "SELECT account_id, credits, held, debt FROM billing.books ORDER BY account_id",
        lambda account: [(account.credits, account.held, account.debt)],
    ),
    "entries": (
        """SELECT tenant_id, CASE WHEN type IN ('expiry', 'repayment') THEN type ELSE idempotency_key END, amount
           FROM igny8_credit_transactions ORDER BY tenant_id, id""",
        lambda account: [(entry.key, entry.amount) for entry in account.entries],
    ),
    "lots": (
        """SELECT account_id, key, source, remaining, held, expires_at FROM billing.lots
           ORDER BY account_id, id""",
        lambda account: [
            (lot.key, lot.source, lot.remaining, lot.held, end_of(lot)) for lot in account.lots
        ],
    ),
    "refusals": (
        "SELECT account_id, key, reason FROM billing.refusals ORDER BY account_id, id",
        lambda account: account.refusals,
    ),
}


def end_of(lot):
    return None if lot.expires_at == FOR_EVER else lot.expires_at


class CreditsMachine(RuleBasedStateMachine):
    """Three accounts and a model of each: one plain, one with a spend cap, one that may owe.

    The last has a calendar, whose credits come and go each month, and roll over in part.
    """

    @initialize()
    def open_accounts(self):
        with engine().begin() as connection:
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            connection.execute(sa.text(_EMPTY))
        self.ledger = Ledger()
        self.sent = []
        self.model = Model(
            {"plain": Account(), "owing": Account(debt_limit=15), "capped": Account(cap=40)},
            PRICES,
        )
        self.ledger.plan("generous", included_credits=25, debt_limit=15, rollover_cap=8)
        for slug, credits in {"plain": 30, "owing": -4, "capped": 90}.items():
            plan = "generous" if slug == "owing" else "starter"
            self.ledger.open_account(slug, credits=credits, plan=plan)
            self.model.accounts[slug].open(credits, self.ledger.ids[slug], self.ledger.now)
        with transaction() as ctx:
            ctx.session.execute(
                sa.text("INSERT INTO billing.spend_caps VALUES (:id, 40)"),
                {"id": self.ledger.ids["capped"]},
            )
            ctx.session.execute(
                sa.text("SELECT billing.open_book(id, :now) FROM igny8_tenants"),
                {"now": self.ledger.now},
            )
        self.begin_a_calendar("owing")

    def begin_a_calendar(self, slug):
        """As if the main app had given the first period's credits."""
        account_id, due = self.ledger.ids[slug], self.ledger.now.replace(month=4)
        self.model.accounts[slug].calendar = Calendar(account_id, due, 25, 8)
        with transaction() as ctx:
            ctx.session.add(
                CreditCalendar(
                    account_id=account_id,
                    anchor_at=self.ledger.now,
                    period_number=1,
                    first_period=2,
                    next_due_at=due,
                    plan_id=self.ledger.plan("generous"),
                    recorded_at=self.ledger.now,
                )
            )

    # --- what is asked -------------------------------------------------------------------------------

    @rule(message=messages)
    def one_message(self, message):
        self.send([message])

    @rule(asked=st.lists(messages, min_size=2, max_size=8))
    def a_set_in_one_transaction(self, asked):
        self.send(asked)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def some_of_it_again(self, data):
        self.send(data.draw(st.lists(st.sampled_from(self.sent), min_size=1, max_size=5)))

    @rule(
        asked=st.lists(messages, min_size=1, max_size=8),
        how=st.sampled_from(("row by row", "in one set", "in savepoints")),
    )
    def through_the_inbox(self, asked, how):
        """Left on the main app's connection, all or nothing; drained account by account."""
        with closing(connect()) as app:
            door.leave(app, [self.real(message) for message in asked])
            app.commit()
        ordered = sorted(asked, key=lambda message: self.id_of(message[1]["account"]))
        if how == "row by row":
            answers = [answer for _ in asked for answer in self.drained(limit=1)]
        else:
            answers = self.drained(limit=500, one_by_one=how == "in savepoints")
        expected = [self.modelled(message) for message in ordered]
        assert [said(answer) for answer in answers] == expected
        with transaction() as ctx:
            assert inbox.waiting(ctx.session)[0] == 0

    @rule(asked=st.lists(messages, min_size=1, max_size=4))
    def the_same_set_by_two_workers_at_once(self, asked):
        """One of them waits for the accounts' locks, and then finds what the other has done."""
        expected = [[self.modelled(message) for message in asked] for _ in range(2)]
        barrier = threading.Barrier(2)

        def work(_):
            barrier.wait()
            return [said(answer) for answer in self.posted(asked)]

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(work, range(2)))
        assert sorted(answers, key=str) == sorted(expected, key=str)

    @rule(
        own=lots_of_keys,
        amount=st.integers(1, 40),
        source=st.sampled_from(("goodwill", "top_up", "plan", "trial")),
        hours=st.none() | st.integers(0, 60),
    )
    def grant(self, own, amount, source, hours):
        account, key = own
        expires_at = None if hours is None else self.ledger.now + dt.timedelta(hours=hours)
        message = Grant(self.id_of(account), amount, source, key, expires_at)
        try:
            with transaction() as ctx:
                granted = grants.apply(ctx.at(self.ledger.now).by("main_app"), message)
            answer = Said("granted", granted.entry.amount)
        except Rejected as error:
            answer = Said("rejected", reason=error.name)
        assert answer == self.model.grant(
            self.ledger.now,
            account=account,
            amount=amount,
            source=source,
            key=key,
            expires_at=expires_at,
        )

    @rule(asked=st.lists(place_words, min_size=1, max_size=4))
    def place_holds(self, asked):
        for (account, key), operation, units, ttl_s in asked:
            message = PlaceHold(self.id_of(account), operation, key, units=units, ttl_s=ttl_s)
            with transaction() as ctx:
                placed = holds.place(ctx.at(self.ledger.now), message)
            self.model.renew(self.ledger.now, account)
            told = self.model.place(
                self.ledger.now,
                account=account,
                operation=operation,
                units=units,
                key=key,
                ttl_s=ttl_s,
            )
            is_held = placed.outcome == "held"
            assert (is_held, placed.reason) == (told.outcome == "held", told.reason)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data(), finish=st.sampled_from(("capture", "release")), units=st.integers(-6, 12))
    def finish_a_hold(self, data, finish, units):
        account, key = data.draw(st.sampled_from(sorted(self.model.holds)))
        words = {"account": account, "hold": key}
        if finish == "capture" and units > 0:
            words["units"] = units
        self.send([(finish, words)])

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def reverse_a_debit_or_a_capture(self, data):
        kind, words = data.draw(st.sampled_from(self.sent))
        if kind in {"debit", "capture"}:
            key = words["key"] if kind == "debit" else words["hold"]
            self.send([("reverse", {"account": words["account"], "key": key})])

    @rule()
    def sweep_of_holds(self):
        with transaction() as ctx:
            expired = len(holds.sweep(ctx.at(self.ledger.now)))
        assert expired == self.model.expire_holds(self.ledger.now)

    @rule()
    def sweep_of_lots(self):
        swept = self.ledger.sweep(expiry.sweep)
        assert len(swept) == self.model.expire_lots(self.ledger.now)

    @rule()
    def sweep_of_renewals(self):
        swept = self.ledger.sweep(renewals.sweep_due)
        assert len(swept) == self.model.renew(self.ledger.now, *SLUGS)

    @rule(hours=st.sampled_from((1, 7, 30, 24 * 20)))
    def time_passes(self, hours):
        self.ledger.pass_time(hours=hours)

    @rule(
        operation=st.sampled_from((*PRICES, "mind_reading")),
        credits=st.integers(0, 6),
        per=st.sampled_from((1, 3, 100)),
        is_fixed=st.booleans(),
        is_active=st.sampled_from((True, True, True, False)),
    )
    def price_changes(self, operation, credits, per, is_fixed, is_active):
        self.ledger.pass_time(seconds=1)
        with transaction() as ctx:
            ctx.session.execute(
                sa.text(
                    "INSERT INTO billing.prices (operation, valid_from, credits_per_unit,"
                    " units_per_price, is_fixed, is_active)"
                    " VALUES (:operation, :now, :credits, :per, :is_fixed, :is_active)"
                ),
                {
                    "operation": operation,
                    "now": self.ledger.now,
                    "credits": credits,
                    "per": per,
                    "is_fixed": is_fixed,
                    "is_active": is_active,
                },
            )
        price = (credits if is_active else None, per, is_fixed)
        self.model.prices.setdefault(operation, []).append((self.ledger.now, *price))

    # --- what must hold after each of them -------------------------------------------------------------

    @invariant()
    def everything_is_as_the_model_says(self):
        with transaction() as ctx:
            for name, (query, in_the_model) in LOOKS.items():
                seen = [tuple(row) for row in ctx.session.execute(sa.text(query))]
                told = [
                    (self.ledger.ids[slug], *row)
                    for slug, account in self.model.accounts.items()
                    for row in in_the_model(account)
                ]
                assert seen == told, name

    @invariant()
    def what_may_be_spent_is_as_the_model_says(self):
        """Of one account after each step, in turn."""
        slug = SLUGS[len(self.sent) % len(SLUGS)]
        account = self.model.accounts[slug]
        assert self.ledger.see(slug).available == account.available(self.ledger.now)

    @invariant()
    def the_audit_agrees(self):
        findings = self.ledger.audit().findings
        # What is over waits for its sweep, which is one of the rules.
        del findings["expired_lots"], findings["late_renewals"]
        assert not any(findings.values()), findings

    # --- how it is asked -------------------------------------------------------------------------------

    def send(self, asked):
        """In one set; the model does them one by one."""
        answers = [said(answer) for answer in self.posted(asked)]
        assert answers == [self.modelled(message) for message in asked]

    def posted(self, asked):
        with transaction() as ctx:
            return post.apply(ctx.at(self.ledger.now), [self.real(message) for message in asked])

    def modelled(self, message):
        kind, words = message
        self.sent.append(message)
        self.model.renew(self.ledger.now, words["account"])
        return getattr(self.model, kind)(self.ledger.now, **self.with_time(words))

    def real(self, message):
        kind, words = message
        fields = self.with_time(words)
        return KINDS[kind](account_id=self.id_of(fields.pop("account")), **fields)

    def with_time(self, words):
        words = dict(words)
        if "hours_ago" in words:
            words["happened_at"] = self.ledger.now - dt.timedelta(hours=words.pop("hours_ago"))
        return words

    def drained(self, **options):
        with transaction() as ctx:
            return inbox.drain(ctx.at(self.ledger.now), after=inbox.LOWEST, **options).answers

    def id_of(self, slug):
        return self.ledger.ids.get(slug, 404)


def said(answer):
    return Said(
        answer.outcome,
        answer.entry.amount if answer.entry else None,
        answer.error.name if answer.error else None,
    )


def run(*, examples, steps, phases):
    run_state_machine_as_test(
        CreditsMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=phases,
        ),
    )


@pytest.mark.usefixtures("database")
def test_the_books_do_what_the_model_says():
    """A story that fails is told as it was found; to shorten it takes minutes (see below)."""
    run(examples=8, steps=15, phases=(Phase.reuse, Phase.generate))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("database")
def test_the_books_do_what_the_model_says_in_600_stories():
    run(examples=part(600), steps=40, phases=tuple(Phase))
