"""A payment by Checkout or by an intent alone gives the credits that it bought, once."""

import itertools

import pytest
from sqlalchemy import select, text

from billing.stripe import inbox_upkeep
from cli.status import COUNTS, Status
from models.host import Payment
from models.purchases import Purchase
from models.stripe import StripeEvent
from tests.billing.stripe.story import lots
from tests.billing.stripe.writing import Shop, seconds
from worker.database import transaction

MARCH, APRIL = seconds(2026, 3, 1), seconds(2026, 4, 1)
#: Nothing needs an operator.
NONE = dict.fromkeys(COUNTS)


@pytest.fixture(params=["before basil", "since basil"])
def shop(request, stripe, ledger) -> Shop:
    ledger.open_account("acme", status="active", plan=None)
    return stripe.shop("acme", basil=request.param == "since basil")


def arrive(stripe, *events) -> list[str]:
    """Deliver these events, and whatever waited for them."""
    outcomes = stripe.deliver(*events)
    stripe.sweep()
    return outcomes


def test_the_metadata_of_a_paid_session_are_a_top_up(stripe, ledger, shop):
    shop.buys(credits=500)

    arrive(stripe, *shop.events * 2)

    assert lots(ledger) == [("top_up", 500)]
    assert stripe.payments() == [("succeeded", "USD", 2500)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_a_top_up_knows_its_price_and_what_of_it_went_back(stripe, shop, order):
    charge = shop.buys(credits=500)
    events = shop.events[1:4]
    arrive(stripe, *[events[place] for place in order])
    shop.events.clear()

    shop.refunds(charge, 1000)
    arrive(stripe, *shop.events)

    with transaction() as ctx:
        (bought,) = ctx.session.scalars(select(Purchase))
        money = bought.price_minor, bought.currency, bought.returned_minor
        assert (money, bought.taken_back) == ((2500, "USD", 1000), 200)


@pytest.mark.parametrize("invoiced", [False, True])
@pytest.mark.parametrize("lost", ["a refund", "a dispute"])
def test_a_top_up_that_goes_back_takes_its_credits_beside_a_balance_that_moved(
    stripe, ledger, shop, invoiced, lost
):
    ledger.plan("starter")
    ledger.plan("scale", included_credits=4000)
    prices = [shop.price(), shop.price("scale", unit=22_900)]
    for price in prices:
        shop.event("price.created", price)
    charge = shop.buys(credits=500, invoiced=invoiced)
    shop.settles(shop.line(prices[1], start=MARCH, end=APRIL))
    pairs = [(price, 1) for price in reversed(prices)]
    shop.settles(*shop.change(*pairs, at=MARCH + 3600, start=MARCH, end=APRIL))
    arrive(stripe, *shop.events)
    shop.events.clear()
    assert ledger.see("acme").credits == 4500

    if lost == "a refund":
        shop.refunds(charge, 2500)
    else:
        shop.closes_dispute(shop.opens_dispute(charge), "lost")
    arrive(stripe, *shop.events)

    assert ledger.see("acme").credits == 4000


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)], ids=str)
def test_an_invoice_that_checkout_makes_gives_no_second_time_and_takes_nothing(
    stripe, ledger, shop, order
):
    shop.buys(credits=500, invoiced=True)
    events = shop.events[2:]

    arrive(stripe, *[events[place] for place in order])

    assert lots(ledger) == [("top_up", 500)]
    assert set(stripe.outcomes()) == {"applied"}
    assert stripe.invoices() == [("paid", "USD", 2500, 2500)]


@pytest.mark.parametrize("first", ["the session", "the invoice"])
def test_a_pack_whose_session_says_the_same_is_given_once(stripe, ledger, shop, first):
    pack = shop.price("", unit=2500, credits="500")
    stripe.deliver(shop.event("price.created", pack))
    intent = shop.intent(2500)
    line = shop.line(pack, start=MARCH, end=MARCH)
    payments = {"data": [{"payment": {"payment_intent": intent["id"]}}]}
    invoice = shop.invoice([line], status="paid", amount_paid=2500, payments=payments)
    session = shop.session(2500, intent=intent, credits=500, invoice=invoice["id"])
    events = [
        shop.event("checkout.session.completed", session),
        shop.event("invoice.paid", invoice),
    ]

    arrive(stripe, *(events if first == "the session" else reversed(events)))

    assert lots(ledger) == [("top_up", 500)]


def test_a_session_alone_is_enough(stripe, ledger, shop):
    shop.buys(credits=500)

    arrive(stripe, shop.events[-1])

    assert lots(ledger) == [("top_up", 500)]
    assert stripe.payments() == [("succeeded", "USD", 2500)]


def test_a_session_is_enough_although_its_intent_is_only_known_from_before(stripe, ledger, shop):
    shop.buys(credits=500)

    arrive(stripe, shop.events[0], shop.events[-1])

    assert lots(ledger) == [("top_up", 500)]


def test_a_coupon_that_leaves_nothing_to_pay_gives_the_pack(stripe, ledger, shop):
    session = shop.session(0, credits=500, payment_status="no_payment_required")

    arrive(stripe, shop.event("checkout.session.completed", session))

    assert lots(ledger) == [("top_up", 500)]
    assert stripe.payments() == []


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"payment_status": "unpaid"}, id="not paid yet"),
        pytest.param({"payment_status": "no_payment_required"}, id="to be paid later"),
        pytest.param({"mode": "setup", "amount_total": 0}, id="a card that is only stored"),
        pytest.param({"mode": "subscription"}, id="a subscription, which its invoices pay"),
    ],
)
def test_a_session_that_is_no_payment_gives_nothing(stripe, ledger, shop, changed):
    arrive(
        stripe,
        shop.event("checkout.session.completed", shop.session(2500, credits=500, **changed)),
    )

    assert lots(ledger) == []
    assert stripe.payments() == []


def test_a_session_that_is_paid_days_later_gives_then(stripe, ledger, shop):
    intent = shop.intent(2500)
    session = shop.session(2500, intent=intent, credits=500, payment_status="unpaid")
    arrive(stripe, shop.event("checkout.session.completed", session))
    before = lots(ledger)

    shop.now += 60
    paid = session | {"payment_status": "paid"}
    arrive(stripe, shop.event("checkout.session.async_payment_succeeded", paid))

    assert (before, lots(ledger)) == ([], [("top_up", 500)])


@pytest.mark.parametrize("first", [0, 1])
def test_the_metadata_of_the_intent_count_with_a_session_that_has_none(stripe, ledger, shop, first):
    intent = shop.intent(2500, metadata={"credits": "500"})
    events = [
        shop.event("payment_intent.succeeded", intent),
        shop.event("checkout.session.completed", shop.session(2500, intent=intent)),
    ]

    arrive(stripe, events[first], events[1 - first])

    assert lots(ledger) == [("top_up", 500)]


# --- intents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param("ORDER-1234", id="a word"),
        pytest.param("29", id="a number"),
        pytest.param("pi_of_another", id="an id of another kind"),
        pytest.param("x" * 1000, id="a long text"),
        pytest.param(17, id="no text"),
    ],
)
def test_an_order_reference_of_the_merchant_is_no_invoice(stripe, ledger, shop, reference):
    details = {"order_reference": reference}
    intent = shop.intent(2500, metadata={"credits": "500"}, payment_details=details)

    arrive(stripe, shop.event("payment_intent.succeeded", intent))

    assert lots(ledger) == [("top_up", 500)]


def test_one_order_reference_of_two_tenants_joins_nothing(stripe, ledger, shop):
    ledger.open_account("other", status="active", plan=None)
    others = stripe.shop("other", customer="cus_2", names=itertools.count(100))
    details = {"order_reference": "in_of_nobody"}
    charges = []
    for each in (shop, others):
        intent = each.intent(2500, payment_details=details, invoice=None)
        session = each.session(2500, intent=intent, credits=500)
        charges.append(each.charge(2500, intent=intent["id"]))
        arrive(
            stripe,
            each.event("payment_intent.succeeded", intent),
            each.event("charge.succeeded", charges[-1]),
            each.event("checkout.session.completed", session),
        )

    shop.now += 60
    shop.refunds(charges[0], 2500)
    arrive(stripe, *shop.events[-2:])

    assert (lots(ledger), lots(ledger, "other")) == ([], [("top_up", 500)])
    assert stripe.payments() == [("refunded", "USD", 2500), ("succeeded", "USD", 2500)]


def test_an_order_reference_that_was_stored_as_an_invoice_before_joins_nothing_now(
    stripe, ledger, shop
):
    ledger.open_account("other", status="active", plan=None)
    others = stripe.shop("other", customer=None, names=itertools.count(100))
    charges = []
    for each, customer in ((shop, "cus_1"), (others, "cus_1")):
        intent = each.intent(2500, metadata={"credits": "500"}, customer=customer)
        charges.append(each.charge(2500, intent=intent["id"]))
        stripe.deliver(
            each.event("payment_intent.succeeded", intent),
            each.event("charge.succeeded", charges[-1] | {"customer": customer}),
        )
        with transaction() as ctx:
            values = {"id": intent["id"]}
            ctx.session.execute(
                text("INSERT INTO billing.stripe_links VALUES (:id, 'ORDER-1')"), values
            )
            ctx.session.execute(
                text(
                    "UPDATE billing.stripe_objects"
                    ' SET facts = facts || \'{"invoice": "ORDER-1"}\' WHERE id = :id'
                ),
                values,
            )
    shop.now += 60
    shop.refunds(charges[0], 2500)

    arrive(stripe, *shop.events[-2:])

    assert ledger.see("acme").credits == 500


@pytest.mark.parametrize("status", ["processing", "requires_payment_method", "canceled"])
def test_an_intent_that_did_not_succeed_gives_nothing(stripe, ledger, shop, status):
    intent = shop.intent(2500, metadata={"credits": "500"}, status=status)

    arrive(stripe, shop.event("payment_intent.created", intent))

    assert lots(ledger) == []


def test_an_invoices_intent_gives_nothing_beside_the_invoice(stripe, ledger, shop):
    intent = shop.intent(
        2500, metadata={"credits": "500"}, payment_details={"order_reference": "in_9"}
    )

    arrive(stripe, shop.event("payment_intent.succeeded", intent))

    assert lots(ledger) == []


# --- what goes back --------------------------------------------------------------------------------


@pytest.mark.parametrize("cents", [2500, 1000])
@pytest.mark.parametrize(
    "which",
    [
        pytest.param({"checkout.session.completed"}, id="the session alone"),
        pytest.param({"checkout.session.completed", "charge.succeeded"}, id="session and charge"),
        pytest.param({"payment_intent.succeeded", "charge.succeeded"}, id="no session"),
    ],
)
def test_a_refund_takes_its_share_whatever_events_came(stripe, ledger, shop, which, cents):
    credits = None if "payment_intent.succeeded" in which else 500
    charge = shop.buys(credits=credits)
    if credits is None:
        shop.events[2]["data"]["object"]["metadata"] = {"credits": "500"}
    arrive(stripe, *[event for event in shop.events if event["type"] in which])
    shop.now += 60
    shop.refunds(charge, cents)

    arrive(stripe, shop.events[-2])

    assert ledger.see("acme").credits == 500 - cents // 5


@pytest.mark.parametrize("order", [(3, -1), (-1, 3)], ids=["session first", "charge first"])
def test_a_refund_that_only_its_charge_tells_takes_the_credits_of_the_session(
    stripe, ledger, shop, order
):
    charge = shop.buys(credits=500)
    shop.refunds(charge, 2500)

    arrive(stripe, *[shop.events[place] for place in order])

    assert ledger.see("acme").credits == 0


def test_a_refund_that_comes_first_is_counted_when_the_session_comes(stripe, ledger, shop):
    charge = shop.buys(credits=500)
    session = shop.events[-1]
    shop.refunds(charge, 2500)

    outcomes = arrive(stripe, shop.events[-2], session)

    assert outcomes[0] == "parked: UnknownPayment"
    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 0


@pytest.mark.parametrize("outcome", ["lost", "won"])
def test_a_dispute_of_a_session_freezes_and_takes_the_credits(stripe, ledger, shop, outcome):
    charge = shop.buys(credits=500)
    arrive(stripe, shop.events[-1])
    shop.now += 60
    dispute = shop.opens_dispute(charge)
    arrive(stripe, shop.events[-1])
    frozen = ledger.see("acme").held

    shop.now += 60
    shop.closes_dispute(dispute, outcome)
    arrive(stripe, shop.events[-1])

    assert frozen == 500
    assert ledger.see("acme").available == (0 if outcome == "lost" else 500)


def test_a_top_up_by_invoice_is_taken_back_with_its_money(stripe, ledger, shop):
    charge = shop.buys(credits=500, invoiced=True)
    arrive(stripe, *shop.events)
    shop.now += 60
    shop.refunds(charge, 2500)

    arrive(stripe, *shop.events[-2:])

    assert ledger.see("acme").credits == 0


@pytest.mark.parametrize("heir", ["nobody", "another account"])
def test_a_refund_reaches_the_credits_after_the_customer_was_changed(stripe, ledger, shop, heir):
    charge = shop.buys(credits=500)
    arrive(stripe, *shop.events)
    ledger.set_host("acme", stripe_customer_id="cus_new")
    if heir == "another account":
        ledger.open_account("heir", status="active", plan=None, stripe_customer_id="cus_1")
    shop.now += 60
    shop.refunds(charge, 2500)

    arrive(stripe, *shop.events[-2:])

    assert ledger.see("acme").credits == 0
    assert set(stripe.outcomes()) == {"applied"}
    is_refund = StripeEvent.type.in_(["refund.created", "charge.refunded"])
    with transaction() as ctx:
        accounts = {*ctx.session.scalars(select(StripeEvent.account_id).where(is_refund))}
        accounts |= {*ctx.session.scalars(select(Payment.account_id))}
    assert accounts == {ledger.ids["acme"]}


def test_a_page_in_another_currency_than_the_charge_does_not_change_the_share(stripe, ledger, shop):
    charge = shop.buys(2500, credits=500, currency="jpy", amount_total=390_000)
    arrive(stripe, *shop.events)
    shop.now += 60
    shop.refunds(charge, 2500)

    arrive(stripe, *shop.events[-2:])

    assert ledger.see("acme").credits == 0


def test_a_subscription_stays_its_accounts_when_the_app_gives_it_another_customer(
    stripe, ledger, shop, starter
):
    state = shop.subscription(starter, start=MARCH, end=APRIL)
    stripe.deliver(shop.event("customer.subscription.created", state))
    ledger.set_host("acme", stripe_customer_id="cus_new")

    arrive(stripe, paid(shop, shop.line(starter, start=MARCH, end=APRIL)))

    assert lots(ledger) == [("plan", 1000)]


def test_a_refund_of_the_part_by_card_leaves_what_the_balance_paid(stripe, ledger, shop):
    ledger.plan("starter")
    stripe.deliver(shop.event("price.created", shop.price()))
    invoice = shop.bills(shop.price(), start=MARCH, end=APRIL)
    invoice |= {"amount_due": 4900, "starting_balance": -4000, "ending_balance": 0}
    charge = shop.pays(invoice)
    arrive(stripe, *shop.events)
    shop.now += 60
    shop.refunds(charge, 4900)

    arrive(stripe, *shop.events[-2:])

    assert ledger.see("acme").credits == 1000 - 1000 * 4900 // 8900
    assert stripe.payments() == [("refunded", "USD", 4900)]


@pytest.mark.parametrize(
    ("dispute", "left"),
    [
        pytest.param({"amount": 2300, "currency": "eur"}, 0, id="in another currency: the whole"),
        pytest.param({"amount": 390_000, "currency": "jpy"}, 0, id="with a larger number"),
        pytest.param(
            {
                "amount": 1150,
                "currency": "eur",
                "balance_transactions": [{"amount": -1250, "currency": "usd", "fee": 1500}],
            },
            250,
            id="of a half, by what was withdrawn in the charge's currency",
        ),
        pytest.param({"amount": 1250, "currency": "usd"}, 250, id="of a half in its currency"),
    ],
)
@pytest.mark.parametrize("events", ["all", "the session"])
def test_a_lost_dispute_takes_its_share_by_the_charges_own_amounts(
    stripe, ledger, shop, dispute, left, events
):
    charge = shop.buys(credits=500)
    arrive(stripe, *(shop.events if events == "all" else shop.events[-1:]))
    shop.now += 60

    lost = shop.dispute(charge, status="lost") | dispute
    arrive(stripe, shop.event("charge.dispute.closed", lost))

    assert ledger.see("acme").credits == left


# --- beside a plan ---------------------------------------------------------------------------------


def paid(shop, *lines, **fields):
    invoice = shop.invoice(list(lines), subscription="sub_1", status="open")
    shop.pays(invoice | fields)
    return shop.events[-2]


@pytest.fixture
def starter(stripe, ledger, shop):
    """The starter plan's price, which Stripe has told."""
    ledger.plan("starter")
    price = shop.price()
    stripe.deliver(shop.event("price.created", price))
    return price


def fee(shop, starter, **changed):
    """A one-time fee of the plan's product, as its first invoice has it: without a period."""
    price = starter | {"id": "price_fee", "type": "one_time", "recurring": None, "metadata": {}}
    line = shop.line(price, start=MARCH, end=MARCH, amount=5000) | changed
    if shop.basil:
        line["parent"] = {"type": "invoice_item_details", "invoice_item_details": {}}
    return line


@pytest.mark.parametrize("named_by", ["metadata", "an operator's link"])
@pytest.mark.parametrize("period", [None, {"start": MARCH, "end": APRIL}])
def test_a_fee_of_the_plans_product_is_no_second_plan(
    stripe, ledger, shop, starter, named_by, period, link
):
    if named_by == "metadata":
        product = {"id": starter["product"], "object": "product", "metadata": {"plan": "starter"}}
        stripe.deliver(shop.event("product.created", product))
    else:
        link(starter["product"], plan="starter")
    plan = shop.line(starter, start=MARCH, end=APRIL)

    outcome = stripe.deliver(paid(shop, plan, fee(shop, starter, period=period)))

    assert outcome == ["applied"]
    assert lots(ledger) == [("plan", 1000)]


def test_a_recurring_pack_beside_the_plan_gives_its_credits(stripe, ledger, shop, starter):
    pack = shop.price("", unit=2500, credits="500") | {
        "type": "recurring",
        "recurring": {"interval": "month", "interval_count": 1},
    }
    stripe.deliver(shop.event("price.created", pack))

    stripe.deliver(
        paid(shop, *[shop.line(each, start=MARCH, end=APRIL) for each in (starter, pack)])
    )

    assert ledger.see("acme").credits == 1500


def test_credits_that_a_plans_price_says_it_includes_leave_it_a_plan(stripe, ledger, shop):
    ledger.plan("starter")
    price = shop.price() | {"metadata": {"credits": "1"}, "lookup_key": "starter_monthly"}
    stripe.deliver(shop.event("price.created", price))

    stripe.deliver(paid(shop, shop.line(price, start=MARCH, end=APRIL)))

    assert lots(ledger) == [("plan", 1000)]


def test_a_line_that_is_linked_as_foreign_takes_nothing_from_the_plan(
    stripe, ledger, shop, starter, link
):
    other = starter | {"id": "price_shirt", "product": "prod_shirt", "metadata": {}}
    link("price_shirt", foreign=True)

    outcome = stripe.deliver(
        paid(shop, *[shop.line(each, start=MARCH, end=APRIL) for each in (starter, other)])
    )

    assert outcome == ["applied"]
    assert lots(ledger) == [("plan", 1000)]


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        pytest.param({"quantity": -1}, "BadAmount", id="a negative quantity"),
        pytest.param({"quantity": 10**9}, "AbsurdCredits", id="a billion of it"),
        pytest.param({"period": None}, "LineWithoutPeriod", id="no period"),
        pytest.param(
            {"period": {"start": MARCH, "end": seconds(2099, 1, 1)}},
            "AbsurdPeriod",
            id="a period of seventy years",
        ),
    ],
)
def test_one_line_that_can_not_be_read_does_not_lose_the_others(
    stripe, ledger, shop, starter, flaw, reason
):
    lines = [shop.line(starter, start=MARCH, end=APRIL) for _ in range(2)]
    lines[0] |= flaw

    outcome = stripe.deliver(paid(shop, *lines))

    assert outcome == [f"failed: {reason}"]
    assert lots(ledger) == [("plan", 1000)]
    assert stripe.status("acme") == "active"
    (finding,) = ledger.audit().findings["stripe_paid"]
    assert finding[0].startswith("payment in_")
    assert finding[1]["account_id"] == ledger.ids["acme"]


def test_a_plan_that_does_not_exist_does_not_lose_the_other_line(stripe, ledger, shop, starter):
    odd = starter | {"id": "price_odd", "product": "prod_odd", "metadata": {"plan": "gold"}}
    stripe.deliver(shop.event("price.created", odd))

    outcome = stripe.deliver(
        paid(shop, *[shop.line(each, start=MARCH, end=APRIL) for each in (odd, starter)])
    )

    assert outcome == ["failed: UnknownPlan"]
    assert lots(ledger) == [("plan", 1000)]


def test_an_invoice_with_more_lines_than_came_gives_those_that_came(stripe, ledger, shop, starter):
    invoice = shop.invoice(
        [shop.line(starter, start=MARCH, end=APRIL)], status="paid", amount_paid=8900
    )
    invoice["lines"]["has_more"] = True

    outcome = stripe.deliver(shop.event("invoice.paid", invoice))

    assert outcome == ["failed: LinesIncomplete"]
    assert lots(ledger) == [("plan", 1000)]


def test_prorations_among_lines_that_did_not_all_come_wait_for_the_rest(
    stripe, ledger, shop, starter
):
    line = shop.line(starter, start=MARCH, end=APRIL, proration=True)
    invoice = shop.invoice([line], status="paid", amount_paid=8900)
    invoice["lines"]["has_more"] = True

    outcome = stripe.deliver(shop.event("invoice.paid", invoice))

    assert outcome == ["failed: LinesIncomplete"]
    assert lots(ledger) == []


# --- paid, and nothing known of it -------------------------------------------------------------------


def shirt_price(shop) -> dict:
    return shop.price("", credits="1") | {
        "id": "price_shirt",
        "product": "prod_shirt",
        "metadata": {},
    }


def shirt(shop) -> dict:
    return shop.line(shirt_price(shop), start=MARCH, end=APRIL)


def findings(ledger) -> list[tuple]:
    return [
        (subject, facts["account_id"], facts["currency"], facts["amount_minor"])
        for subject, facts in ledger.audit().findings["stripe_paid"]
    ]


@pytest.fixture
def told_of_shirts(stripe, shop):
    """Stripe has told the price of a shirt, which nobody linked."""
    stripe.deliver(shop.event("price.created", shirt_price(shop)))
    shop.events.clear()


def test_money_of_an_account_that_has_no_effect_is_a_finding(
    stripe, ledger, shop, told_of_shirts, link
):
    event = paid(shop, shirt(shop))
    invoice = event["data"]["object"]["id"]

    outcome = stripe.deliver(event)
    before = findings(ledger)
    link("price_shirt", foreign=True)
    stripe.sweep()

    assert outcome == ["ignored: ForeignProduct"]
    assert before == [(f"payment {invoice}", ledger.ids["acme"], "USD", 8900)]
    assert findings(ledger) == []


def test_a_link_that_gives_such_money_its_meaning_answers_the_finding(
    stripe, ledger, shop, told_of_shirts, link
):
    stripe.deliver(paid(shop, shirt(shop)))

    link("prod_shirt", credits=50)
    stripe.sweep()

    assert findings(ledger) == []
    assert lots(ledger) == [("top_up", 50)]


def test_an_operator_answers_such_money_by_ignoring_it(stripe, ledger, shop, told_of_shirts):
    stripe.deliver(paid(shop, shirt(shop)))
    with transaction() as ctx:
        before = inbox_upkeep.unanswered(ctx.session)
        (number,) = [facts["event"] for _, facts in ledger.audit().findings["stripe_paid"]]
        inbox_upkeep.ignore(ctx.at(ledger.now).by("operator:test"), number)

    assert before == 1
    assert stripe.outcomes()[-1] == "ignored: ByHand"
    assert findings(ledger) == []


def test_the_status_names_such_money_with_the_commands_that_answer_it():
    counts = {**NONE, "stripe_unanswered": 2}
    (problem,) = Status(workers=["worker@1"], beat_silent_s=0.0, counts=counts).problems

    assert problem.startswith("2 Stripe payments without effect")
    assert "stripe prices link" in problem


@pytest.mark.parametrize("credits", [500, None])
def test_only_a_session_that_says_what_it_sold_opens_a_foreign_invoice_again(
    stripe, ledger, shop, told_of_shirts, credits
):
    bill = paid(shop, shirt(shop))
    stripe.deliver(bill)
    session = shop.session(8900, credits=credits, invoice=bill["data"]["object"]["id"])

    stripe.deliver(shop.event("checkout.session.completed", session))

    number = 2
    assert stripe.outcome(number).partition(":")[0] == ("received" if credits else "ignored")


def test_money_that_nobody_paid_is_no_finding(stripe, ledger, shop, told_of_shirts):
    invoice = shop.invoice([shirt(shop)], status="open")
    other = shop.invoice([shirt(shop)], status="paid", customer="cus_9", amount_paid=8900)

    stripe.deliver(shop.event("invoice.finalized", invoice), shop.event("invoice.paid", other))

    assert findings(ledger) == []


def test_money_that_waited_in_vain_for_a_price_is_a_finding(stripe, ledger):
    ledger.open_account("acme", status="active", plan=None)
    shop = stripe.shop("acme", basil=True)
    stripe.deliver(paid(shop, shirt(shop)))

    for _ in range(32):
        ledger.pass_time(days=1)
        stripe.sweep()

    assert stripe.outcomes() == ["ignored: NeverLinked"]
    assert [row[1:] for row in findings(ledger)] == [(ledger.ids["acme"], "USD", 8900)]
