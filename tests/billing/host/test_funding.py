"""The ways an account is funded, and until when."""

import datetime as dt

import pytest

from billing.host import funding
from billing.host.funding import Funding
from tests.billing.host.conftest import DAY
from tests.story import NOON
from worker.database import transaction

SECOND = dt.timedelta(seconds=1)
OURS = "billing:invoice:1"


def case(*rows, id, funded=True):
    return pytest.param(rows, funded, id=id)


def purchase(**fields):
    return "purchase", fields


def at_stripe(status="active", **fields):
    return "at_stripe", {"status": status, **fields}


def by_bank(**fields):
    return "subscription", fields


@pytest.mark.parametrize(
    ("given", "is_funded"),
    [
        case(id="nothing", funded=False),
        case(purchase(), id="a purchase that runs"),
        case(purchase(plan_id=None), id="a pack that runs", funded=False),
        case(purchase(slug="other"), at_stripe(slug="other"), id="another account", funded=False),
        *[
            case(at_stripe(status, days=-50), id=f"a subscription that is {status}")
            for status in ("trialing", "active", "past_due", "unpaid", "paused")
        ],
        *[
            case(at_stripe(status), id=f"a subscription that is {status}", funded=False)
            for status in ("canceled", "incomplete", "incomplete_expired")
        ],
        case(purchase(days=-34), id="a purchase that ended 34 days ago, no subscription known"),
        case(purchase(days=-35), id="one that ended 35 days ago", funded=False),
        case(purchase(days=-1, plan_id=None), id="a pack that ended a moment ago", funded=False),
        case(
            purchase(days=-1),
            at_stripe("canceled"),
            id="a purchase whose subscription has ended too",
            funded=False,
        ),
        case(purchase(reduced=999), id="a purchase that a change of plan left one credit a month"),
        case(
            purchase(reduced=1000),
            at_stripe("canceled"),
            id="a purchase that a change of plan ended",
            funded=False,
        ),
        case(by_bank(days=-3), id="a bank customer, whose invoice is on its way"),
        case(by_bank(status="canceled"), id="a bank customer who left", funded=False),
        case(
            by_bank(external_payment_id="theirs:1"), id="the app's own bank customer", funded=False
        ),
        case(by_bank(payment_method="card"), id="the app's own card customer", funded=False),
        case(by_bank(slug="other"), id="another account's subscription", funded=False),
    ],
)
def test_an_account_is_funded_by(rows, ledger, given, is_funded):
    rows.write(*given)

    with transaction() as ctx:
        assert (
            ledger.ids["acme"] in funding.funded(ctx.at(NOON), ledger.ids.values())
        ) is is_funded


def way(*rows, id, **expected):
    times = {name: NOON + number * DAY for name, number in expected.items()}
    return pytest.param(rows, Funding(**times), id=id)


BOUGHT_BY_BANK = {"origin": OURS}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        way(id="nothing"),
        way(at_stripe(), card_until=10, card_since=-20, id="an active subscription"),
        way(at_stripe(days=0), id="one whose period is over"),
        *[
            way(at_stripe(status), id=f"one that is {status}")
            for status in ("trialing", "past_due", "unpaid", "paused", "canceled")
        ],
        way(
            at_stripe(id="sub_1", days=5, since=-3),
            at_stripe(id="sub_2", days=9, since=-40),
            at_stripe(id="sub_3", days=-1, since=-90),
            card_until=9,
            card_since=-40,
            id="of several that run the last end and the first start",
        ),
        way(purchase(), card_until=10, card_since=-1, id="a payment without a subscription yet"),
        way(purchase(), at_stripe("canceled"), id="a payment whose subscription has ended"),
        way(purchase(days=0), id="a payment whose period is over"),
        way(purchase(plan_id=None), id="a pack"),
        way(purchase(taken_back=999), card_until=10, card_since=-1, id="most of it went back"),
        way(purchase(taken_back=1000), id="all of it went back"),
        way(
            purchase(taken_back=1000, lots=2),
            card_until=10,
            card_since=-1,
            id="one of two months went back",
        ),
        way(purchase(reduced=1000), id="a change of plan ended it"),
        way(purchase(**BOUGHT_BY_BANK), bank_until=10, id="a transfer"),
        way(purchase(days=0, **BOUGHT_BY_BANK), id="a transfer whose period is over"),
        way(purchase(plan_id=None, **BOUGHT_BY_BANK), id="a pack by transfer"),
        way(purchase(taken_back=1000, **BOUGHT_BY_BANK), id="a transfer that went back"),
        way(by_bank(), bank_until=10, id="a subscription by transfer"),
        way(by_bank(days=0), id="one whose period is over"),
        way(by_bank(status="past_due"), id="one that is not active"),
        way(by_bank(payment_method="card"), id="the app's own by card"),
        way(by_bank(external_payment_id="theirs"), id="the app's own by transfer"),
        way(
            purchase(days=4, **BOUGHT_BY_BANK),
            by_bank(days=7),
            bank_until=7,
            id="of transfer and subscription the later end",
        ),
        way(
            purchase(days=12, **BOUGHT_BY_BANK),
            at_stripe(),
            bank_until=12,
            card_until=10,
            card_since=-20,
            id="both ways, each by itself",
        ),
        way(purchase(slug="other"), at_stripe(slug="other"), by_bank(slug="other"), id="another's"),
    ],
)
def test_each_way_of_paying_funds_an_account_until(rows, ledger, given, expected):
    rows.write(*given)

    with transaction() as ctx:
        assert funding.way(ctx.at(NOON), ledger.ids["acme"]) == expected


def test_an_account_is_funded_until_the_last_end_of_all_ways():
    assert Funding(card_until=NOON, bank_until=NOON + DAY).until == NOON + DAY
    assert Funding(card_until=NOON).until == NOON
    assert Funding().until is None


@pytest.mark.parametrize(
    ("given", "subscription", "is_other"),
    [
        pytest.param([at_stripe()], "sub_1", False, id="the same"),
        pytest.param([at_stripe()], "sub_2", True, id="another"),
        pytest.param([at_stripe()], None, True, id="any, for none"),
        pytest.param([at_stripe("past_due")], None, False, id="one that is not active"),
        pytest.param([at_stripe(slug="other")], None, False, id="one of another account"),
    ],
)
def test_another_subscription_pays_for_the_account(rows, ledger, given, subscription, is_other):
    rows.write(*given)

    with transaction() as ctx:
        context, account_id = ctx.at(NOON), ledger.ids["acme"]
        assert funding.by_other_subscription(context, account_id, subscription) is is_other
