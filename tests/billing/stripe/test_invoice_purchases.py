"""The purchases of a paid invoice's lines, with prices; a line that can't be read loses no other."""

import datetime as dt

import pytest

from billing.host.accounts import HostPlan
from billing.stripe import invoice_lines
from billing.stripe.apply import facts_of
from billing.stripe.catalog import Catalog
from billing.stripe.errors import (
    AbsurdCredits,
    AbsurdPeriod,
    BadAmount,
    LinesIncomplete,
    LineWithoutPeriod,
    UnknownPlan,
    UnknownPrice,
)
from billing.stripe.fields import Price
from tests.billing.stripe.writing import Shop, seconds

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)
LONGEST = invoice_lines.MAX_PERIOD_S

STARTER = HostPlan(1, "starter", 1000, is_active=True, is_free=False)
SCALE = HostPlan(2, "scale", 4000, is_active=True, is_free=False)
FREE = HostPlan(3, "free", 100, is_active=True, is_free=True)
EMPTY = HostPlan(4, "empty", 0, is_active=True, is_free=False)
CATALOG = Catalog(
    frozenset(),
    {},
    {plan.slug: plan for plan in (STARTER, SCALE, FREE, EMPTY)},
    {"price_known": Price("price_known", None, is_one_time=False)},
)


@pytest.fixture
def shop() -> Shop:
    return Shop(now=MARCH)


def month(shop, slug="starter", **changed):
    price = shop.price(slug, unit=0 if slug == "free" else 8900)
    return shop.line(price, start=MARCH, end=APRIL, **{"id": "il_1", **changed})


def pack(shop, **changed):
    price = shop.price("", unit=2500, credits="500")
    return shop.line(price, start=MARCH, end=MARCH, **{"id": "il_2", **changed})


def sold(shop, *lines, **changed):
    invoice = facts_of("invoice", shop.invoice(list(lines), status="paid") | changed)
    return invoice_lines.sold(invoice, CATALOG, account_id=7)


def buys(shop, *lines, **changed):
    """Return the purchases of a paid invoice with these lines; all of them can be read."""
    bought, errors, _ = sold(shop, *lines, **changed)
    assert errors == []
    return bought


def refuses(shop, line, error) -> bool:
    """Whether this line buys nothing, for this error."""
    bought, errors, _ = sold(shop, line)
    return (bought, [type(item) for item in errors]) == ([], [error])


def credits_of(purchases):
    return [(bought.source, bought.credits) for bought in purchases]


def day(second):
    return dt.datetime.fromtimestamp(second, dt.UTC)


def test_a_plan_is_bought_for_the_lines_period_and_a_pack_for_good(shop):
    plan, credits = buys(shop, month(shop), pack(shop), id="in_1")

    assert (plan.account_id, plan.origin, plan.plan_id, plan.source) == (7, "in_1", 1, "plan")
    assert (plan.starts_at, plan.ends_at) == (day(MARCH), day(APRIL))
    assert (plan.price_minor, plan.currency) == (8900, "USD")
    assert (credits.account_id, credits.origin, credits.source) == (7, "in_1", "top_up")
    assert (credits.starts_at, credits.ends_at, credits.plan_id) == (day(MARCH), None, None)
    assert (credits.price_minor, credits.currency) == (2500, "USD")


@pytest.mark.parametrize(
    ("lines", "bought"),
    [
        pytest.param(lambda s: [month(s, quantity=3)], [("plan", 3000)], id="three seats"),
        pytest.param(lambda s: [pack(s, quantity=3)], [("top_up", 1500)], id="three packs"),
        pytest.param(lambda s: [month(s, amount=0)], [], id="a trial's line"),
        pytest.param(lambda s: [month(s, "free")], [("plan", 100)], id="a free plan"),
        pytest.param(lambda s: [month(s, "free", quantity=0)], [], id="no seat of a free plan"),
        pytest.param(lambda s: [month(s, amount=-1)], [], id="a line that gives money back"),
        pytest.param(lambda s: [pack(s, amount=0)], [], id="a pack that costs nothing this time"),
        pytest.param(lambda s: [pack(s, amount=-1)], [], id="a pack that is given back"),
        pytest.param(lambda s: [month(s, "empty")], [], id="a plan without credits"),
        pytest.param(
            lambda s: [month(s), month(s, "scale", id="il_9")],
            [("plan", 1000), ("plan", 4000)],
            id="two plans",
        ),
    ],
)
def test_each_line_that_is_paid_for_buys_its_credits_times_its_quantity(shop, lines, bought):
    assert credits_of(buys(shop, *lines(shop))) == bought


def test_a_free_pack_gives_its_credits(shop):
    line = pack(shop)
    line |= {"price": line["price"] | {"unit_amount": 0}, "amount": 0}

    assert credits_of(buys(shop, line)) == [("top_up", 500)]


def test_lines_of_one_id_and_different_prices_are_different_purchases(shop):
    keys = {
        item.key for item in buys(shop, month(shop, id="sub_1"), month(shop, "scale", id="sub_1"))
    }
    again = {item.key for item in buys(shop, month(shop, id="sub_1"), id="in_other")}

    assert len(keys) == 2
    assert not keys & again


@pytest.mark.parametrize(
    ("period", "created", "starts_at"),
    [
        pytest.param({"start": APRIL, "end": APRIL}, MARCH, APRIL, id="at the line's start"),
        pytest.param(None, APRIL, APRIL, id="else when the invoice was made"),
        pytest.param(None, None, seconds(2010, 1, 1), id="else before everything"),
    ],
)
def test_a_packs_credits_start_with_its_line(shop, period, created, starts_at):
    (bought,) = buys(shop, pack(shop, period=period), created=created)

    assert bought.starts_at == day(starts_at)


# --- the price -------------------------------------------------------------------------------------------


def off(cents):
    return [{"amount": cents, "discount": "di_1"}]


@pytest.mark.parametrize(
    ("lines", "changed", "prices"),
    [
        pytest.param(
            lambda s: [month(s, discount_amounts=off(900)), pack(s)],
            {"total": 10_500, "total_discount_amounts": off(900)},
            [8000, 2500],
            id="a coupon on one line",
        ),
        pytest.param(
            lambda s: [month(s), pack(s)],
            {"total": 5700, "total_discount_amounts": off(5700)},
            [4450, 1250],
            id="a coupon on all, which only the invoice tells",
        ),
        pytest.param(
            lambda s: [month(s), pack(s)], {"total": 5700}, [4450, 1250], id="which nothing tells"
        ),
        pytest.param(
            lambda s: [month(s), pack(s)], {"total": 12_000}, [8900, 2500], id="taxes are no price"
        ),
        pytest.param(
            lambda s: [month(s)], {"total": 0, "total_discount_amounts": off(8900)}, [0], id="all off"
        ),
        pytest.param(
            lambda s: [month(s, discount_amounts=off(9000))], {"total": 0}, [0], id="more than all"
        ),
        pytest.param(
            lambda s: [month(s)],
            {"total": 8900, "pre_payment_credit_notes_amount": 4450},
            [4450],
            id="a credit note before the payment",
        ),
        pytest.param(
            lambda s: [month(s)],
            {"total": 8900, "pre_payment_credit_notes_amount": 9900},
            [0],
            id="one over more than all",
        ),
        pytest.param(
            lambda s: [month(s), pack(s, amount=-2500)],
            {"total": 6400},
            [8900],
            id="a line that gives back is no discount",
        ),
    ],
)  # fmt: skip
def test_a_purchase_knows_what_was_paid_for_it(shop, lines, changed, prices):
    assert [item.price_minor for item in buys(shop, *lines(shop), **changed)] == prices


# --- what makes no sense ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "error"),
    [
        (1, None),
        (LONGEST, None),
        (LONGEST + 1, AbsurdPeriod),
        (0, LineWithoutPeriod),
        (-1, LineWithoutPeriod),
    ],
)
def test_a_plans_period_lasts_a_second_to_six_years(shop, length, error):
    line = month(shop, period={"start": MARCH, "end": MARCH + length})

    if error is None:
        assert len(buys(shop, line)) == 1
    else:
        assert refuses(shop, line, error)


@pytest.mark.parametrize("missing", ["start", "end"])
def test_a_plans_line_needs_both_ends_of_its_period(shop, missing):
    line = month(shop)
    line["period"] = line["period"] | {missing: None}

    assert refuses(shop, line, LineWithoutPeriod)


def test_nobody_buys_more_than_a_hundred_million_credits(shop):
    most = month(shop, quantity=100_000)

    assert credits_of(buys(shop, most)) == [("plan", 100_000_000)]
    for line in (month(shop, quantity=100_001), pack(shop, quantity=200_001)):
        assert refuses(shop, line, AbsurdCredits)


# --- line by line ----------------------------------------------------------------------------------------


def reads(shop, *lines, has_more=False):
    """Return the purchases of the readable lines, and the errors of the others."""
    data = {"data": list(lines), "has_more": has_more}
    bought, errors, _ = sold(shop, *lines, lines=data)
    return credits_of(bought), [type(error) for error in errors]


def rise(shop, **changed):
    """A change from the starter plan to scale, as its two prorations."""
    pairs = (shop.price(), 1), (shop.price("scale", unit=22_900), 1)
    return shop.change(*pairs, at=MARCH + 5, start=MARCH, end=APRIL, share=1 / 2)


@pytest.mark.parametrize(
    ("flaw", "error"),
    [
        ({"quantity": -1}, BadAmount),
        ({"period": None}, LineWithoutPeriod),
        ({"quantity": 10**9}, AbsurdCredits),
        ({"price": "price_named_only"}, UnknownPrice),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_line_that_can_not_be_read_is_an_error_and_the_others_count(shop, flaw, error):
    lines = [month(shop, id="il_odd") | flaw, month(shop), pack(shop), *rise(shop)]

    assert reads(shop, *lines) == ([("plan", 1000), ("top_up", 500), ("plan", 3000)], [error])


@pytest.mark.parametrize("flaw", [{"quantity": -1}, {"price": "price_named_only"}])
def test_a_proration_that_can_not_be_read_sets_all_of_them_aside(shop, flaw):
    old, new = rise(shop)

    bought, errors = reads(shop, old | flaw, new, month(shop))

    assert (bought, len(errors)) == ([("plan", 1000)], 1)


def test_prorations_that_make_no_sense_together_are_one_error(shop):
    old, new = rise(shop)

    assert reads(shop, old, new | {"quantity": 10**6}, month(shop), pack(shop)) == (
        [("plan", 1000), ("top_up", 500)],
        [AbsurdCredits],
    )


def test_of_an_invoice_whose_lines_did_not_all_come_whole_lines_count_and_prorations_wait(shop):
    assert reads(shop, *rise(shop), month(shop), has_more=True) == (
        [("plan", 1000)],
        [LinesIncomplete],
    )


def test_a_plan_that_the_app_does_not_have_is_an_error_of_its_line(shop):
    price = shop.price() | {"metadata": {"plan": "gold"}}

    assert reads(shop, month(shop) | {"price": price}, pack(shop)) == (
        [("top_up", 500)],
        [UnknownPlan],
    )


def test_where_all_is_well_there_is_no_error(shop):
    assert reads(shop, month(shop), pack(shop)) == ([("plan", 1000), ("top_up", 500)], [])


# --- access ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "lets_in"),
    [
        pytest.param(month, True, id="a plan that is paid for"),
        pytest.param(lambda s: month(s, "free"), True, id="a free plan"),
        pytest.param(lambda s: month(s, amount=0), False, id="a trial"),
        pytest.param(pack, False, id="credits alone"),
    ],
)
def test_a_plan_that_is_paid_for_gives_access(shop, line, lets_in):
    assert sold(shop, line(shop)).pays_for_plan is lets_in


def test_mere_usage_gives_no_access(shop):
    line = month(shop)
    line["price"] = line["price"] | {"recurring": {"usage_type": "metered"}}

    assert not sold(shop, line).pays_for_plan
