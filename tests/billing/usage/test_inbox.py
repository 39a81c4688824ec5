"""Debits that the main app leaves in its own transactions: they count when those commit."""

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from random import Random

import psycopg2
import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.orm import Session

import tasks.credits
from billing.context import Context
from billing.operations import dead_letters
from billing.usage import inbox
from billing_client import BillingClient, Capture, Debit, Grant, PlaceHold, Release, Reverse
from billing_client import inbox as door
from billing_client.fields import MAX_INBOX_BYTES
from tests.app import DjangoConnection, connect
from worker.database import engine, transaction
from worker.debits.inbox_drain import InboxDrain


@pytest.fixture
def app(ledger):
    with closing(connect()) as connection:
        yield connection


@pytest.fixture
def client():
    """Rings no bell: the broker is away, and nothing here needs it."""
    return BillingClient("redis://127.0.0.1:1/0")


@pytest.fixture
def drain(ledger):
    """Drains a set; returns what it took."""

    def one_set(limit=500, after=inbox.LOWEST, **options):
        try:
            with transaction() as ctx:
                return inbox.drain(ctx.at(ledger.now), limit=limit, after=after, **options)
        except inbox.AccountsLocked as error:
            return inbox.Drained(0, [], 0, error.after)

    return one_set


def leave_raw(app, account_id, task, arguments):
    """A row as no client would write it."""
    with app.cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing.inbox (account_id, task, arguments) VALUES (%s, %s, %s)",
            [account_id, task, arguments],
        )


def waiting():
    with transaction() as ctx:
        return inbox.waiting(ctx.session)[0]


def letters():
    with transaction() as ctx:
        return dead_letters.list_open(ctx.session, limit=100)


class TestTheAppsTransaction:
    def test_a_debit_counts_when_the_apps_transaction_commits(self, ledger, app, client, drain):
        account = ledger.open_account("acme", credits=10)
        client.debit_in(app, account, "image_prompt_extraction", key="d")
        assert drain().rows == 0

        app.commit()

        assert drain().rows == 1
        assert ledger.see("acme").credits == 8

    def test_a_debit_never_counts_when_it_rolls_back(self, ledger, app, client, drain):
        account = ledger.open_account("acme", credits=10)
        client.debit_in(app, account, "image_prompt_extraction", key="d")

        app.rollback()

        assert (drain().rows, ledger.see("acme").credits) == (0, 10)

    def test_one_transaction_may_leave_several_messages(self, ledger, app, client, drain):
        account = ledger.open_account("acme", credits=100)
        client.place_hold(app, account, "image_generation", key="h")
        client.place_hold(app, account, "image_generation", key="gone")
        client.debit_in(app, account, "clustering", key="d1")
        client.debit_in(app, account, "clustering", key="d2")
        door.leave(app, [Reverse(account, "d1"), Capture(account, "h"), Release(account, "gone")])
        app.commit()

        answers = drain().answers

        assert [a.outcome for a in answers] == ["taken", "taken", "given", "taken", "released"]
        assert (
            ledger.history("acme")
            == """
            opening balance          +100   100
            clustering                -10    90
            clustering                -10    80
            reversal of clustering    +10    90
            image_generation           -5    85
        """
        )

    def test_left_twice_under_one_key_it_is_taken_once(self, ledger, app, client, drain):
        account = ledger.open_account("acme", credits=10)
        for _ in range(2):
            client.debit_in(app, account, "image_prompt_extraction", key="d")
        app.commit()

        assert [a.is_repeat for a in drain().answers] == [False, True]
        assert ledger.see("acme").credits == 8

    def test_1200_debits_are_left_at_once(self, ledger, app, client, drain):
        account = ledger.open_account("acme", credits=5000)
        debits = [Debit(account, "image_prompt_extraction", f"d{n}") for n in range(1200)]

        assert client.debit_many_in(app, debits) == 1200
        app.commit()

        assert [drain().rows for _ in range(4)] == [500, 500, 200, 0]
        assert ledger.see("acme").credits == 5000 - 2400
        assert [e.key for e in ledger.see("acme").entries][1:] == [d.key for d in debits]

    def test_djangos_connection_serves_as_well(self, ledger, app, client, drain):
        account = ledger.open_account("acme", credits=10)
        django = DjangoConnection(app)

        with django.atomic():
            assert client.place_hold(django, account, "image_generation", key="h")
        with django.atomic():
            client.debit_in(
                django, account, "image_prompt_extraction", key="d", metadata={"%": "%s"}
            )
        with pytest.raises(ZeroDivisionError), django.atomic():
            client.debit_in(django, account, "image_prompt_extraction", key="lost")
            raise ZeroDivisionError

        assert [a.message.metadata for a in drain().answers] == [{"%": "%s"}]
        assert (ledger.see("acme").credits, ledger.see("acme").held) == (8, 5)

    @pytest.mark.parametrize(
        "message",
        [
            pytest.param(Grant(1, 5, "top_up", "g"), id="a grant"),
            pytest.param(PlaceHold(1, "clustering", "h"), id="a hold, which needs its answer"),
        ],
    )
    def test_a_message_of_another_kind_is_not_left(self, ledger, app, message, drain):
        account = ledger.open_account("acme", credits=10)

        with pytest.raises(TypeError, match=type(message).__name__):
            door.leave(app, [Debit(account, "clustering", "d"), message])

        app.commit()
        assert waiting() == 0


class TestOrder:
    def test_the_order_of_an_account_is_kept_with_two_drains_at_once(self, ledger, app, drain):
        accounts = [ledger.open_account(f"a{n}", credits=100_000) for n in range(4)]
        for number in range(150):
            door.leave(app, [Debit(a, "clustering", f"{a}:{number:03}") for a in accounts])
        app.commit()

        def empty_it(_):
            while waiting():
                drain(limit=17)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(empty_it, range(2)))

        for number, account in enumerate(accounts):
            taken = [e.key for e in ledger.see(f"a{number}").entries][1:]
            assert taken == [f"{account}:{n:03}" for n in range(150)]
        assert ledger.audit().agrees

    def test_a_transaction_that_commits_late_is_found(self, ledger, app, client, drain):
        """Its row has a lower id than one that is long gone."""
        account = ledger.open_account("acme", credits=100)
        client.debit_in(app, account, "clustering", key="early id")
        with closing(connect()) as other:
            client.debit_in(other, account, "clustering", key="late id")
            other.commit()
        after = drain().after

        app.commit()

        assert [a.message.key for a in drain(after=after).answers] == ["early id"]

    def test_a_set_begins_behind_the_account_where_the_last_one_ended(self, ledger, app, drain):
        accounts = [ledger.open_account(f"a{n}", credits=100) for n in range(3)]
        door.leave(app, [Debit(a, "clustering", f"{a}:{n}") for a in accounts for n in range(2)])
        app.commit()

        after, taken = inbox.LOWEST, []
        while waiting():
            drained = drain(limit=1, after=after)
            after = drained.after
            taken += [accounts.index(a.message.account_id) for a in drained.answers]

        assert taken == [0, 1, 2, 0, 1, 2]

    def test_a_set_takes_no_more_rows_than_its_limit(self, ledger, app, drain):
        """It took a row of each account that waited, however many those were."""
        accounts = [ledger.open_account(f"a{n}", credits=100) for n in range(30)]
        door.leave(app, [Debit(a, "clustering", f"{a}:{n}") for a in accounts for n in range(2)])
        app.commit()

        assert [drain(limit=7).rows for _ in range(2)] == [7, 7]

    def test_an_account_that_is_locked_is_left_for_later_and_holds_up_no_other(
        self, ledger, app, client, drain
    ):
        busy, idle = (ledger.open_account(slug, credits=100) for slug in ("busy", "idle"))
        door.leave(app, [Debit(busy, "clustering", "b"), Debit(idle, "clustering", "i")])
        app.commit()
        client.place_hold(app, busy, "image_generation", key="h")

        while_locked = [a.message.key for a in drain().answers]
        app.commit()

        assert while_locked == ["i"]
        assert [a.message.key for a in drain().answers] == ["b"]

    def test_a_set_is_taken_and_done_without_reading_a_whole_table(self, ledger, app):
        """However many rows wait, and whatever the statistics said when the plan was made."""
        account = ledger.open_account("acme", credits=100_000)
        others = [ledger.open_account(f"a{n}", credits=100) for n in range(50)]
        door.leave(app, [Debit(a, "clustering", f"{a}") for a in others])
        door.leave(app, [Debit(account, "clustering", f"{n}") for n in range(3000)])
        app.commit()
        with Session(own_connection()) as session:
            assert (
                inbox.drain(Context(session, ledger.now), limit=500, after=inbox.LOWEST).rows == 500
            )
            assert rows_read_in_whole(session) == {}

    def test_few_rows_of_many_accounts_do_not_wait_for_many_rows_of_one(self, ledger, app, drain):
        small = [ledger.open_account(f"a{n}", credits=100) for n in range(10)]
        big = ledger.open_account("big", credits=100)
        more = [ledger.open_account(f"b{n}", credits=100) for n in range(10)]
        with app.cursor() as cursor:
            cursor.execute(
                "INSERT INTO billing.inbox (account_id, task, arguments)"
                " SELECT %s, 'credits.debit', jsonb_build_object('account_id', %s,"
                " 'operation', 'clustering', 'key', 'big:' || n) FROM generate_series(1, 20000) n",
                [big, big],
            )
        door.leave(
            app, [Debit(a, "clustering", f"{a}:{n}") for n in range(5) for a in small + more]
        )
        app.commit()

        after, taken = inbox.LOWEST, Counter()
        for _ in range(2):
            drained = drain(after=after)
            after = drained.after
            taken.update(a.message.account_id for a in drained.answers)

        assert [taken[account] for account in small + more] == [5] * 20
        assert taken[big] == 2 * 500 - 100


DEBIT = "credits.debit"
GOOD = '{"account_id": 1, "operation": "clustering", "key": "k"}'


def with_units(written):
    return f'{GOOD[:-1]}, "units": {written}}}'


class TestWhatCannotBeDone:
    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            pytest.param((1, "credits.grant", GOOD), "task", id="a task of the broker's"),
            pytest.param((1, "no.such", GOOD), "task", id="no task"),
            pytest.param((2, DEBIT, GOOD), "account_id", id="another account's row"),
            pytest.param((0, DEBIT, GOOD), "account_id", id="account 0"),
            pytest.param((-5, DEBIT, GOOD), "account_id", id="a negative account"),
            pytest.param((1, DEBIT, "{}"), "account_id", id="no fields"),
            pytest.param((1, DEBIT, "[]"), "arguments", id="a list"),
            pytest.param(
                (1, DEBIT, '["account_id", "operation", "key"]'), "arguments", id="a list of names"
            ),
            pytest.param((1, DEBIT, "7"), "arguments", id="a number"),
            pytest.param((1, DEBIT, "null"), "arguments", id="null"),
            pytest.param((1, DEBIT, '"text"'), "arguments", id="a text"),
            pytest.param((1, DEBIT, with_units("0")), "units", id="units out of bounds"),
            pytest.param(
                (1, DEBIT, with_units("1e5000")), "arguments", id="more digits than Python reads"
            ),
            pytest.param(
                (1, DEBIT, with_units("9" * 400 + ".5")), "units", id="a number beyond all floats"
            ),
            pytest.param(
                (1, DEBIT, with_units("[" * 3000 + "]" * 3000)), "", id="3,000 lists in each other"
            ),
        ],
    )
    def test_a_row_that_is_no_message_becomes_a_dead_letter_beside_good_ones(
        self, ledger, app, drain, row, reason
    ):
        account = ledger.open_account("acme", credits=100)
        assert account == 1
        door.leave(app, [Debit(account, "clustering", "before")])
        leave_raw(app, *row)
        door.leave(app, [Debit(account, "clustering", "after")])
        app.commit()

        drained = drain()

        assert (drained.rows, drained.dead, waiting()) == (3, 1, 0)
        (letter,) = letters()
        assert (letter.task, letter.message_id) == (row[1], "inbox:2")
        assert letter.reason.startswith(f"Field '{reason}")
        assert [e.key for e in ledger.see("acme").entries][1:] == ["before", "after"]

    def test_a_debit_of_an_account_that_does_not_exist_becomes_a_dead_letter(self, app, drain):
        door.leave(app, [Debit(404, "clustering", "d")])
        app.commit()

        assert drain().dead == 1
        (letter,) = letters()
        assert (letter.error, letter.task) == ("UnknownAccount", "credits.debit")
        assert Debit.from_arguments(letter.arguments) == Debit(404, "clustering", "d")

    def test_a_refused_debit_is_answered_and_no_dead_letter(self, ledger, app, drain):
        account = ledger.open_account("acme", credits=0)
        door.leave(app, [Debit(account, "clustering", "d")])
        app.commit()

        assert drain().dead == 0
        assert [r.reason for r in ledger.see("acme").refusals] == ["InsufficientCredits"]

    def test_row_by_row_a_row_that_breaks_dies_alone(self, ledger, app, drain):
        """A book that was changed by SQL, beside its lots: Postgres refuses what comes of it."""
        broken, fine = (ledger.open_account(slug, credits=100) for slug in ("broken", "fine"))
        ledger.debit("broken", key="first")
        with engine().begin() as connection:
            connection.execute(
                text("UPDATE billing.books SET credits = 7 WHERE account_id = :id"),
                {"id": broken},
            )
        door.leave(app, [Debit(broken, "clustering", "b"), Debit(fine, "clustering", "f")])
        app.commit()

        drained = drain(one_by_one=True)

        assert (drained.rows, drained.dead, waiting()) == (2, 1, 0)
        assert [letter.error for letter in letters()] == ["IntegrityError"]
        assert (ledger.see("broken").credits, ledger.see("fine").credits) == (7, 90)


class TestTwoDrains:
    """What waits is one busy account's: the second drain opens the rows behind the first one's."""

    @pytest.fixture
    def busy(self, ledger, app):
        account = ledger.open_account("busy", credits=1000)
        door.leave(app, [Debit(account, "clustering", f"{n}") for n in range(9)])
        app.commit()
        return account

    @pytest.fixture
    def first(self, ledger, busy):
        """A drain that has done its set, and not committed."""
        with Session(engine()) as session, session.begin():
            assert inbox.drain(Context(session, ledger.now), limit=3, after=inbox.LOWEST).rows == 3
            yield session

    def test_the_second_does_the_rows_behind_once_the_first_has_committed(
        self, ledger, first, drain
    ):
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(drain, limit=3)
            wait_for_a_lock()
            first.commit()

        assert [answer.message.key for answer in second.result().answers] == ["3", "4", "5"]
        assert drain().rows == 3
        assert [e.key for e in ledger.see("busy").entries][1:] == [f"{n}" for n in range(9)]

    def test_the_second_does_nothing_if_the_first_gives_up(self, ledger, first, drain):
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(drain, limit=3)
            wait_for_a_lock()
            first.rollback()

        assert (second.result().rows, waiting()) == (0, 9)
        assert [answer.message.key for answer in drain().answers] == [f"{n}" for n in range(9)]

    def test_the_first_to_lock_the_account_leaves_it_to_whom_it_has_overtaken(
        self, busy, app, drain
    ):
        """The other has its rows in hand already, and waits for the account."""
        with app.cursor() as cursor:
            cursor.execute("DELETE FROM billing.inbox WHERE arguments ->> 'key' < '3'")

        assert drain(limit=3).rows == 0

        app.rollback()
        assert [answer.message.key for answer in drain(limit=3).answers] == ["0", "1", "2"]

    @pytest.mark.parametrize("seed", range(3))
    def test_the_order_is_kept_by_drains_that_give_up(self, ledger, app, seed):
        """What was committed first is done first, in the order in which it was left."""
        account = ledger.open_account("busy", credits=100_000)
        left_all = threading.Event()

        def leave():
            for number in range(60):
                door.leave(app, [Debit(account, "clustering", f"{number}:{n}") for n in range(5)])
                app.commit()
            left_all.set()

        def empty_it(dice):
            while not left_all.is_set() or waiting():
                with suppress(inbox.AccountsLocked, GivenUp), transaction() as ctx:
                    inbox.drain(ctx.at(ledger.now), limit=11, after=inbox.LOWEST)
                    if dice.random() < 0.3:
                        raise GivenUp

        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(empty_it, Random(seed * 3 + n)) for n in range(3)]
            leave()
            for job in jobs:
                job.result(timeout=60)

        taken = [e.key for e in ledger.see("busy").entries][1:]
        assert taken == [f"{number}:{n}" for number in range(60) for n in range(5)]
        assert ledger.audit().agrees

    def test_the_second_waits_for_the_first_only_so_long(self, first, drain, monkeypatch):
        monkeypatch.setattr(inbox, "WAIT_MS", 50)

        assert drain(limit=3).rows == 0

    def test_nobody_waits_for_the_app(self, ledger, busy, app, client, drain, monkeypatch):
        """It may have the account locked for as long as its transaction lasts."""
        monkeypatch.setattr(inbox, "WAIT_MS", 3_600_000)
        client.place_hold(app, busy, "image_generation", key="h")

        assert drain().rows == 0

        app.commit()
        assert drain().rows == 9

    def test_accounts_in_other_hands_hold_up_none_behind_them(self, ledger, app, monkeypatch):
        monkeypatch.setattr(inbox, "ACCOUNTS_AT_ONCE", 2)
        accounts = [ledger.open_account(f"a{n}", credits=100) for n in range(4)]
        door.leave(app, [Debit(a, "clustering", f"{a}") for a in accounts])
        app.commit()
        locked = "SELECT FROM igny8_tenants WHERE id = ANY(%s) FOR UPDATE"
        with app.cursor() as cursor:
            cursor.execute(locked, [accounts[:2]])

        assert (InboxDrain().drain_batch(), waiting()) == (2, 2)


def wait_for_a_lock():
    """Until a statement of somebody's waits for a lock."""
    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with engine().connect() as connection:
            if connection.execute(waits).scalar():
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


class GivenUp(Exception):
    """A drain's, of its own accord."""


def own_connection():
    """One that has done nothing yet, so that Postgres' counts are of what comes."""
    return create_engine(engine().url, poolclass=NullPool)


def rows_read_in_whole(session):
    """Rows that this transaction has read by scans of whole tables of ours, by table."""
    counts = text(
        "SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables"
        " WHERE relname IN ('inbox', 'lots', 'books', 'credit_calendars')"
        " AND seq_tup_read > 0"
    )
    return dict(session.execute(counts).all())


class TestCrashes:
    def test_a_drain_that_dies_before_its_commit_loses_nothing(self, ledger, app, drain):
        account = ledger.open_account("acme", credits=100)
        door.leave(app, [Debit(account, "clustering", "d")])
        app.commit()

        class Killed(BaseException):
            pass

        with pytest.raises(Killed), transaction() as ctx:
            assert inbox.drain(ctx.at(ledger.now), limit=9, after=inbox.LOWEST).rows == 1
            raise Killed

        assert (waiting(), ledger.see("acme").credits) == (1, 100)
        assert drain().rows == 1
        assert ledger.see("acme").credits == 90


def test_the_task_empties_the_inbox(ledger, app):
    account = ledger.open_account("acme", credits=10_000)
    door.leave(app, [Debit(account, "image_prompt_extraction", f"d{n}") for n in range(1100)])
    app.commit()

    tasks.credits.drain_inbox()

    assert (waiting(), ledger.see("acme").credits) == (0, 10_000 - 2200)


class TestTheSizeOfARow:
    def test_the_database_takes_no_row_that_is_too_large_for_a_reader(self, ledger, app):
        """A row of 100 MB was possible, and was loaded by the reader."""
        account = ledger.open_account("acme")
        metadata = json.dumps({"metadata": "x" * MAX_INBOX_BYTES})

        with pytest.raises(psycopg2.errors.CheckViolation, match="inbox_size_check"):
            leave_raw(app, account, "credits.debit", metadata)

        app.rollback()
        with pytest.raises(psycopg2.errors.CheckViolation, match="inbox_size_check"):
            leave_raw(app, account, "x" * 256, "{}")

    def test_the_largest_debit_of_the_client_fits(self, ledger, app, client, drain):
        account = ledger.open_account("acme", credits=10)
        fullest = {"n": [0] * 675}  # numbers grow most on their way into the database
        client.debit_in(
            app, account, "image_prompt_extraction", key="\U0001f4a1" * 200, metadata=fullest
        )
        app.commit()

        assert drain().rows == 1
        assert ledger.see("acme").credits == 8
