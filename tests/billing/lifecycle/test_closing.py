"""A deleted account that can no longer be restored is listed, and closed if the setting says so."""

import datetime as dt
import re

import pytest
from sqlalchemy import func, select, text

from bench import growth_life
from billing import closing
from billing.context import Policy
from billing.lifecycle.trials import fingerprints
from billing.operations import dead_letters
from billing.operations.dead_letters import DeadMessage
from models.life import Closure, TrialIdentity
from models.operations import DeadLetter
from tests.billing.lifecycle.test_sweeps import plan_of
from worker.database import engine, transaction

CLOSES = Policy(closes_deleted=True)


@pytest.fixture
def gone(life):
    """An account whose time to be restored ended a day ago by the real clock too."""
    life.try_out("acme", billing_email="jane@acme.test", stripe_customer_id="cus_1")
    life.seed("acme")
    life.now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    life.set_host(
        "acme", is_deleted=True, deleted_at=life.now - 15 * day, restore_until=life.now - day
    )
    life.policy = CLOSES
    return life


def listed(life):
    with transaction() as ctx:
        return [one.slug for one in closing.listed(ctx.at(life.now), limit=10)]


def closures():
    with transaction() as ctx:
        return ctx.session.execute(select(func.count()).select_from(Closure)).scalar()


def test_it_is_listed_and_left_alone_unless_the_operator_wants(gone):
    gone.policy = Policy()

    assert listed(gone) == ["acme"]
    assert gone.act(closing.sweep) == []
    assert closures() == 0


def test_closing_asks_the_main_app_to_end_what_bills_it(gone):
    gone.subscribe("acme", until=gone.now)

    results = gone.act(closing.sweep)

    assert [result.what for result in results] == ["closed"]
    ((_, said),) = gone.events("account.closed")
    assert said["stripe_customer_id"] == "cus_1"
    assert listed(gone) == []


def test_closing_erases_personal_data_and_keeps_payments(gone):
    with transaction() as ctx:
        letter = DeadMessage(
            message_id="m",
            error="Malformed",
            reason="",
            queue="credits",
            task="credits.grant",
            arguments={"account_id": gone.ids["acme"], "metadata": {"name": "Jane"}},
            attempts=1,
        )
        dead_letters.keep(ctx.at(gone.now), [letter])
    before = gone.history("acme")

    gone.act(closing.sweep)

    with transaction() as ctx:
        assert ctx.session.execute(select(func.count()).select_from(TrialIdentity)).scalar() == 0
        assert dead_letters.count_open(ctx.session) == 0
    assert gone.history("acme") == before


def test_closing_twice_is_closing_once(gone):
    gone.act(closing.sweep)

    assert gone.act(closing.sweep) == []
    assert gone.act(closing.close, account_ids=[gone.ids["acme"]]) == []
    assert closures() == 1


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"is_deleted": False}, id="one that is not deleted"),
        pytest.param({"restore_until": None}, id="one that may be restored for ever"),
        pytest.param(
            {"restore_until": dt.datetime(2099, 1, 1, tzinfo=dt.UTC)}, id="one that may be restored"
        ),
    ],
)
def test_is_not_closed(gone, fields):
    gone.set_host("acme", **fields)

    assert gone.act(closing.sweep) == []
    assert gone.act(closing.close, account_ids=[gone.ids["acme"]]) == []


def test_a_system_account_is_not_closed(life):
    life.policy = CLOSES
    life.open_account("default", is_deleted=True, restore_until=life.now)

    assert life.act(closing.sweep) == []


def test_a_fingerprint_is_kept_as_a_digest_that_shows_nothing(gone):
    with transaction() as ctx:
        digests = ctx.session.scalars(select(TrialIdentity.digest)).all()

    expected = {each.digest for each in fingerprints.of_email("Jane+x@ACME.test")}
    assert {bytes(each) for each in digests} == expected
    assert all(len(each) == 32 for each in digests)


def letter(message_id, arguments):
    return DeadMessage(message_id, "Broken", "", task="stripe.receive", arguments=arguments)


@pytest.mark.parametrize(
    ("arguments", "is_erased"),
    [
        pytest.param(
            {"body": '{"data": {"object": {"customer": "cus_1"}}}'}, True, id="a webhook names it"
        ),
        pytest.param({"customer": "cus_1"}, True, id="an argument names its customer"),
        pytest.param({"account_id": 1}, True, id="an argument names it"),
        pytest.param({"body": '{"customer": "cus_10"}'}, False, id="another customer"),
        pytest.param(
            {"body": '{"note": "cus_1 of us"}'}, False, id="a text with the customer's id"
        ),
        pytest.param({"account_id": 10}, False, id="another account"),
    ],
)
def test_a_dead_letter_is_erased_if(gone, arguments, is_erased):
    with transaction() as ctx:
        dead_letters.keep(ctx.at(gone.now), [letter("m", arguments)])

    gone.act(closing.sweep)

    with transaction() as ctx:
        assert ctx.session.scalars(select(DeadLetter.arguments)).one() == (
            {} if is_erased else arguments
        )


def test_closing_reads_no_table_whole_however_much_others_left(database):
    growth_life.seed_closing(4_000)
    with engine().begin() as connection:
        connection.execute(text("ANALYZE"))

    with transaction() as ctx:
        plan = plan_of(ctx, lambda ctx: closing.close(ctx, [1]))

    assert "dead_letters_customers_idx" in plan
    assert re.findall(r"Seq Scan on (\w+)", plan) == [], plan
