"""Each sweep finds what is due by an index, and one broken account holds up no other."""

import datetime as dt
from functools import partial

import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.exc import OperationalError

import tasks.credit_cycles
import tasks.life
from billing import closing
from billing.events import deliveries, outbox
from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.dunning.schedule import SUSPEND_DAY
from billing.lifecycle.trials import fingerprints
from billing.lifecycle.trials import reminders as trial_reminders
from billing.lifecycle.trials import rows as trial_rows
from billing.lifecycle.trials import sweeps as trial_sweeps
from flows import sweeps
from models.credits import Lot
from models.host import Account
from models.life import DunningCase, Trial
from tests.story import NOON
from worker.database import engine, transaction

MANY = 20_000
DAY = dt.timedelta(days=1)
#: Rows that are not due, and a few that are.
FILLS = (
    """INSERT INTO igny8_tenants (id, name, slug, status, is_deleted, restore_until, created_at)
    SELECT n, 'n', 's' || n, CASE WHEN n % 500 = 0 THEN 'trial' ELSE 'active' END, n % 400 = 0,
           CASE WHEN n % 400 = 0 THEN now() + n * interval '1 day' END, now()
    FROM generate_series(1, :many) AS n""",
    """INSERT INTO billing.trials
        (account_id, started_at, ends_at, suspends_at, next_reminder_at, recorded_at)
    SELECT n, :now, :now, :now + n * interval '1 day', :now + n * interval '1 day', :now
    FROM generate_series(1, :many) AS n WHERE n % 500 <> 0""",
    """INSERT INTO billing.dunning_cases
        (account_id, schedule, cause, opened_at, starts_at, due_at)
    SELECT n, 'card', 'card_failed', :now, :now, :now + n * interval '1 day'
    FROM generate_series(1, :many) AS n""",
    """INSERT INTO billing.outbox (account_id, type, payload, happened_at, due_at, state)
    SELECT n, 'credits.low', '{}', :now, :now, CASE WHEN n % 500 = 0 THEN 'waiting'
                                                    ELSE 'delivered' END
    FROM generate_series(1, :many) AS n""",
    """INSERT INTO billing.trial_identities (kind, digest, account_id, is_repeated, recorded_at)
    SELECT 'card', sha256(n::text::bytea), n, CASE WHEN n % 500 <> 0 THEN false END, :now
    FROM generate_series(1, :many) AS n""",
)


@pytest.fixture
def crowd(life):
    """Twenty thousand accounts, nearly none of which has anything due; Postgres knows it."""
    with engine().begin() as connection:
        for fill in FILLS:
            connection.execute(text(fill), {"many": MANY, "now": NOON})
        connection.execute(text("ANALYZE"))
    return life


class Kept(list):
    """Notices that SQLAlchemy, which empties the list after each statement, leaves alone."""

    def __setitem__(self, *_):
        pass


def plan_of(ctx, act):
    """The plans of all statements that an act sends."""
    ctx.session.execute(text("LOAD 'auto_explain'"))
    ctx.session.execute(text("SET LOCAL auto_explain.log_min_duration = 0"))
    ctx.session.execute(text("SET LOCAL client_min_messages = log"))
    raw = ctx.session.connection().connection.driver_connection
    raw.notices = Kept()
    act(ctx)
    plans, raw.notices = "\n".join(raw.notices), []
    return plans


@pytest.mark.parametrize(
    ("act", "index"),
    [
        pytest.param(
            lambda ctx: trial_rows.due(ctx.session, until=NOON, limit=100),
            "trials_due_idx",
            id="trials that end",
        ),
        pytest.param(
            lambda ctx: trial_reminders.remind_due(ctx.at(NOON), limit=100),
            "trials_reminder_idx",
            id="reminders",
        ),
        pytest.param(
            lambda ctx: trial_sweeps.to_confirm(ctx.at(NOON)), "trials_due_idx", id="the guard"
        ),
        pytest.param(
            lambda ctx: trial_rows.begin(ctx.at(NOON), after=0, limit=100),
            "igny8_tenants_trial_billing_idx",
            id="trials without an end",
        ),
        pytest.param(
            lambda ctx: fingerprints.compare_new(ctx.at(NOON), limit=100),
            "trial_identities_new_idx",
            id="fingerprints that are new",
        ),
        pytest.param(
            lambda ctx: dunning_rows.due(ctx.at(NOON), limit=100),
            "dunning_cases_due_idx",
            id="dunning",
        ),
        pytest.param(lambda ctx: deliveries.claim(ctx.at(NOON)), "outbox_order_idx", id="events"),
        pytest.param(
            lambda ctx: closing.listed(ctx.at(NOON), limit=100),
            "igny8_tenants_restore_until_billing_idx",
            id="deleted accounts",
        ),
    ],
)
def test_what_is_due_is_found_by_an_index(crowd, act, index):
    with transaction() as ctx:
        plan = plan_of(ctx, act)

    assert index in plan, plan
    assert "Seq Scan on outbox" not in plan


def broken_book(life, slug):
    """A trial lot of an account whose balance row was removed by SQL."""
    life.seed(slug)
    with transaction() as ctx:
        ctx.session.execute(
            update(Lot).where(Lot.account_id == life.ids[slug]).values(remaining=999)
        )
        ctx.session.execute(text("DELETE FROM billing.books WHERE account_id = 1"))


def test_a_trial_that_breaks_holds_up_no_other(life):
    for slug in ("broken", "acme"):
        life.try_out(slug)
    broken_book(life, "broken")
    life.pass_time(days=17)

    results = life.act(trial_sweeps.expire_due)

    assert {result.account_id: result.what for result in results}[life.ids["acme"]] == "trial_over"
    assert life.status("acme") == "suspended"


def test_rows_of_an_account_that_was_removed_are_closed(life):
    life.open_account("acme", status="active")
    with transaction() as ctx:
        gone = {"account_id": 404, "started_at": NOON, "ends_at": NOON, "suspends_at": NOON}
        ctx.session.execute(insert(Trial).values(**gone, recorded_at=NOON, next_reminder_at=NOON))
        dunning_rows.open_case(ctx.at(NOON), 404, cause="card_failed")
    life.pass_time(days=SUSPEND_DAY)

    life.age()

    with transaction() as ctx:
        assert ctx.session.get(Trial, 404).outcome == "deleted"
        assert ctx.session.get(DunningCase, 1).outcome == "account_deleted"


def test_an_account_on_no_plan_and_without_an_owner_ages_like_any_other(life):
    life.try_out("acme", plan=None, owner_id=None, billing_email=None)
    life.act(dunning_cases.open_case, "acme", cause="transfer_announced")

    for _ in range(45):
        life.pass_time(days=1)
        life.age()

    assert life.status("acme") == "cancelled"


def test_a_slow_run_leaves_the_rest_to_the_next(life):
    for number in range(3):
        life.try_out(f"acme{number}", created_at=NOON - 100 * DAY)
    with transaction() as ctx:
        ctx.session.execute(update(Trial).values(suspends_at=NOON))
        ctx.session.execute(update(Account).values(status="trial"))

    assert sweeps.until_done(trial_sweeps.expire_due, budget_s=0) == []
    assert len(sweeps.until_done(trial_sweeps.expire_due)) == 3


@pytest.fixture
def over(life):
    """Thirty trials whose grace is over, by the real clock."""
    for number in range(30):
        life.open_account(f"acme{number}", status="trial")
    life.age(trial_sweeps.begin_missing)
    return life


def test_two_lanes_end_each_trial_once(over):
    results = sweeps.until_done(partial(trial_sweeps.expire_due, limit=4), budget_s=60, lanes=2)

    ended = [result.account_id for result in results if result.what == "trial_over"]
    assert sorted(ended) == sorted(over.ids.values())
    assert len(over.suspensions()) == 30


def test_an_error_in_a_lane_is_raised(over):
    def breaks(ctx):
        raise OperationalError("", {}, Exception("gone"))

    with pytest.raises(OperationalError):
        sweeps.until_done(breaks, lanes=2)


@pytest.mark.parametrize(
    ("turn_s", "asked", "suspended"),
    [
        pytest.param(60, [], 30, id="that sufficed asks for no other"),
        pytest.param(0, [{"expires": 60}], 0, id="that was too short asks for another"),
    ],
)
def test_a_turn(over, monkeypatch, turn_s, asked, suspended):
    monkeypatch.setattr(sweeps, "TURN_S", turn_s)
    again = []

    sweeps.in_turns(lambda **how: again.append(how), trial_sweeps.expire_due)

    assert again == asked
    assert len(over.suspensions()) == suspended


@pytest.mark.parametrize(
    "tick",
    [
        tasks.life.expire_due,
        tasks.life.remind_due,
        tasks.life.step_due,
        tasks.credit_cycles.renew_due,
        tasks.credit_cycles.expire_due,
    ],
    ids=lambda tick: tick.name,
)
def test_what_may_be_due_for_very_many_at_once_goes_in_turns(database, monkeypatch, tick):
    monkeypatch.setattr(sweeps, "TURN_S", 0)
    again = []
    monkeypatch.setattr(tick, "apply_async", lambda **how: again.append(how))

    tick.run()

    assert again == [{"expires": 60}]


def test_no_second_large_sweep_runs_beside_the_first(over):
    again, beside = [], []

    def meanwhile(ctx):
        beside.append(sweeps.in_turns(lambda **how: again.append(how), trial_sweeps.expire_due))
        return []

    sweeps.in_turns(lambda **how: None, meanwhile)

    assert beside == [[]] * sweeps.LANES
    assert again == [{"countdown": 2, "expires": 60}] * sweeps.LANES
    assert over.suspensions() == []


def test_events_of_one_sweep_are_left_in_one_statement(life):
    with transaction() as ctx:
        left = [outbox.NewEvent("credits.low", n, LOW) for n in range(1, 1001)]
        outbox.leave_all(ctx.at(NOON), left)

    assert len(life.events("credits.low")) == 1000


LOW = {"credits": 1, "included_credits": 100, "threshold_percent": 5}
