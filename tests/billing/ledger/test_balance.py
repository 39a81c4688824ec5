"""One account's balance by itself: what it may spend, what each act takes, and from which lot."""

import datetime as dt
from dataclasses import fields, replace

import pytest

from billing.errors import InsufficientCredits, SpendCapReached
from billing.ledger import entry_rows
from billing.ledger.balance import Balance
from billing.ledger.entry_rows import Entry
from billing.ledger.lots import OpenLot
from tests.story import NOON

MARCH = NOON.replace(day=1, hour=0)
FEBRUARY = MARCH.replace(month=2)


def lot(id, remaining, *, held=0, is_live=True):
    times = {"starts_at": None, "expires_at": None}
    rank = {"source": "plan", "priority": 20, "is_promotional": False}
    return OpenLot(
        id=id,
        remaining=remaining,
        held=held,
        is_live=is_live,
        as_read=(remaining, held),
        **rank,
        **times,
    )


def balance(*lots, **values):
    known = dict.fromkeys([field.name for field in fields(Balance)])
    numbers = dict.fromkeys(["debt", "debt_limit", "held", "spent", "frozen"], 0)
    credits = sum(lot.remaining for lot in lots) - values.get("debt", 0)
    return Balance(
        **known | numbers | {"credits": credits, "lots": list(lots), "now": NOON} | values
    )


def lots_of(balance):
    return [(lot.id, lot.remaining, lot.held) for lot in balance.lots]


@pytest.mark.parametrize(
    ("values", "available", "room"),
    [
        pytest.param({}, 7, 7, id="what no hold has reserved and has not expired"),
        pytest.param({"debt": 5}, 2, 2, id="less the debt"),
        pytest.param({"debt": 9}, 0, 0, id="nothing, if the debt is larger"),
        pytest.param(
            {"debt": 5, "debt_limit": 10}, 2, 12, id="the plan's debt may be spent besides"
        ),
        pytest.param({"debt": 20, "debt_limit": 10}, 0, 0, id="a debt above the plan's limit"),
    ],
)
def test_what_is_available_and_what_may_be_spent(values, available, room):
    acme = balance(lot(1, 10, held=3), lot(2, 5, is_live=False), **values)

    assert (acme.available(), acme.room()) == (available, room)


@pytest.mark.parametrize(
    ("values", "available"),
    [
        pytest.param({"spent": 4}, 6, id="the month's operations count"),
        pytest.param({"spent": 4, "held": 3}, 3, id="so do holds"),
        pytest.param({"spent": 4, "held": 3, "frozen": 2}, 5, id="but not what disputes froze"),
        pytest.param({"spent": 14}, 0, id="a cap that was lowered since"),
        pytest.param(
            {"spent": 4, "spent_since": FEBRUARY}, 10, id="last month's operations do not"
        ),
    ],
)
def test_the_cap_refuses_one_credit_more_and_says_how_many_are_left(values, available):
    acme = balance(**{"spend_cap": 10, "spent_since": MARCH} | values)

    with pytest.raises(SpendCapReached) as refused:
        acme.check_cap(available + 1)

    assert refused.value.facts == {"needed": available + 1, "available": available, "cap": 10}
    if available:
        acme.check_cap(available)


def test_without_a_cap_anything_goes():
    balance(spent=10**9, spent_since=MARCH).check_cap(10**9)


@pytest.mark.parametrize(
    ("cost", "used", "remaining", "debt"),
    [
        pytest.param(0, [], (6, 5, 4), 0, id="nothing"),
        pytest.param(1, [[2, -1]], (6, 4, 4), 0, id="one credit"),
        pytest.param(3, [[2, -3]], (6, 2, 4), 0, id="all that is free in a lot"),
        pytest.param(4, [[2, -3], [3, -1]], (6, 2, 3), 0, id="more than that: the next lot too"),
        pytest.param(7, [[2, -3], [3, -4]], (6, 2, 0), 0, id="all that is free"),
        pytest.param(9, [[2, -3], [3, -4]], (6, 2, 0), 2, id="the rest is owed"),
    ],
)
def test_a_debit_passes_over_what_is_held_or_expired(cost, used, remaining, debt):
    acme = balance(lot(1, 6, is_live=False), lot(2, 5, held=2), lot(3, 4), debt_limit=2)

    assert acme.burn(cost) == used

    assert tuple(remaining for _, remaining, _ in lots_of(acme)) == remaining
    assert (acme.debt, acme.credits, acme.spent, acme.spent_since) == (debt, 15 - cost, cost, MARCH)


def test_a_debit_beyond_all_that_and_the_debt_limit_takes_nothing():
    acme = balance(lot(1, 5, held=2), debt=1, debt_limit=2)

    with pytest.raises(InsufficientCredits) as refused:
        acme.burn(5)

    assert refused.value.facts == {"needed": 5, "available": 2, "debt": 1}
    assert (lots_of(acme), acme.debt, acme.spent) == ([(1, 5, 2)], 1, 0)


def test_a_debt_above_the_plans_limit_bars_even_what_a_lot_could_pay():
    acme = balance(lot(1, 5), debt=4, debt_limit=3)

    assert acme.burn(4) == [[1, -4]]  # 5 free + 3 that it may owe - 4 that it owes
    with pytest.raises(InsufficientCredits):
        acme.burn(1)


@pytest.mark.parametrize(
    ("spend", "used", "lots"),
    [
        pytest.param(0, [], [(1, 5, 0), (2, 8, 1)], id="released"),
        pytest.param(2, [[1, -2]], [(1, 3, 0), (2, 8, 1)], id="captured in part"),
        pytest.param(7, [[1, -3], [2, -4]], [(1, 2, 0), (2, 4, 1)], id="captured whole"),
    ],
)
def test_a_hold_ends_with_what_is_spent_of_its_parts_expired_or_not(spend, used, lots):
    acme = balance(lot(1, 5, held=3, is_live=False), lot(2, 8, held=5), held=8)

    assert acme.end_hold([[1, 3], [2, 4]], spend=spend) == used

    assert lots_of(acme) == lots
    assert (acme.held, acme.credits, acme.spent) == (1, 13 - spend, spend)


@pytest.mark.parametrize(
    ("debt", "used", "left"),
    [
        pytest.param(0, [], 0, id="no debt"),
        pytest.param(2, [[2, -2]], 0, id="less than a lot has free"),
        pytest.param(5, [[2, -3], [3, -2]], 0, id="more than that"),
        pytest.param(9, [[2, -3], [3, -4]], 2, id="more than all have"),
    ],
)
def test_a_debt_is_repaid_from_what_is_free_and_live(debt, used, left):
    acme = balance(lot(1, 6, is_live=False), lot(2, 5, held=2), lot(3, 4), debt=debt)
    credits = acme.credits

    assert acme.repay() == used

    assert (acme.debt, acme.credits) == (left, credits)


@pytest.mark.parametrize(
    ("credits", "limit", "used", "owed"),
    [
        pytest.param(2, None, [[1, -2]], 0, id="less than the first lot has free"),
        pytest.param(6, None, [[1, -4], [3, -2]], 0, id="both lots"),
        pytest.param(12, None, [[1, -4], [3, -4]], 4, id="the rest is owed without a limit"),
        pytest.param(12, 3, [[1, -4], [3, -4]], 2, id="up to the limit, with the debt before it"),
        pytest.param(12, 0, [[1, -4], [3, -4]], 0, id="a limit that the debt is above already"),
    ],
)
def test_a_clawback_takes_from_its_lots_alone_live_or_not_and_nothing_held(
    credits, limit, used, owed
):
    acme = balance(lot(1, 6, held=2, is_live=False), lot(2, 9), lot(3, 4), debt=1)
    before = acme.credits

    assert acme.claw_back([3, 1], credits, debt_limit=limit) == (used, owed)

    taken = -sum(part for _, part in used)
    assert (acme.credits, acme.debt, acme.debt_limit) == (before - taken - owed, 1 + owed, 1 + owed)


@pytest.mark.parametrize(
    ("credits", "parts"),
    [
        pytest.param(3, [[1, 3]], id="less than the first lot has free"),
        pytest.param(5, [[1, 4], [3, 1]], id="both lots"),
        pytest.param(99, [[1, 4], [3, 4]], id="no more than there is"),
    ],
)
def test_a_dispute_freezes_its_lots_alone_live_or_not(credits, parts):
    acme = balance(lot(1, 6, held=2, is_live=False), lot(2, 9), lot(3, 4), held=2)

    assert acme.reserve([1, 3], credits) == parts

    assert acme.held == 2 + sum(part for _, part in parts)
    assert [lot.held for lot in acme.lots] == [2 + parts[0][1], 0, dict(parts).get(3, 0)]


def test_a_debit_undone_goes_back_into_its_lots_and_off_the_debt():
    acme = balance(lot(1, 6), lot(2, 0), debt=5)

    assert acme.give_back([[1, -3], [2, -2]], debt=4) == [[1, 3], [2, 2]]

    assert (lots_of(acme), acme.debt, acme.credits) == ([(1, 9, 0), (2, 2, 0)], 1, 1 + 9)


@pytest.mark.parametrize(
    ("spent_at", "since", "spent"),
    [
        pytest.param(MARCH, MARCH, 3, id="of this month, from its first moment"),
        pytest.param(MARCH - dt.timedelta(microseconds=1), MARCH, 7, id="of the month before"),
        pytest.param(MARCH, FEBRUARY, 0, id="of this month, in which nothing was counted"),
    ],
)
def test_an_operation_undone_is_taken_off_the_spending_of_its_own_month(spent_at, since, spent):
    acme = balance(spent=7, spent_since=since)

    acme.uncount(4, spent_at=spent_at)

    assert acme.spent == spent


def test_a_debt_older_than_the_plans_limit_is_repaid_in_part(ledger):
    ledger.plan("generous", debt_limit=15)
    ledger.open_account("acme", plan="generous")
    ledger.debit("acme", "clustering", key="d")
    ledger.change_plan("acme", "starter")

    ledger.grant("acme", 4, key="g")

    assert (ledger.see("acme").credits, ledger.see("acme").debt) == (-6, 6)
    assert ledger.audit().agrees


def test_what_a_grant_repays_is_not_in_its_lot_and_nothing_of_it_is_held(ledger):
    ledger.plan("generous", debt_limit=15)
    ledger.open_account("acme", plan="generous")
    ledger.debit("acme", "clustering", key="d")

    ledger.grant("acme", 14, key="g")

    (rest,) = ledger.see("acme").lots
    assert (rest.remaining, rest.held, ledger.see("acme").available) == (4, 0, 4)


@pytest.mark.parametrize(
    ("column", "field"), [(5, "description"), (6, "key"), (7, "actor"), (8, "reference")]
)
@pytest.mark.parametrize(
    ("text", "copied"),
    [
        ("a\x1fb", "a\\x1fb"),
        ("a\\b", "a\\\\b"),
        ("a\nb", "a\\nb"),
        ("a\rb", "a\\rb"),
        ("None", "\\x4eone"),
        ("plain", "plain"),
    ],
)
def test_a_character_of_the_copy_format_is_escaped_in_each_text(column, field, text, copied):
    plain = Entry(7, 3, "deduction", -2, 98, "clustering", "k", "app", NOON, NOON, "ref", 4)
    entry = replace(plain, **{field: text})

    line = entry_rows.copy_line(entry, entry_rows.hashed_text(entry))

    assert line.split("\x1f")[column] == copied
    assert (line.count("\x1f"), line.count("\n")) == (14, 1)
