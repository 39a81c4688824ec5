"""A hold and its capture take the same credits from the same lots as a debit, or both are refused."""

import datetime as dt
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from billing.usage import holds, post
from billing_client import Capture, Debit, PlaceHold
from tests.conftest import empty_database
from tests.story import Ledger
from worker.database import transaction

#: Words at 1 credit per 100: any number of credits has a price.
OPERATION, UNITS_PER_CREDIT = "content_generation", 100
MARCH, APRIL = dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
#: Hours from now; at 0 a lot expires, or starts, this very moment.
TIMES = st.sampled_from([None, -48, -1, 0, 1, 2, 48])

LOTS = st.fixed_dictionaries(
    {
        "priority": st.integers(10, 12),
        "is_promotional": st.booleans(),
        "remaining": st.integers(0, 12),
        "held": st.integers(0, 12),
        "is_disputed": st.booleans(),
        "expires": TIMES,
        "starts": TIMES,
    }
).filter(lambda lot: None in (lot["expires"], lot["starts"]) or lot["expires"] > lot["starts"])


def lot(**fields):
    plain = {"priority": 10, "is_promotional": False, "remaining": 5, "held": 0}
    return plain | {"is_disputed": False, "expires": None, "starts": None} | fields


@pytest.fixture(scope="module")
def account_id():
    empty_database()
    ledger = Ledger(now=MARCH)
    ledger.plan("owing", debt_limit=6)
    return ledger.open_account("acme", plan="owing")


@settings(max_examples=150)
@given(
    lots=st.lists(LOTS, max_size=6),
    cost=st.integers(1, 30),
    now=st.sampled_from([MARCH + 12 * 3600 * SECOND, APRIL - SECOND, APRIL]),
    cap=st.one_of(st.none(), st.integers(0, 60)),
    spent=st.integers(0, 30),
    spent_since=st.sampled_from([None, MARCH, APRIL]),
    debt=st.sampled_from([0, 0, 0, 2]),
)
@example([lot(expires=-1), lot(expires=48)], 5, MARCH, None, 0, None, 0)
@example([lot(starts=1), lot(priority=12)], 5, MARCH, None, 0, None, 0)
@example([lot(expires=2), lot(expires=1), lot()], 12, MARCH, None, 0, None, 0)
@example([lot(), lot(is_promotional=True)], 6, MARCH, None, 0, None, 0)
@example([lot(priority=12), lot(priority=11)], 6, MARCH, None, 0, None, 0)
@example([lot(priority=12, expires=1), lot(priority=11)], 6, MARCH, None, 0, None, 0)
@example([lot(expires=0), lot()], 5, MARCH, None, 0, None, 0)
@example([lot(remaining=6)], 5, MARCH, None, 0, None, 2)
@example([lot(held=5), lot(held=2)], 3, MARCH, None, 0, None, 0)
@example([lot(remaining=9)], 5, APRIL, 6, 5, MARCH, 0)
@example([lot(remaining=9)], 5, APRIL - SECOND, 6, 5, MARCH, 0)
@example([lot(held=5, is_disputed=True), lot()], 5, MARCH, 5, 0, None, 0)
@example([lot(held=5), lot()], 5, MARCH, 5, 0, None, 0)
def test_a_hold_and_its_capture_take_what_a_debit_takes(
    account_id, lots, cost, now, cap, spent, spent_since, debt
):
    hold = PlaceHold(account_id, OPERATION, "h", units=cost * UNITS_PER_CREDIT)
    debit = Debit(account_id, OPERATION, "d", units=cost * UNITS_PER_CREDIT)
    with transaction() as ctx:
        everything = ctx.session.begin_nested()
        _fill(ctx, account_id, lots, now, cap, spent, spent_since, debt)
        free = _free(ctx, account_id, now)

        by_hold = _place_and_capture(ctx.at(now), hold)
        by_debit = _undone(ctx.at(now), lambda act: _taken(post.apply(act, [debit])[0]))
        everything.rollback()

    if cost <= free - debt:
        assert by_hold == by_debit
    else:
        # A debit may owe what its plan allows. A hold never does.
        assert by_hold == "refused"


def _place_and_capture(ctx, hold):
    def act(ctx):
        if holds.place(ctx, hold).outcome == "refused":
            return "refused"
        (reserved,) = ctx.session.scalars(
            text("SELECT lots FROM billing.holds WHERE key_text = 'h'")
        )
        taken = _taken(post.apply(ctx, [Capture(hold.account_id, "h")])[0])
        assert taken == [[lot_id, -credits] for lot_id, credits in reserved]
        return taken

    return _undone(ctx, act)


def _undone(ctx, act):
    attempt = ctx.session.begin_nested()
    result = act(ctx)
    attempt.rollback()
    return result


def _taken(answer):
    return answer.entry.lots if answer.entry else "refused"


def _free(ctx, account_id, now):
    return ctx.session.scalar(
        text(
            "SELECT COALESCE(sum(remaining - held), 0) FROM billing.lots WHERE account_id = :id"
            " AND (starts_at IS NULL OR starts_at <= :now)"
            " AND (expires_at IS NULL OR expires_at > :now)"
        ),
        {"id": account_id, "now": now},
    )


def _fill(ctx, account_id, lots, now, cap, spent, spent_since, debt):
    """Write the balance, its lots and its open holds, disputed or not, as they stand."""

    def run(statement, **values):
        return ctx.session.execute(text(statement), values | {"id": account_id, "now": now})

    remaining = sum(each["remaining"] for each in lots)
    held = sum(min(each["held"], each["remaining"]) for each in lots)
    run(
        "INSERT INTO billing.books (account_id, credits, debt, debt_limit, held, opened_at,"
        " opening_credits, spent, spent_since)"
        " VALUES (:id, :credits, :debt, 6, :held, :now, 0, :spent, :since)",
        credits=remaining - debt,
        debt=debt,
        held=held,
        spent=spent,
        since=spent_since,
    )
    if cap is not None:
        run("INSERT INTO billing.spend_caps VALUES (:id, :cap)", cap=cap)
    for number, each in enumerate(lots):
        if each["remaining"] == 0:
            continue
        part = min(each["held"], each["remaining"])
        lot_id = run(
            "INSERT INTO billing.lots (account_id, source, priority, is_promotional, granted,"
            " remaining, held, starts_at, expires_at, key, recorded_at)"
            " VALUES (:id, 'goodwill', :priority, :is_promotional, :remaining, :remaining, :held,"
            " :starts_at, :expires_at, :key, :now) RETURNING id",
            **{name: each[name] for name in ("priority", "is_promotional", "remaining")},
            held=part,
            key=f"lot:{number}",
            **{f"{name}_at": _hours(now, each[name]) for name in ("starts", "expires")},
        ).scalar_one()
        if part:
            operation = "billing:dispute:1" if each["is_disputed"] else "image_generation"
            run(
                "INSERT INTO billing.holds (key, key_text, account_id, operation, units, credits,"
                " lots, placed_at, expires_at) VALUES (gen_random_uuid(), :key, :id, :operation, 1,"
                " :held, CAST(:lots AS jsonb), :now, 'infinity')",
                key=f"held:{number}",
                operation=operation,
                held=part,
                lots=json.dumps([[lot_id, part]]),
            )


def _hours(now, hours):
    return None if hours is None else now + dt.timedelta(hours=hours)
