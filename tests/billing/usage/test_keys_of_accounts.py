"""A key belongs to the account that uses it: what another account names never refuses it."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import permutations

import pytest
from sqlalchemy import text

import tasks.credits
from billing.errors import Rejected
from billing.ledger import idempotency
from billing.postgres.transient import is_transient
from billing.usage import holds, inbox, post
from billing_client import Capture, Debit, PlaceHold, Release, Reverse
from billing_client import inbox as door
from tests.app import connect
from tests.billing.usage.test_holds import wait_for_a_lock
from worker.database import transaction

TASKS = {
    Debit: tasks.credits.debit,
    Reverse: tasks.credits.reverse,
    Capture: tasks.credits.capture,
    Release: tasks.credits.release,
}


@pytest.fixture
def two(ledger):
    """Two accounts with 100 credits each."""
    ledger.open_account("acme", credits=100)
    ledger.open_account("other", credits=100)
    return ledger


def in_one_batch(ledger, messages):
    ledger.debit_all(messages)


def one_by_one(ledger, messages):
    for message in messages:
        ledger.debit_all([message])


def by_the_inbox(ledger, messages):
    with closing(connect()) as app:
        door.leave(app, messages)
        app.commit()
    with transaction() as ctx:
        inbox.drain(ctx.at(ledger.now), limit=500, after=inbox.LOWEST)


def by_celery(ledger, messages):
    for message in messages:
        try:
            TASKS[type(message)].run(message)
        except Rejected:
            continue


DOORS = [in_one_batch, one_by_one, by_the_inbox, by_celery]


def clustering(ledger, slug, key="k"):
    return Debit(ledger.ids[slug], "clustering", key)


def place(ledger, slug, key="k"):
    with transaction() as ctx:
        return holds.place(ctx.at(ledger.now), PlaceHold(ledger.ids[slug], "clustering", key))


def credits(ledger):
    return ledger.see("acme").credits, ledger.see("other").credits


@pytest.mark.parametrize("bring", DOORS)
def test_a_reversal_of_one_account_refuses_no_debit_of_another(two, bring):
    acme, other = two.ids["acme"], two.ids["other"]

    bring(two, [Reverse(acme, "k")])
    bring(two, [clustering(two, "other"), clustering(two, "acme")])

    assert credits(two) == (100, 90)
    assert {refusal.reason for refusal in two.see("acme").refusals} == {"ReversedFirst"}
    bring(two, [Reverse(other, "k")])
    assert credits(two) == (100, 100)
    assert two.audit().agrees


def names():
    yield "acme reverses", lambda ledger: Reverse(ledger.ids["acme"], "k")
    yield "acme pays", lambda ledger: clustering(ledger, "acme")
    yield "other pays", lambda ledger: clustering(ledger, "other")
    yield "other reverses", lambda ledger: Reverse(ledger.ids["other"], "k")


ORDERS = [
    order
    for order in permutations(dict(names()))
    if order.index("acme reverses") < order.index("acme pays")
]


@pytest.mark.parametrize("bring", [in_one_batch, one_by_one])
@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
def test_in_any_order_each_account_gets_what_its_own_messages_ask_for(two, bring, order):
    messages = dict(names())

    bring(two, [messages[name](two) for name in order])
    bring(two, [messages[name](two) for name in order])

    entries = [(e.amount, e.key) for e in two.see("other").entries[1:]]
    is_taken = order.index("other pays") < order.index("other reverses")
    assert entries == ([(-10, "k"), (10, "billing:reversal:k")] if is_taken else [])
    assert len(two.see("acme").entries) == 1
    assert credits(two) == (100, 100)
    assert two.audit().agrees


@pytest.mark.parametrize("bring", DOORS)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(lambda account: Reverse(account, "k"), id="a reversal"),
        pytest.param(lambda account: Capture(account, "k"), id="a capture"),
        pytest.param(lambda account: Release(account, "k"), id="a release"),
    ],
)
@pytest.mark.parametrize("namer", ["an account", "a deleted account"])
def test_what_an_account_names_stays_free_for_others(two, bring, name, namer):
    if namer == "a deleted account":
        two.delete_account("acme")

    bring(two, [name(two.ids["acme"])])
    bring(two, [clustering(two, "other")])
    assert two.see("other").credits == 90
    bring(two, [name(two.ids["acme"]), Reverse(two.ids["other"], "k")])

    assert two.see("other").credits == 100
    assert two.audit().agrees


@pytest.mark.parametrize("bring", DOORS)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(lambda account: Reverse(account, "k"), id="a reversal"),
        pytest.param(lambda account: Capture(account, "k"), id="a capture"),
        pytest.param(lambda account: Release(account, "k"), id="a release"),
    ],
)
def test_what_an_account_names_may_be_another_accounts_hold(two, bring, name):
    acme, other = two.ids["acme"], two.ids["other"]
    bring(two, [name(acme)])

    assert place(two, "other").outcome == "held"
    bring(two, [name(acme)])
    bring(two, [Capture(other, "k")])
    assert two.see("other").credits == 90
    bring(two, [name(acme), Reverse(other, "k")])

    assert credits(two) == (100, 100)
    assert two.audit().agrees


ACTS = {
    "debit": lambda account, key: Debit(account, "clustering", key),
    "capture": Capture,
    "release": Release,
    "reverse": Reverse,
}


def outcomes(ledger, slug, key, names, *, with_hold):
    """What an account's messages of one key end as, one after the other, twice each."""
    if with_hold:
        place(ledger, slug, key)
    ends = []
    for name in [*names, *names]:
        (answer,) = ledger.debit_all([ACTS[name](ledger.ids[slug], key)])
        error, amount = answer.error and answer.error.name, answer.entry and answer.entry.amount
        ends.append((name, answer.outcome, error, answer.is_repeat, amount))
    return ends


@pytest.mark.parametrize("with_hold", [False, True], ids=["no hold", "a hold of that key"])
@pytest.mark.parametrize("others", [*ACTS, "hold", "refused", "grant"])
def test_whatever_another_account_did_with_a_key_changes_nothing(ledger, others, with_hold):
    """The same messages end alike, whether another account has used the key or nobody has."""
    ledger.open_account("acme", credits=1000)
    ledger.open_account("other", credits=1000)
    ledger.open_account("poor")
    orders = {f"k{place}": names for place, names in enumerate(permutations(ACTS, 2))}
    for key in orders:
        use(ledger, others, key)
    before = credits(ledger)[1]

    for key, names in orders.items():
        of_a_used_key = outcomes(ledger, "acme", key, names, with_hold=with_hold)
        of_a_new_key = outcomes(ledger, "acme", f"new {key}", names, with_hold=with_hold)
        assert of_a_used_key == of_a_new_key

    assert credits(ledger)[1] == before
    assert ledger.audit().agrees


def use(ledger, name, key):
    """Let another account do this with the key."""
    if name in {"hold", "capture", "release"}:
        place(ledger, "other", key)
    if name == "refused":
        in_one_batch(ledger, [clustering(ledger, "poor", key)])
    elif name == "grant":
        ledger.grant("other", 5, key=key)
    elif name != "hold":
        in_one_batch(ledger, [ACTS[name](ledger.ids["other"], key)])


@pytest.mark.parametrize("bring", DOORS)
def test_two_accounts_use_one_key_for_all_they_do(two, bring):
    """Debits, holds with their captures, and reversals of one text, in one batch or many."""
    two.open_account("third", credits=100)
    slugs = ["acme", "other", "third"]
    for _ in range(2):
        bring(two, [clustering(two, slug) for slug in slugs])
        for slug in slugs:
            place(two, slug, "h")
        bring(two, [Capture(two.ids[slug], "h") for slug in slugs])
    assert [two.see(slug).credits for slug in slugs] == [80, 80, 80]

    for _ in range(2):
        bring(two, [Reverse(two.ids[slug], key) for slug in slugs for key in ("k", "h")])

    assert [two.see(slug).credits for slug in slugs] == [100, 100, 100]
    assert two.audit().agrees


@pytest.mark.parametrize("bring", DOORS)
def test_metadata_keeps_the_text_that_json_writes_for_a_nul(two, bring):
    details = {"path": "C:\\u0000", "\\\\u0000": ["\\u0000"]}

    bring(two, [Debit(two.ids["acme"], "clustering", "k", metadata=details)])

    assert two.see("acme").entries[-1].details == details
    assert two.audit().agrees


def test_the_same_key_grants_and_is_found_again_for_each_account(two):
    grants = [two.grant(slug, 5, key="g") for slug in ("acme", "other", "acme", "other")]

    assert [grant.is_repeat for grant in grants] == [False, False, True, True]
    assert credits(two) == (105, 105)


def test_a_text_that_is_the_uuid_of_anothers_key_decides_nothing(two):
    """A UUID stands for itself, so it could stand where another account's text belongs."""
    uuid = idempotency.as_uuid("k")
    two.open_account("poor")
    in_one_batch(two, [Debit(two.ids["poor"], "clustering", uuid)])

    (answer,) = two.debit_all([clustering(two, "acme")])
    (again,) = two.debit_all([clustering(two, "acme")])

    assert (answer.outcome, again.is_repeat) == ("taken", True)
    assert place(two, "other").outcome == "held"


def test_an_account_holds_nothing_under_a_key_that_it_has_reversed(two):
    in_one_batch(two, [Reverse(two.ids["acme"], "k")])

    assert place(two, "acme").reason == "KeyReused"
    assert place(two, "other").outcome == "held"


def test_a_grant_may_have_a_key_that_another_account_has_reversed(two):
    in_one_batch(two, [Reverse(two.ids["acme"], "k")])

    first, again = two.grant("other", 5, key="k"), two.grant("other", 5, key="k")

    assert (first.is_repeat, again.is_repeat) == (False, True)
    assert two.see("other").credits == 105
    with pytest.raises(Rejected):
        two.grant("acme", 5, key="k")


def test_a_debit_without_a_price_leaves_the_key_to_the_account_that_reversed_it(two):
    mystery = Debit(two.ids["other"], "mind_reading", "k")
    in_one_batch(two, [Reverse(two.ids["acme"], "k"), mystery, clustering(two, "acme")])

    assert credits(two) == (100, 100)


def test_a_reversal_of_what_another_account_was_refused_leaves_that_its_own_answer(two):
    two.open_account("poor")
    in_one_batch(two, [clustering(two, "poor"), Reverse(two.ids["acme"], "k")])

    (answer,) = two.debit_all([Reverse(two.ids["poor"], "k")])

    assert answer.error.name == "NothingToReverse"


@pytest.mark.parametrize("end", ["open", "released"])
def test_a_reversal_of_another_accounts_hold_is_one_before_its_debit(two, end):
    place(two, "other")
    if end == "released":
        in_one_batch(two, [Release(two.ids["other"], "k")])

    (answer,) = two.debit_all([Reverse(two.ids["acme"], "k")])

    assert (answer.outcome, answer.error.name) == ("refused", "ReversedFirst")
    assert two.see("other").held == (10 if end == "open" else 0)
    (answer,) = two.debit_all([clustering(two, "acme")])
    assert answer.error.name == "ReversedFirst"


class TestFromBeforeTheMigration:
    """Reversals had one uuid for all accounts."""

    @pytest.fixture
    def before(self, two):
        def age(slug):
            uuids = {
                "new": idempotency.as_uuid(f"billing:reversed_by:{two.ids[slug]}:k"),
                "old": idempotency.as_uuid("billing:reversal:k"),
            }
            with transaction() as ctx:
                rows = text("UPDATE billing.keys SET key = CAST(:old AS uuid) WHERE key = :new")
                assert ctx.session.execute(rows, uuids).rowcount == 1

        return age

    def test_a_reversal_gives_nothing_twice(self, two, before):
        in_one_batch(two, [clustering(two, "acme"), Reverse(two.ids["acme"], "k")])
        before("acme")

        (again,) = two.debit_all([Reverse(two.ids["acme"], "k")])

        assert (again.is_repeat, again.entry.amount) == (True, 10)
        assert credits(two) == (100, 100)

    def test_a_reversal_that_came_first_still_refuses_its_own_debit_and_no_other(self, two, before):
        in_one_batch(two, [Reverse(two.ids["acme"], "k")])
        before("acme")

        in_one_batch(two, [Reverse(two.ids["acme"], "k"), clustering(two, "other")])
        in_one_batch(two, [clustering(two, "acme"), Reverse(two.ids["other"], "k")])

        assert [e.amount for e in two.see("other").entries[1:]] == [-10, 10]
        assert len(two.see("acme").entries) == 1


def test_two_accounts_that_use_a_reversed_key_at_once_both_have_it(two):
    two.open_account("third", credits=100)
    in_one_batch(two, [Reverse(two.ids["acme"], "k")])

    def pay(slug):
        for _ in range(3):
            try:
                return two.debit_all([clustering(two, slug)])[0]
            except Exception as error:
                if not is_transient(error):
                    raise
        raise AssertionError("it never ends")

    with ThreadPoolExecutor(1) as pool:
        with transaction() as ctx:
            post.apply(ctx.at(two.now), [clustering(two, "other")])
            waiting = pool.submit(pay, "third")
            wait_for_a_lock()
        answer = waiting.result()

    assert answer.error is None
    assert (two.see("other").credits, two.see("third").credits) == (90, 90)
    assert two.audit().agrees
