"""What must hold for all inputs: the books agree, replay changes nothing, a set equals its items."""

import datetime as dt

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_client import Debit
from tests.conftest import _EMPTY
from tests.story import Ledger
from worker.database import engine

OPERATIONS = ("clustering", "image_prompt_extraction", "content_generation", "mind_reading")
SLUGS = ("poor", "rich", "owing")

debit_words = st.tuples(
    st.sampled_from((*SLUGS, "nobody")),
    st.sampled_from(OPERATIONS),
    st.integers(1, 900),
    st.integers(1, 12).map(lambda n: f"key:{n}"),
)

pytestmark = pytest.mark.usefixtures("database")
few = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def fresh_books():
    with engine().begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text(_EMPTY))
    ledger = Ledger()
    ledger.plan("generous", debt_limit=7)
    ledger.open_account("poor", credits=12)
    ledger.open_account("rich", credits=100)
    ledger.open_account("owing", credits=0, plan="generous")
    ledger.grant("rich", 15, "goodwill", key="gift", expires_at=ledger.now + dt.timedelta(days=1))
    return ledger


def messages(ledger, words):
    return [
        Debit(ledger.ids.get(slug, 404), operation, key, units=units)
        for slug, operation, units, key in words
    ]


def state(ledger):
    return {
        slug: (
            str(ledger.history(slug)),
            ledger.lots(slug),
            ledger.see(slug).debt,
            [(r.key, r.reason) for r in ledger.see(slug).refusals],
        )
        for slug in SLUGS
    }


def shown(answers):
    return [(a.outcome, a.is_repeat, a.error and a.error.name) for a in answers]


@few
@given(st.lists(debit_words, max_size=25))
def test_the_books_agree_after_any_set_of_debits(words):
    ledger = fresh_books()

    ledger.debit_all(messages(ledger, words))

    report = ledger.audit()
    assert report.agrees, report.findings


@few
@given(st.lists(debit_words, max_size=20))
def test_a_set_equals_its_items_one_by_one(words):
    ledger = fresh_books()
    in_one = shown(ledger.debit_all(messages(ledger, words)))
    after_one = state(ledger)

    ledger = fresh_books()
    one_by_one = [shown(ledger.debit_all([message]))[0] for message in messages(ledger, words)]

    assert one_by_one == in_one
    assert state(ledger) == after_one


@few
@given(st.lists(debit_words, max_size=15), st.data())
def test_replaying_any_part_of_a_set_changes_nothing(words, data):
    ledger = fresh_books()
    asked = messages(ledger, words)
    ledger.debit_all(asked)
    before = state(ledger)
    known = {key for kept in before.values() for key, _ in kept[3]}
    entries = {e.key for slug in SLUGS for e in ledger.see(slug).entries}

    replayed = [m for m in asked if m.key in known | entries]
    again = data.draw(st.lists(st.sampled_from(replayed), max_size=20)) if replayed else []
    ledger.debit_all(again)

    assert state(ledger) == before
