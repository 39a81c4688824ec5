"""The commands, ticks and messages of the lifecycle call its acts."""

import datetime as dt
import json

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from billing.context import Policy
from billing.lifecycle.dunning import cases as dunning_act
from billing_client import ExtendTrial, PaymentMethodChanged, RestoreTrial
from cli.main import main
from flows import events as event_delivery
from models.host import Site
from models.life import Trial
from models.operations import OutboxEvent
from tasks import events
from tasks import life as tasks
from tests.billing.lifecycle.receiver import OLD_SECRET, SECRET, Receiver
from tests.billing.lifecycle.test_event_delivery import leave
from worker import clock
from worker.database import transaction
from worker.settings import settings

DAY = dt.timedelta(days=1)


def billing(*words, exit_code=0, **options):
    result = CliRunner().invoke(main, [*words], **options)
    assert result.exit_code == exit_code, (result.output, result.exception)
    return result.output


def billing_json(*words):
    return json.loads(billing(*words, "--json"))


@pytest.fixture
def acme(life):
    """An account whose trial began yesterday by the real clock."""
    life.now = clock.now() - DAY
    life.try_out("acme")
    life.now = clock.now()
    return life


@pytest.fixture
def over(life, monkeypatch):
    """Three accounts whose trials are over by the real clock, where one may be suspended at once."""
    monkeypatch.setenv("BILLING_TRIALS_SUSPENDED_AT_ONCE", "1")
    settings.cache_clear()
    life.now = clock.now() - 30 * DAY
    for slug in ("one", "two", "three"):
        life.try_out(slug)
    life.now = clock.now()
    life.policy = Policy(suspended_at_once=1)
    yield life
    settings.cache_clear()


def test_trials_are_listed_with_those_that_wait_for_a_word(over, redis_client):
    listed = billing_json("trials", "list", "--due")

    assert (listed["to_confirm"], len(listed["trials"])) == (3, 3)
    assert "billing trials expire" in billing("trials", "list")
    assert billing_json_status()["trials_to_confirm"] == 3


def billing_json_status():
    result = CliRunner().invoke(main, ["status", "--json"])
    return json.loads(result.output)


def test_beat_suspends_nobody_before_a_person_said_so(over):
    assert tasks.expire_due.run() == {}
    assert over.suspensions() == []


def test_a_dry_run_lists_the_accounts_to_suspend_and_suspends_none(over):
    would = billing_json("trials", "expire", "--dry-run")

    assert [result["what"] for result in would["swept"]] == ["trial_over"] * 3
    assert over.suspensions() == []


def test_a_person_confirms_how_many(over):
    billing("trials", "expire", "--confirm", "2", exit_code=1)
    assert over.suspensions() == []

    billing("trials", "expire", "--confirm", "3")

    assert len(over.suspensions()) == 3


def test_a_person_is_asked(over):
    billing("trials", "expire", input="n\n", exit_code=1)
    assert over.suspensions() == []

    assert "trial_over" in billing("trials", "expire", input="y\n")


def test_a_trial_is_extended_by_days_and_to_a_day(acme):
    billing("trials", "extend", "acme", "--days", "30")
    assert acme.trial("acme").ends_at - clock.now() > 29 * DAY

    day = (clock.now() + 60 * DAY).date()
    billing("trials", "extend", str(acme.ids["acme"]), "--until", str(day))

    assert acme.trial("acme").ends_at.date() == day


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["acme"], id="no end"),
        pytest.param(["acme", "--days", "3", "--until", "2099-01-01"], id="two ends"),
        pytest.param(["acme", "--days", "3"], id="an earlier end"),
        pytest.param(["nobody", "--days", "30"], id="an account that is none"),
    ],
)
def test_extending_needs(acme, words):
    result = CliRunner().invoke(main, ["trials", "extend", *words])

    assert result.exit_code in (1, 2)
    assert acme.events("trial.moved") == []


def test_a_trial_that_is_over_is_restored_by_hand(over):
    billing("trials", "expire", "--confirm", "3")

    billing("trials", "restore", "one", "--days", "10")

    assert over.status("one") == "trial"


def test_the_main_app_extends_and_restores_by_message(over, acme):
    until = clock.now() + 40 * DAY
    billing("trials", "expire", "--confirm", "3")

    assert tasks.extend.run(ExtendTrial(acme.ids["acme"], until)) == {"has_moved": True}
    assert tasks.extend.run(ExtendTrial(acme.ids["acme"], until)) == {"has_moved": False}
    assert tasks.restore.run(RestoreTrial(acme.ids["one"], until)) == {"has_moved": True}

    assert over.status("one") == "trial"


def test_beat_s_ticks_do_what_is_due_and_say_how_much(life, monkeypatch):
    life.now = clock.now() - 15 * DAY
    life.try_out("acme")
    life.open_account("late", status="active")
    life.act(dunning_act.open_case, "late", cause="card_failed")
    life.open_account("new", status="trial")

    assert tasks.remind_due.run() == {"reminded": 1}
    assert tasks.step_due.run() == {"dunned": 1}
    assert tasks.expire_due.run() == {"trial_begun": 1}
    assert tasks.check_limits.run() == {}
    assert tasks.close_deleted.run() == {}
    assert events.deliver.run() == {}
    assert events.remove_old.run() == {"removed": 0}
    life.set_host("acme", billing_email="x@example.com")
    with transaction() as ctx:
        ctx.session.execute(update(Trial).values(suspends_at=clock.now()))
    assert tasks.expire_due.run() == {"trial_over": 2}


def test_missing_payments_are_listed_and_written_off(life):
    life.open_account("acme", status="active")
    life.act(dunning_act.open_case, "acme", cause="card_failed")

    assert [case["cause"] for case in billing_json("dunning", "list")["cases"]] == ["card_failed"]
    assert "card_failed" in billing("dunning", "list")
    assert "stopped" in billing("dunning", "stop", str(life.ids["acme"]))
    assert "no case" in billing("dunning", "stop", str(life.ids["acme"]))
    assert life.case("acme").outcome == "written_off"


def test_a_new_card_is_tried_at_once_on_the_main_app_s_word(life):
    life.open_account("acme", status="active")
    assert tasks.method_changed.run(PaymentMethodChanged(1)) == {"is_missing": False}
    life.act(dunning_act.open_case, "acme", cause="card_failed")

    assert tasks.method_changed.run(PaymentMethodChanged(1)) == {"is_missing": True}
    assert len(life.events("payment.retry_due")) == 1


def test_the_schedule_is_shown(life):
    shown = billing("dunning", "schedule")

    assert "suspend" in shown
    assert billing_json("dunning", "schedule")[-1]["action"] == "cancel"


def test_accounts_beyond_their_plan_are_listed(life):
    life.open_account("acme")
    with transaction() as ctx:
        for number in range(2):
            values = {"account_id": 1, "name": "s", "slug": str(number)}
            ctx.session.add(Site(**values))

    assert billing_json("limits") == [{"account_id": 1, "what": "sites", "used": 2, "allowed": 1}]
    assert "sites" in billing("limits")


def test_deleted_accounts_are_listed_and_closed_by_hand(life):
    over = clock.now() - DAY
    life.open_account("acme", is_deleted=True, restore_until=over)

    assert billing_json("closing", "list")[0]["slug"] == "acme"
    assert "acme" in billing("closing", "list")
    assert "1 closed" in billing("closing", "close", "1")
    assert billing_json("closing", "list") == []


# --- the outbox -------------------------------------------------------------------------------------


def set_events(**values):
    with transaction() as ctx:
        ctx.session.execute(update(OutboxEvent).values(**values))


def states():
    with transaction() as ctx:
        return list(ctx.session.scalars(select(OutboxEvent.state).order_by(OutboxEvent.id)))


def test_events_that_wait_and_dead_ones_are_listed_and_counted(database, redis_client):
    leave(1, 2, happened_at=clock.now() - dt.timedelta(minutes=5))
    with transaction() as ctx:
        ctx.session.execute(
            update(OutboxEvent).where(OutboxEvent.id == 1).values(state="dead", error="no")
        )

    listed = billing_json("outbox", "list")
    seen = billing_json_status()

    assert (listed["waiting"], listed["dead"]) == (1, 1)
    assert [event["error"] for event in listed["events"]] == ["no"]
    assert "account.activated" in billing("outbox", "list", "--waiting")
    assert (seen["outbox_waiting"], seen["outbox_dead"]) == (1, 1)
    assert seen["outbox_oldest_s"] >= 300
    assert any("dead events" in words for words in seen["problems"])


def test_dead_events_are_replayed_and_dropped(database):
    leave(1, 2, 3)
    set_events(state="dead")

    billing("outbox", "replay", "1")
    billing("outbox", "drop", "2")
    assert states() == ["waiting", "dropped", "dead"]
    billing("outbox", "replay", "--all", "--type", "account.activated")

    assert states() == ["waiting", "dropped", "waiting"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["replay", "1"], id="an event that waits already"),
        pytest.param(["drop", "9"], id="an event that is none"),
        pytest.param(["replay"], id="none named"),
        pytest.param(["replay", "1", "--all"], id="some and all"),
        pytest.param(["drop", "1", "--type", "x"], id="ids and a type"),
        pytest.param(["list", "--waiting", "--type", "x"], id="a type of those that wait"),
    ],
)
def test_the_outbox_refuses(database, words):
    leave(1)

    result = CliRunner().invoke(main, ["outbox", *words])

    assert result.exit_code in (1, 2)
    assert states() == ["waiting"]


@pytest.fixture
def channels_of(monkeypatch):
    """The channels of these settings."""

    def set_and_look(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        event_delivery.channels.cache_clear()
        return event_delivery.channels()

    yield set_and_look
    settings.cache_clear()
    event_delivery.channels.cache_clear()


def test_no_channel_is_used_unless_one_is_set(channels_of):
    assert channels_of() == ()


def test_beat_s_tick_uses_the_channels_of_the_settings(database, redis_client, channels_of):
    with Receiver().listening() as receiver:
        leave(1)
        named = channels_of(
            BILLING_EVENTS_QUEUE="main_app_events",
            BILLING_WEBHOOK_URL=receiver.url,
            BILLING_WEBHOOK_SECRETS=f"{SECRET},{OLD_SECRET}",
        )

        assert events.deliver.run() == {"delivered": 1}

    assert [way.name for way in named] == ["queue", "webhook"]
    assert len(receiver.events) == 1
    assert redis_client.llen("main_app_events") == 1
