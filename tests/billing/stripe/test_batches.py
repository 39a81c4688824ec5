"""Events applied in sets: as one by one, and each with an outcome of its own."""

import json
import random
from collections import Counter

import pytest
from sqlalchemy import select, text

from billing.stripe import inbox, inbox_upkeep
from flows.stripe import apply as stripe_apply
from flows.stripe import receive as stripe_receive
from models.life import DunningCase
from tests.billing.stripe.door import body_of, webhook
from tests.billing.stripe.story import Stripe
from tests.billing.stripe.test_any_order import ENDINGS, a_life, shuffled
from tests.billing.stripe.writing import MONTH_S, Shop
from tests.conftest import empty_database
from tests.seeds import seeds
from tests.story import Ledger
from worker import clock
from worker.database import engine, transaction


def two_lives(*, basil, step, ending) -> list[dict]:
    """The same life of two customers of two accounts, event by event by turns."""
    mine = a_life(basil=basil, step=step, ending=ending).events
    theirs = json.dumps(mine).replace('"account_id": "1"', '"account_id": "2"')
    for name in ("cus", "sub", "in", "ch", "pi", "evt", "re", "dp", "il", "si", "inpay"):
        theirs = theirs.replace(f'"{name}_', f'"{name}_b')
    return [event for pair in zip(mine, json.loads(theirs), strict=True) for event in pair]


def told(sets, *, is_linked) -> dict:
    """What the books of both accounts say once these sets have come."""
    empty_database()
    ledger = Ledger()
    ledger.go_to(2026, 4, 20)
    for number, (slug, customer) in enumerate((("acme", "cus_1"), ("bolt", "cus_b1")), start=1):
        known = {"stripe_customer_id": customer} if is_linked else {}
        ledger.open_account(slug, status="trial", plan="starter", id=number, **known)
    stripe = Stripe(ledger)
    for events in sets:
        (stripe.deliver_set if len(events) > 1 else stripe.deliver)(*events)
    ledger.pass_time(hours=7)
    stripe.sweep()
    ledger.sweep()
    assert {row.partition(":")[0] for row in stripe.outcomes()} == {"applied"}
    return {slug: stripe.end_state(slug) for slug in ("acme", "bolt")}


def in_sets(events, seed) -> list[list[dict]]:
    """These events in sets of any size."""
    chance, rest, sets = random.Random(seed), list(events), []
    while rest:
        size = chance.choice((1, 2, 5, 20, len(rest)))
        sets.append(rest[:size])
        rest = rest[size:]
    return sets


def check(ending, seed, *, is_linked):
    events = two_lives(basil=seed % 2 == 0, step=(0, 3600)[seed // 2 % 2], ending=ending)
    one_by_one = told([[event] for event in events], is_linked=is_linked)

    assert told(in_sets(events, seed), is_linked=is_linked) == one_by_one, seed
    assert told(in_sets(shuffled(events, seed), seed), is_linked=is_linked) == one_by_one, seed
    assert one_by_one["acme"]["audit"] == {name: [] for name in one_by_one["acme"]["audit"]}


@pytest.mark.parametrize("is_linked", [True, False], ids=["known customers", "unknown customers"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_sets_end_in_the_books_that_the_events_one_by_one_end_in(database, ending, is_linked):
    check(ending, random.randrange(2**32), is_linked=is_linked)


@pytest.mark.long
@pytest.mark.parametrize("ending", ENDINGS)
def test_fifty_ways_to_make_sets_end_in_the_same_books(database, ending):
    for seed in seeds(50):
        check(ending, seed, is_linked=seed % 3 > 0)


# --- each event of a set -------------------------------------------------------------------------


def paid(shop, name="1", **changes) -> dict:
    """A paid month of the plan starter."""
    line = shop.line(shop.price(), start=shop.now, end=shop.now + MONTH_S)
    fields = {"id": f"in_{shop.customer}_{name}", "status": "paid", "amount_paid": 8900}
    invoice = shop.invoice([line], subscription=None) | fields | changes
    return shop.event("invoice.paid", invoice, id=f"evt_{shop.customer}_{name}")


@pytest.fixture
def shops(ledger, stripe):
    """A shop for each of three accounts, and the price of their plan."""
    for slug in ("acme", "bolt", "cord"):
        ledger.open_account(slug, status="trial")
    shops = [stripe.shop(slug, customer=f"cus_{slug}") for slug in ("acme", "bolt", "cord")]
    stripe.deliver(shops[0].event("price.created", shops[0].price()))
    return shops


def test_the_usual_event_of_a_set_is_applied_in_one_transaction(ledger, stripe, shops):
    events = [paid(shop) for shop in shops]

    assert stripe.deliver_set(*events) == ["applied"] * 3
    assert [ledger.see(slug).credits for slug in ("acme", "bolt", "cord")] == [1000] * 3
    with transaction() as ctx:
        times = text("SELECT count(DISTINCT xmin::text) FROM billing.stripe_events WHERE id > 1")
        assert ctx.session.execute(times).scalar_one() == 1


def test_an_event_twice_in_one_set_is_applied_once_and_counted_twice(ledger, stripe, shops):
    event = paid(shops[0])

    outcomes = stripe.deliver_set(event, event | {"pending_webhooks": 3}, paid(shops[1]))

    assert outcomes == ["applied", "seen before", "applied"]
    assert ledger.see("acme").credits == 1000
    with transaction() as ctx:
        counted = text("SELECT deliveries FROM billing.stripe_events WHERE event_id = :id")
        assert ctx.session.execute(counted, {"id": event["id"]}).scalar_one() == 2


def test_twins_in_one_set_give_once_and_each_says_what_it_did(ledger, stripe, shops):
    event = paid(shops[0])
    twin = event | {"id": "evt_twin", "type": "invoice.payment_succeeded"}

    assert stripe.deliver_set(event, twin) == ["applied", "applied"]

    assert ledger.see("acme").credits == 1000
    with transaction() as ctx:
        said = select(text("facts FROM billing.stripe_events WHERE id > 1 ORDER BY event_id"))
        facts = [row[0] for row in ctx.session.execute(said)]
    assert facts == [{"is_newer": True, "credits": 1000}, {"is_newer": False, "credits": 0}]


def test_of_a_failure_that_is_over_within_a_set_nothing_is_told(ledger, stripe, shops):
    failed = paid(shops[0], "1", status="open", amount_paid=0, attempt_count=1)
    recovered = paid(shops[0], "1", attempt_count=2) | {"id": "evt_later"}
    recovered["created"] += 60

    stripe.deliver_set(failed, recovered)

    assert "payment.failed" not in stripe.told()
    assert "invoice.paid" in stripe.told()
    assert stripe.status("acme") == "active"


def test_what_is_unusual_in_a_set_has_its_own_outcome_and_the_others_are_applied(
    ledger, stripe, shops
):
    stranger = stripe.shop(customer="cus_nobody")
    pack = shops[1].line(shops[1].price("foreign", product="x"), start=1, end=2)
    foreign = shops[1].event("invoice.paid", shops[1].invoice([pack], status="paid"))
    events = [
        paid(shops[0]),
        paid(stranger),
        foreign | {"livemode": True},
        shops[1].event("payout.paid", {"id": "po_1"}),
        shops[1].event("invoice.paid", {"id": "in_odd", "currency": "xxz", "status": "paid"}),
        paid(shops[2]),
    ]

    assert stripe.deliver_set(*events) == [
        "applied",
        "parked: UnknownCustomer",
        "ignored: LivemodeMismatch",
        "ignored: UnhandledType",
        "failed: UnknownCurrency",
        "applied",
    ]
    assert [ledger.see(slug).credits for slug in ("acme", "bolt", "cord")] == [1000, 0, 1000]


def statuses_after(pay, statuses) -> list:
    """What becomes of accounts of these statuses, each of which pays for a month."""
    empty_database()
    ledger = Ledger()
    stripe, shops = Stripe(ledger), []
    for number, how in enumerate(statuses):
        slug, status = f"a-{number}", how if how in STATUSES else "active"
        ledger.open_account(slug, status=status, stripe_customer_id=f"cus_{number}")
        for reason in how.split("+") if how not in STATUSES else ():
            ledger.change_status(slug, "suspended", reason=reason)
        shops.append(stripe.shop(customer=f"cus_{number}"))
    stripe.deliver(shops[0].event("price.created", shops[0].price()))
    pay(stripe, [paid(shop) for shop in shops])
    told = Counter(stripe.told())
    return [told, *[(stripe.end_state(slug), ledger.cycle(slug)) for slug in ledger.ids]]


STATUSES = ("trial", "active", "pending_payment", "cancelled")


def test_accounts_of_every_status_are_let_in_by_a_set_as_one_by_one(database):
    suspended = ("payment_failed", "trial_over", "manual", "payment_failed+manual", "dispute")
    statuses = STATUSES + suspended

    in_a_set = statuses_after(lambda stripe, events: stripe.deliver_set(*events), statuses)

    one_by_one = statuses_after(lambda stripe, events: stripe.deliver(*events), statuses)
    assert in_a_set == one_by_one
    assert in_a_set[0]["account.activated"] == 2


def test_a_set_lets_in_only_whom_it_pays_for(ledger, stripe, shops):
    trial = shops[1].subscription(
        shops[1].price(), start=shops[1].now, end=shops[1].now + MONTH_S, status="trialing"
    )
    events = [
        paid(shops[0]),
        shops[1].event("customer.subscription.created", trial),
        paid(shops[2], status="open", amount_paid=0, attempt_count=1),
    ]

    assert stripe.deliver_set(*events) == ["applied"] * 3

    assert [stripe.status(slug) for slug in ("acme", "bolt", "cord")] == [
        "active",
        "trial",
        "trial",
    ]


def test_who_pays_within_the_set_that_tells_of_a_first_failure_is_not_asked(ledger, stripe, shops):
    failed = paid(shops[0], "1", status="open", amount_paid=0, attempt_count=1)

    stripe.deliver_set(failed, paid(shops[0], "2"), paid(shops[1]))

    assert stripe.status("acme") == "active"
    with transaction() as ctx:
        assert ctx.session.scalars(select(DunningCase)).all() == []


# --- what breaks a set ---------------------------------------------------------------------------


@pytest.fixture
def sent(door, ledger):
    """Sends sets through the worker's own door; three accounts, whose plan's price is known."""
    shops = []
    for slug in ("acme", "bolt", "cord"):
        ledger.open_account(slug, status="trial", stripe_customer_id=f"cus_{slug}")
        shops.append(Shop(now=int(ledger.now.timestamp()), customer=f"cus_{slug}"))
    door.post(shops[0].event("price.created", shops[0].price()))

    def send(*payloads):
        hooks = [webhook(body_of(payload)) for payload in payloads]
        outcomes = stripe_apply.finish(stripe_receive.receive(hooks))
        return [f"{each.state}: {each.reason}" if each.reason else each.state for each in outcomes]

    send.shops = shops
    return send


def test_an_event_that_breaks_its_set_fails_alone(sent, ledger):
    line = {"quantity": 10**9}
    odd = paid(sent.shops[1])
    odd["data"]["object"]["lines"]["data"][0] |= line

    outcomes = sent(paid(sent.shops[0]), odd, paid(sent.shops[2]))

    assert outcomes == ["applied", "failed: AbsurdCredits", "applied"]
    assert [ledger.see(slug).credits for slug in ("acme", "bolt", "cord")] == [1000, 0, 1000]
    broken = [name for name, rows in ledger.audit().findings.items() if rows]
    assert broken == ["stripe_paid"], "what can't be read asks a person"


def test_an_event_that_meets_a_bug_fails_alone_and_is_tried_again(sent, ledger):
    with transaction() as ctx:
        ctx.session.execute(
            text(
                "CREATE FUNCTION pg_temp.break() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'a bug'; END $$"
            )
        )
        ctx.session.execute(
            text(
                "CREATE TRIGGER broken BEFORE INSERT ON billing.purchases FOR EACH ROW"
                " WHEN (NEW.origin = 'in_cus_bolt_1') EXECUTE FUNCTION pg_temp.break()"
            )
        )
    try:
        outcomes = sent(paid(sent.shops[0]), paid(sent.shops[1]), paid(sent.shops[2]))
    finally:
        with transaction() as ctx:
            ctx.session.execute(text("DROP TRIGGER IF EXISTS broken ON billing.purchases"))

    assert outcomes == ["applied", "failed: InternalError", "applied"]
    assert [ledger.see(slug).credits for slug in ("acme", "bolt", "cord")] == [1000, 0, 1000]


def test_a_bad_signature_among_good_ones_is_refused_alone(sent, ledger):
    hooks = [webhook(body_of(paid(shop))) for shop in sent.shops]
    hooks[1] = webhook(body_of(paid(sent.shops[1])), secret="whsec_of_somebody")

    outcomes = stripe_apply.finish(stripe_receive.receive(hooks))

    assert [each.state for each in outcomes] == ["applied", "refused", "applied"]
    assert [ledger.see(slug).credits for slug in ("acme", "bolt", "cord")] == [1000, 0, 1000]


def test_while_one_account_is_locked_the_others_of_its_set_go_on(sent, ledger, monkeypatch):
    monkeypatch.setattr(stripe_apply, "LOCK_WAIT_MS", 50)
    with engine().begin() as connection:
        connection.execute(text("SELECT FROM igny8_tenants WHERE slug = 'bolt' FOR UPDATE"))

        outcomes = sent(*[paid(shop) for shop in sent.shops])

    assert outcomes == ["applied", "received: OperationalError", "applied"]
    with transaction() as ctx:
        swept = inbox_upkeep.due(ctx.at(clock.now() + inbox.TAKEN_UP_AGAIN), limit=10)
    assert [each.state for each in stripe_apply.apply_all(swept)] == ["applied"]
    assert [ledger.see(slug).credits for slug in ("acme", "bolt", "cord")] == [1000] * 3
