"""Money that goes back takes its credits back, and never more than it gave."""

import pytest

from billing.support import explain
from tests.billing.stripe.writing import seconds
from worker.database import transaction

MARCH, APRIL = seconds(2026, 3, 1), seconds(2026, 4, 1)


@pytest.fixture
def shop(stripe, ledger):
    """Acme has paid 89 dollars for a month of 1000 credits; `shop.charge_of_it` is that charge."""
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme")
    charge = shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))
    stripe.deliver(*shop.events)
    shop.events.clear()
    shop.now += 3600
    shop.charge_of_it = charge
    return shop


@pytest.fixture
def refund(stripe, shop):
    """Refunds so many cents, and delivers what Stripe says of it; returns the refund."""

    def refund(cents, **changed):
        made = shop.refunds(shop.charge_of_it, cents) | changed
        stripe.deliver(*shop.events)
        shop.events.clear()
        shop.now += 60
        return made

    return refund


def spend(ledger, credits, *, key) -> str:
    """An operation of 2 credits a unit."""
    return ledger.debit("acme", "idea_generation", key=key, units=credits // 2).outcome


def state(ledger) -> tuple:
    """Credits, debt, held and available."""
    seen = ledger.see("acme")
    return seen.credits, seen.debt, seen.held, seen.available


def test_a_full_refund_takes_all_that_is_unspent(stripe, ledger, refund):
    refund(8900)

    assert (
        ledger.history("acme")
        == """
        plan                +1000   1000
        plan taken back     -1000      0
    """
    )
    assert stripe.payments() == [("refunded", "USD", 8900)]
    assert "credits.taken_back" in stripe.told()


def test_a_partial_refund_takes_its_part_rounded_down(stripe, ledger, refund):
    refund(2999)

    assert state(ledger) == (1000 - 1000 * 2999 // 8900, 0, 0, 664)
    assert stripe.payments() == [("partially_refunded", "USD", 8900)]


def test_refunds_add_up_and_the_last_takes_the_rest(stripe, ledger, refund):
    for cents in (3000, 3000, 2900):
        refund(cents)

    assert state(ledger) == (0, 0, 0, 0)
    taken = [entry.amount for entry in ledger.see("acme").entries[1:]]
    assert taken == [-337, -337, -326]


def test_a_refund_told_three_times_takes_once(stripe, ledger, shop, refund):
    shop.refunds(shop.charge_of_it, 4450)

    stripe.deliver(*shop.events * 3)

    assert state(ledger) == (500, 0, 0, 500)


def test_more_money_than_was_paid_takes_no_more_than_was_given(stripe, ledger, shop, refund):
    refund(8900)
    dispute = shop.opens_dispute(shop.charge_of_it)
    shop.closes_dispute(dispute, "lost")

    stripe.deliver(*shop.events)

    assert state(ledger) == (0, 0, 0, 0)
    assert ledger.audit().agrees


def test_a_refund_that_fails_gives_back_to_the_lots_it_took_from(stripe, ledger, shop, refund):
    made = refund(8900)

    stripe.deliver(shop.event("refund.failed", made | {"status": "failed"}))

    assert (
        ledger.history("acme")
        == """
        plan                                +1000   1000
        plan taken back                     -1000      0
        reversal of plan taken back         +1000   1000
    """
    )
    assert ledger.lots("acme") == {"plan": 1000}
    assert stripe.payments() == [("succeeded", "USD", 8900)]


def test_of_two_refunds_one_fails_and_the_other_stays(stripe, ledger, shop, refund):
    refund(4450)
    second = refund(4450)

    stripe.deliver(shop.event("refund.failed", second | {"status": "failed"}))

    assert state(ledger) == (500, 0, 0, 500)


def test_a_refund_that_waits_for_the_customer_takes_nothing_yet(stripe, ledger, shop):
    waiting = shop.refund(shop.charge_of_it, 8900, status="requires_action")

    stripe.deliver(shop.event("refund.created", waiting))
    before = state(ledger)
    shop.now += 60
    shop.charge_of_it["amount_refunded"] = 8900
    stripe.deliver(
        shop.event("refund.updated", waiting | {"status": "succeeded"}),
        shop.event("charge.refunded", shop.charge_of_it),
    )

    assert (before[0], state(ledger)[0]) == (1000, 0)


def test_other_credits_are_not_touched(ledger, refund):
    ledger.grant("acme", 300, "goodwill", key="grant:1")

    refund(8900)

    assert ledger.lots("acme") == {"goodwill": 300}


def test_what_was_spent_becomes_debt_and_the_next_lot_repays_it(ledger, refund):
    spend(ledger, 600, key="debit:1")

    refund(8900)
    owed = state(ledger)
    ledger.grant("acme", 1000, "top_up", key="grant:1")

    assert owed == (-600, 600, 0, 0)
    assert state(ledger) == (400, 0, 0, 400)


@pytest.mark.parametrize(
    ("limit", "debt"), [(0, 0), (250, 250), (600, 600), (5000, 600), (None, 600)]
)
def test_the_debt_of_a_refund_grows_as_far_as_the_plan_lets_it(stripe, ledger, limit, debt):
    ledger.plan("growth", included_credits=1000, take_back_debt_limit=limit)
    ledger.open_account("acme", status="trial", plan="growth")
    shop = stripe.shop("acme")
    charge = shop.pays(shop.bills(shop.price("growth"), start=MARCH, end=APRIL))
    stripe.deliver(*shop.events)
    spend(ledger, 600, key="debit:1")

    shop.refunds(charge, 8900)
    stripe.deliver(*shop.events)

    (entry,) = [each for each in ledger.see("acme").entries if each.type == "take_back"]
    assert state(ledger)[:2] == (-debt, debt)
    assert entry.details == {"unspent": 400, "debt": debt, "written_off": 600 - debt}
    assert ledger.audit().agrees


def test_an_account_in_debt_is_refused_until_it_is_repaid(ledger, refund):
    spend(ledger, 600, key="debit:1")
    refund(8900)

    assert spend(ledger, 2, key="debit:2") == "refused"


def test_an_annual_plan_gives_up_the_months_to_come_first(stripe, ledger):
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme")
    line = shop.line(shop.price(unit=120_000), start=MARCH, end=seconds(2027, 3, 1))
    charge = shop.pays(shop.invoice([line], subscription="sub_1", status="open"))
    stripe.deliver(*shop.events)
    for month in (4, 5, 6):
        ledger.go_to(2026, month, 2)
        stripe.drip()
        ledger.sweep()

    shop.now = seconds(2026, 6, 3)
    shop.refunds(charge, 70_000)
    stripe.deliver(*shop.events)
    after_refund = ledger.see("acme").credits
    granted = []
    for month in (7, 8):
        ledger.go_to(2026, month, 2)
        stripe.drip()
        ledger.sweep()
        granted.append(ledger.see("acme").credits)

    assert after_refund == 1000, "7 of 8 months to come are cancelled, June's stays"
    assert granted == [1000, 0]
    assert ledger.audit().agrees


def test_a_year_refunded_whole_takes_the_running_month_and_what_was_spent(stripe, ledger):
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme")
    line = shop.line(shop.price(unit=120_000), start=MARCH, end=seconds(2027, 3, 1))
    charge = shop.pays(shop.invoice([line], subscription="sub_1", status="open"))
    stripe.deliver(*shop.events)
    spend(ledger, 400, key="debit:1")

    shop.refunds(charge, 120_000)
    stripe.deliver(*shop.events)
    ledger.go_to(2026, 5, 2)
    stripe.drip()

    assert state(ledger)[:2] == (-400, 400)


def test_a_top_up_is_taken_back_as_a_plan_is(stripe, ledger):
    ledger.open_account("acme", status="active", plan=None)
    shop = stripe.shop("acme")
    pack = shop.price("", unit=2500, credits="500")
    line = shop.line(pack, start=MARCH, end=MARCH + 1)
    charge = shop.pays(shop.invoice([line], status="open"))

    shop.refunds(charge, 1250)
    stripe.deliver(*shop.events)

    assert state(ledger) == (250, 0, 0, 250)


def test_support_reads_in_words_that_money_went_back(ledger, refund):
    refund(4450)

    with transaction() as ctx:
        lines, *_ = explain.of(ctx.at(ledger.now), "acme")

    assert lines[-1].what == "credits whose money went back: plan taken back"


def test_what_had_expired_unspent_is_not_owed_after_a_refund(stripe, ledger, shop, refund):
    spend(ledger, 200, key="debit:1")
    ledger.go_to(2026, 4, 1)
    ledger.sweep()
    shop.now = APRIL
    shop.pays(shop.bills(shop.price(), start=APRIL, end=seconds(2026, 5, 1)))
    stripe.deliver(*shop.events)
    shop.events.clear()

    refund(8900)

    assert state(ledger) == (800, 0, 0, 800)
    (entry,) = [entry for entry in ledger.see("acme").entries if entry.type == "take_back"]
    assert entry.details == {"unspent": 0, "debt": 200, "written_off": 0, "expired": 800}


def test_half_a_refund_is_paid_by_what_expired_before_what_was_spent(ledger, refund):
    spend(ledger, 200, key="debit:1")
    ledger.go_to(2026, 4, 1)
    ledger.sweep()

    refund(4450)
    half = state(ledger)
    refund(4450)

    assert (half[:2], state(ledger)[:2]) == ((0, 0), (-200, 200))


def test_a_refund_before_and_after_the_expiry_end_the_same(ledger, refund):
    spend(ledger, 200, key="debit:1")

    refund(4450)
    ledger.go_to(2026, 4, 1)
    ledger.sweep()
    refund(4450)

    assert state(ledger)[:2] == (-200, 200)


def test_a_year_refunded_after_six_months_owes_what_was_spent(stripe, ledger):
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme")
    line = shop.line(shop.price(unit=89_000), start=MARCH, end=seconds(2027, 3, 1))
    charge = shop.pays(shop.invoice([line], subscription="sub_1", status="open"))
    stripe.deliver(*shop.events)
    spend(ledger, 700, key="debit:1")
    for month in (4, 5, 6, 7, 8):
        ledger.go_to(2026, month, 2)
        stripe.drip()
        ledger.sweep()

    shop.refunds(charge, 89_000)
    stripe.deliver(*shop.events)

    assert state(ledger)[:2] == (-700, 700)
    assert ledger.audit().agrees


def test_a_dispute_lost_after_the_month_owes_what_was_spent(stripe, ledger, shop):
    spend(ledger, 200, key="debit:1")
    ledger.go_to(2026, 4, 1)
    ledger.sweep()

    dispute = shop.opens_dispute(shop.charge_of_it)
    shop.closes_dispute(dispute, "lost")
    stripe.deliver(*shop.events)

    assert state(ledger)[:2] == (-200, 200)


@pytest.fixture
def credit_note(stripe, shop):
    """Issues or changes a credit note for the paid invoice, and delivers what Stripe says of it."""

    def credit_note(cents, *, what="created", note=None, **changed):
        invoice = {"id": stripe.invoice_ids()[0]}
        note = (note or shop.credit_note(invoice, cents)) | changed
        shop.now += 60
        stripe.deliver(*shop.events, shop.event(f"credit_note.{what}", note))
        shop.events.clear()
        return note

    return credit_note


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"customer_balance_transaction": "cbtxn_1"}, id="to the customer's balance"),
        pytest.param({"out_of_band_amount": 4450}, id="outside of Stripe"),
        pytest.param(
            {"refunds": [{"refund": "re_1", "amount_refunded": 4450}]},
            id="by a refund not seen yet",
        ),
        pytest.param({"refund": "re_1", "refunds": None}, id="by a refund, in an old shape"),
        pytest.param(
            {"post_payment_amount": None, "customer_balance_transaction": "cbtxn_1"},
            id="to the balance, in an old shape",
        ),
    ],
)
def test_a_credit_note_takes_its_share_whatever_way_its_money_goes(ledger, credit_note, changed):
    credit_note(4450, **changed)

    assert state(ledger)[0] == 500


def test_a_credit_note_that_is_voided_gives_back(ledger, credit_note):
    note = credit_note(4450, customer_balance_transaction="cbtxn_1")

    credit_note(0, what="voided", note=note, status="void")

    assert state(ledger)[0] == 1000


@pytest.mark.parametrize("is_first", [True, False], ids=["the refund first", "the note first"])
def test_the_refund_of_a_credit_note_counts_once(stripe, ledger, shop, credit_note, is_first):
    shop.refunds(shop.charge_of_it, 4450)
    refund_id = shop.events[-2]["data"]["object"]["id"]
    events = [*shop.events]
    shop.events.clear()

    stripe.deliver(*(events if is_first else []))
    credit_note(4450, refunds=[{"refund": refund_id, "amount_refunded": 4450}])
    after_note = state(ledger)[0]
    stripe.deliver(*events)

    assert (after_note, state(ledger)[0]) == (500, 500)


def test_a_credit_note_before_the_payment_makes_it_cheaper_and_takes_nothing(stripe, ledger):
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme")
    invoice = shop.bills(shop.price(), start=MARCH, end=APRIL)
    invoice |= {"pre_payment_credit_notes_amount": 4450, "amount_due": 4450}
    note = shop.credit_note(invoice, 4450, pre_payment_amount=4450, post_payment_amount=0)
    shop.event("credit_note.created", note)
    charge = shop.pays(invoice)
    stripe.deliver(*shop.events)
    paid = state(ledger)[0]

    shop.events.clear()
    shop.refunds(charge, 4450)
    stripe.deliver(*shop.events)

    assert (paid, state(ledger)[0]) == (1000, 0)
