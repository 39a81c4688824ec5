"""Matching in sets: the same as one by one, past locked and broken accounts, and in turns."""

import random

import pytest
import sqlalchemy as sa

from bench.growth import cost
from billing.bank import decide, line_ends
from billing.bank.matching import rows as matching_rows
from flows.bank import match
from models.accounts import StatusChange
from models.operations import OutboxEvent
from models.transfers import Allocation, Decision, MatchingMark, Payer, UnappliedCash
from tests.billing.bank.customers import Customers
from tests.billing.bank.story import line, statement
from tests.conftest import empty_database
from tests.seeds import seeds
from worker import clock
from worker.database import engine, transaction

IBANS = ("DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606")


def customers(count):
    """A bank and this many customers who owe 89 each; returns their references."""
    shop = Customers(now=clock.now())
    shop.bank.now = shop.now
    shop.bank.register()
    shop.sell("starter", 89)
    references = []
    for number in range(count):
        shop.open_account(f"c{number}", status="trial")
        references.append(shop.announce(f"c{number}").reference)
    return shop, references


def receive(shop, lines):
    """Import one statement; nothing is matched yet."""
    shop.bank.receive(statement(*lines, day=shop.now.date()))


def payments(references):
    """A payment of each invoice, by payers that the bank does not name."""
    return [line("89.00", text=reference, iban=None) for reference in references]


def transfers():
    with transaction() as ctx:
        rows = sa.text(
            "SELECT state, review, allocated_minor, credited_minor, version"
            " FROM billing.transfers ORDER BY id"
        )
        return ctx.session.execute(rows).all()


def states():
    return [row.state for row in transfers()]


def one_by_one(monkeypatch):
    monkeypatch.setattr(decide, "in_sets", lambda decisions: [[decided] for decided in decisions])


def drawn(seed):
    """A statement in which payers share invoices, pay too much or too little, twice, or for several."""
    chance = random.Random(seed)
    shop, references = customers(12)
    shop.open_account("virtual", status="trial")
    lines = []
    for number in range(14):
        named = " ".join(chance.sample(references, k=chance.choice((0, 1, 1, 1, 1, 2))))
        amount = chance.choice(("89.00", "89.00", "178.00", "40.00", "49.00", "100.00"))
        day = shop.now.date().replace(day=1) if chance.random() < 0.3 else None
        payer = chance.randrange(3)
        facts = {"payer": f"payer {payer}", "iban": chance.choice((IBANS[payer], IBANS[0], None))}
        lines.append(line(amount, text=f"{named} n{number}", day=day, **facts))
    receive(shop, lines)
    return shop


def story(shop):
    """All that matching left, without the order of accounts among each other."""
    of_accounts = [
        sa.select(OutboxEvent.account_id, OutboxEvent.type).order_by(OutboxEvent.id),
        sa.select(StatusChange.account_id, StatusChange.status_to).order_by(StatusChange.id),
        sa.select(UnappliedCash.account_id, UnappliedCash.amount_minor, UnappliedCash.why).order_by(
            UnappliedCash.id
        ),
    ]
    allocated = sa.select(
        Allocation.transfer_id, Allocation.transfer_invoice_id, Allocation.amount_minor
    )
    decided = sa.select(Decision.transfer_id, Decision.rule, Decision.outcome, Decision.evidence)
    with transaction() as ctx:
        told = [
            sorted(map(repr, ctx.session.execute(allocated))),
            sorted(map(repr, ctx.session.execute(decided))),
            sorted(map(repr, ctx.session.execute(sa.select(*Payer.__table__.c)))),
        ]
        for rows in of_accounts:
            by_account = {}
            for account_id, *facts in ctx.session.execute(rows):
                by_account.setdefault(account_id, []).append(facts)
            told.append(sorted(by_account.items(), key=repr))
    sees = {slug: (shop.see(slug).status, shop.see(slug).credits) for slug in shop.ids}
    invoices = {slug: shop.invoices(slug) for slug in shop.ids}
    return [*told, transfers(), sees, invoices]


@pytest.mark.parametrize("seed", seeds(6))
def test_a_set_decides_and_pays_as_its_transfers_would_one_by_one(seed, monkeypatch):
    empty_database()
    shop = drawn(seed)
    match.run()
    in_sets = story(shop)
    shop.check()

    empty_database()
    shop = drawn(seed)
    one_by_one(monkeypatch)
    match.run()

    assert in_sets == story(shop)
    assert {"settled", "waiting"} <= set(states()), "the story is not empty"


def test_an_account_is_in_a_set_once_and_its_decisions_stay_in_order(database):
    shop, [first, second] = customers(2)
    paid = [line("40.00", text=f"{first} {n}", day=shop.now.date()) for n in range(4)]
    receive(shop, [*paid, line("89.00", text=second)])
    with transaction() as ctx:
        line_ends.split_lines(ctx)
    with transaction() as ctx:
        batch = decide.decide(ctx.session, policy=match.policy())
    automatic = [item for item in batch.decisions if decide.account_of(item[0])]

    sets = decide.in_sets(batch.decisions)

    assert max(len(decisions) for decisions in sets) >= 2
    for decisions in sets:
        owners = [decide.account_of(decision) for decision, _ in decisions]
        named = [owner for owner in owners if owner is not None]
        assert len(named) == len(set(named))
    for account_id in {decide.account_of(item[0]) for item in automatic}:
        flat = [item for decisions in sets for item in decisions]
        assert [item for item in flat if decide.account_of(item[0]) == account_id] == [
            item for item in automatic if decide.account_of(item[0]) == account_id
        ]


def measured(count, text):
    """The statements of matching this many transfers."""
    empty_database()
    shop, references = customers(count)
    lines = [line("89.00", text=text(references, n), iban=None) for n in range(count)]
    receive(shop, lines)
    with transaction() as ctx:
        line_ends.split_lines(ctx)
    return cost(match.run, count).statements


def test_settling_a_transfer_more_in_a_set_costs_six_statements_at_most():
    few, many = (measured(count, lambda references, n: references[n]) for count in (5, 45))

    assert (many - few) / 40 <= 6
    assert set(states()) == {"settled"}


def test_a_suggestion_more_in_a_set_costs_one_statement_at_most():
    few, many = (measured(count, lambda _, n: f"thanks {n}") for count in (5, 45))

    assert (many - few) / 40 <= 1
    assert set(states()) == {"waiting"}


def test_a_locked_account_leaves_the_others_their_money_and_gets_its_own_later(database):
    shop, references = customers(4)
    receive(shop, payments(references))
    lock = sa.text("SELECT FROM igny8_tenants WHERE slug = 'c1' FOR UPDATE")

    with engine().begin() as app:
        app.execute(lock)
        report = match.run()

    assert (report.settled, report.left) == (3, 1)
    assert sorted(states()) == ["open", "settled", "settled", "settled"]
    assert match.run().counts() == {"settled": 1}
    shop.check()


def test_later_transfers_of_a_locked_account_wait_for_the_first(database):
    shop, [reference] = customers(1)
    receive(shop, [line("89.00", text=f"{reference} n{n}") for n in range(2)])
    one = sa.text("SELECT FROM billing.transfers WHERE id = :id FOR UPDATE")
    with transaction() as ctx:
        line_ends.split_lines(ctx)
    with transaction() as ctx:
        [(first, _), *_] = decide.decide(ctx.session, policy=match.policy()).decisions

    with engine().begin() as reviewer:
        reviewer.execute(one, {"id": first.transfer_id})
        match.run()

    assert states() == ["open", "open"]
    match.run()
    assert sorted(states()) == ["credited", "settled"]
    assert shop.invoices("c0") == [("paid", 8900, 8900)]


def test_what_waited_and_was_left_by_a_run_has_its_turn_without_other_news(database):
    """The mark lets runs rest only when nothing was left."""
    shop, [_] = customers(1)
    shop.open_account("late", status="trial")
    receive(shop, [line("139.00", text="RF18539007547034 later")])
    match.run()
    shop.sell("growth", 139)
    with transaction() as ctx:
        marked = ctx.session.scalars(sa.select(MatchingMark.invoices)).one()
    assert marked == 1

    shop.announce("late", "growth")
    lock = sa.text("SELECT FROM billing.transfers FOR UPDATE")
    with engine().begin() as reviewer:
        reviewer.execute(lock)
        match.run()

    with transaction() as ctx:
        assert ctx.session.scalars(sa.select(MatchingMark.invoices)).one() == marked


BROKEN = """
CREATE FUNCTION billing.test_break() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'broken'; END $$;
CREATE TRIGGER test_break BEFORE UPDATE OF plan_id ON igny8_tenants FOR EACH ROW
WHEN (NEW.slug = 'c2') EXECUTE FUNCTION billing.test_break()
"""
MENDED = "DROP TRIGGER test_break ON igny8_tenants; DROP FUNCTION billing.test_break()"


@pytest.fixture
def broken(database):
    """An account that no payment can activate, whatever the reason."""
    with engine().begin() as connection:
        connection.execute(sa.text(BROKEN))
    yield
    with engine().begin() as connection:
        connection.execute(sa.text(MENDED))


def test_a_transfer_that_breaks_goes_to_a_reviewer_and_the_others_are_settled(broken):
    shop, references = customers(7)
    receive(shop, payments(references))

    report = match.run()

    assert (report.settled, report.waiting) == (6, 1)
    assert sorted(states()) == ["settled"] * 6 + ["waiting"]
    assert "InternalError" in shop.queue()[0].review


@pytest.fixture
def backlog(database):
    shop, references = customers(5)
    receive(shop, payments(references))
    return shop


def test_a_run_whose_time_is_up_leaves_the_next_batch_and_its_task_is_sent_again(
    backlog, monkeypatch
):
    monkeypatch.setattr(matching_rows, "MATCH_AT_ONCE", 2)
    monkeypatch.setattr(match, "TURN_S", 0.0)
    sent = []

    reports = []
    while not reports or reports[-1].unfinished:
        reports.append(match.in_turns(lambda **options: sent.append(options)))

    assert [report.settled for report in reports] == [2, 2, 1]
    assert [options["expires"] > 0 for options in sent] == [True, True]
    assert set(states()) == {"settled"}


def test_a_batch_that_takes_far_too_long_is_left_and_not_marked_as_seen(backlog, monkeypatch):
    one_by_one(monkeypatch)

    report = match.run(longest_s=0.0)

    assert (report.settled, report.unfinished) == (1, True)
    with transaction() as ctx:
        assert ctx.session.scalars(sa.select(MatchingMark)).all() == []
    assert match.run().counts() == {"settled": 4}


def test_a_return_of_a_locked_account_leaves_the_others_their_turn(database):
    shop, references = customers(2)
    receive(shop, [line("89.00", text=references[0], transaction_id="TX-1")])
    match.run()
    back = line("89.00", mark="DBIT", reversal=True, transaction_id="TX-1")
    other = line("89.00", text=references[1], iban=IBANS[1])
    shop.bank.receive(statement(back, other, number=2, opening=8900, day=shop.now.date()))
    lock = sa.text("SELECT FROM igny8_tenants WHERE slug = 'c0' FOR UPDATE")

    with engine().begin() as app:
        app.execute(lock)
        report = match.run()

    assert (report.settled, report.left) == (1, 1)
    match.run()
    assert sorted(states()) == ["reversed", "reverses", "settled"]
    shop.check()


@pytest.fixture
def crowd(database):
    """Six transfers of one amount that name nobody: more than a reviewer is shown candidates."""
    shop, _ = customers(0)
    lines = [line("89.00", text=f"thanks {n}", payer=f"Payer {n}", iban=None) for n in range(6)]
    receive(shop, lines)
    match.run()
    return shop


def rewritten():
    return sum(row.version - 2 for row in transfers())


def test_an_invoice_of_the_amount_alone_writes_none_of_many_waiting_transfers_anew(crowd):
    crowd.open_account("late", status="trial")
    crowd.announce("late")

    assert match.run().counts() == {}
    assert rewritten() == 0


def test_an_invoice_whose_customer_is_the_payer_writes_that_transfer_anew(crowd):
    crowd.open_account("payer 3", status="trial")
    crowd.announce("payer 3")

    assert match.run().counts() == {"waiting": 1}
    assert rewritten() == 1


def test_an_invoice_that_a_waiting_transfer_names_is_news_in_a_crowd(database):
    shop, _ = customers(0)
    number = f"BT-{shop.now.year}-000001"
    lines = [line("89.00", text=f"thanks {n}", iban=None) for n in range(6)]
    receive(shop, [*lines, line("89.00", text=f"{number} please", iban=None)])
    match.run()

    shop.open_account("late", status="trial")
    assert shop.announce("late").number == number

    assert match.run().counts() == {"waiting": 1}
