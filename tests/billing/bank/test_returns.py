"""Returned money reopens the invoice that it paid, once, whichever of the two came first."""

import itertools

import pytest

from flows.bank import match as bank_match
from tests.billing.bank.story import line
from tests.billing.bank.test_concurrency import receive_only


def payment(reference, **more):
    return line("89.00", **{"reference": reference, "transaction_id": "TX-1"} | more)


def back(amount="89.00", **more):
    return line(amount, mark="DBIT", **{"reversal": True, "transaction_id": "TX-1"} | more)


def test_a_return_reopens_the_invoice_and_claws_its_credits_back(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(payment(invoice.reference))
    shop.debit("acme", key="d")

    shop.receive(back())

    assert shop.invoices("acme") == [("open", 0, 8900)]
    assert shop.transfers() == [("reversed", 8900), ("reverses", -8900)]
    assert (
        shop.history("acme")
        == """
        plan                      +1000   1000
        image_prompt_extraction      -2    998
        plan taken back           -1000     -2
    """
    )
    assert shop.host()[1] == [("refunded", 8900)]
    assert {"invoice.reopened", "transfer.returned"} <= set(shop.events())
    shop.check()


def test_a_return_before_its_payment_waits_and_then_undoes_it(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(back())
    assert shop.transfers() == [("waiting", -8900)]

    shop.receive(payment(invoice.reference))

    assert shop.transfers() == [("reverses", -8900), ("reversed", 8900)]
    assert shop.invoices("acme") == [("open", 0, 8900)]
    assert shop.status("acme") == "pending_payment"


def test_the_same_return_again_changes_nothing_more(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(payment(invoice.reference))
    shop.receive(back())
    before = (shop.transfers(), shop.invoices("acme"), shop.decisions())

    shop.match()
    shop.match()

    assert (shop.transfers(), shop.invoices("acme"), shop.decisions()) == before


def test_a_customer_whose_payment_came_back_pays_again_and_has_its_credits_again(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(payment(invoice.reference))
    shop.receive(back())

    shop.pass_time(days=20)
    shop.receive(payment(invoice.reference, transaction_id="TX-2"))

    assert shop.invoices("acme") == [("paid", 8900, 8900)]
    assert shop.see("acme").credits == 1000
    shop.check()


@pytest.mark.parametrize("order", [("0.15", "88.85"), ("88.85", "0.15")])
def test_each_part_that_comes_back_takes_its_credits_also_after_the_first(shop, order):
    shop.open_account("acme", status="trial")
    reference = shop.announce("acme").reference
    names = {"88.85": "TX-1", "0.15": "TX-2"}
    for amount, name in names.items():
        shop.receive(line(amount, reference=reference, transaction_id=name))
    assert shop.see("acme").credits == 1000

    credits = []
    for amount in order:
        shop.receive(back(amount, transaction_id=names[amount]))
        credits.append(shop.see("acme").credits)

    assert shop.invoices("acme") == [("open", 0, 8900)]
    assert credits[-1] == 0
    shop.check()


def test_a_part_that_is_paid_again_gives_its_credits_once_all_is_paid(shop):
    shop.open_account("acme", status="trial")
    reference = shop.announce("acme").reference
    shop.receive(payment(reference))
    shop.receive(back())

    shop.receive(line("40.00", reference=reference, transaction_id="TX-2"))
    in_part = shop.see("acme").credits
    shop.receive(line("49.00", reference=reference, transaction_id="TX-3"))

    assert (in_part, shop.see("acme").credits) == (0, 1000)
    shop.check()


def test_a_return_of_money_that_was_credit_reopens_the_invoice_that_the_credit_paid(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("89.00", reference=invoice.reference, transaction_id="TX-0"))
    shop.receive(payment(invoice.reference))
    assert shop.credit("acme") == 8900
    other = shop.announce("acme", key="second")
    shop.use_credit("dev@example.com", other.id)

    shop.receive(back())

    assert shop.credit("acme") == 0
    assert shop.invoices("acme") == [("paid", 8900, 8900), ("open", 0, 8900)]
    shop.check()


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        pytest.param(back("50.00"), "another amount", id="of a part"),
        pytest.param(back(transaction_id="TX-9"), "has not come yet", id="of something unknown"),
        pytest.param(back(transaction_id="NOTPROVIDED"), "has not come yet", id="of nothing named"),
    ],
)
def test_a_return_that_fits_nothing_waits_for_review(shop, returned, why):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(payment(invoice.reference))

    shop.receive(returned)

    assert shop.invoices("acme") == [("paid", 8900, 8900)]
    assert any(why in one.review for one in shop.queue())


def test_a_return_that_could_be_of_two_freezes_both(shop):
    shop.receive(payment(None, text="one"), payment(None, text="two", iban=None))

    shop.receive(back())

    assert [state for state, _ in shop.transfers()] == ["frozen", "frozen", "waiting"]


def test_our_own_payment_is_no_transfer(shop):
    shop.receive(line("50.00", mark="DBIT", text="rent"))

    assert shop.transfers() == []


def test_a_payment_of_ours_that_comes_back_pays_nothing(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")

    shop.receive(line("89.00", reference=invoice.reference, reversal=True))

    assert shop.invoices("acme") == [("open", 0, 8900)]
    assert "reversal" in shop.queue()[0].vetoes[0]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_payment_return_and_payment_again_end_alike_in_every_order(shop, order):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    lines = [
        payment(invoice.reference, day="2026-02-20"),
        back(day="2026-02-21"),
        payment(invoice.reference, transaction_id="TX-2", iban=None, day="2026-02-22"),
    ]

    shop.receive(*[lines[place] for place in order])

    states = sorted(state for state, _ in shop.transfers())
    assert states == ["reversed", "reverses", "settled"]
    assert shop.invoices("acme") == [("paid", 8900, 8900)]
    shop.check()


def test_a_return_that_only_its_code_tells_is_one(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(payment(invoice.reference))
    code = (
        "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>RRTN</SubFmlyCd></Fmly></Domn>"
        "</BkTxCd>"
    )

    shop.receive(line("89.00", mark="DBIT", transaction_id="TX-1", code=code))

    assert shop.invoices("acme") == [("open", 0, 8900)]


def test_a_return_for_an_account_that_was_deleted_meanwhile_goes_to_review_and_stops_no_other(shop):
    for slug in ("acme", "beta"):
        shop.open_account(slug, status="trial")
    gone, other = shop.announce("acme"), shop.announce("beta")
    shop.receive(payment(gone.reference))
    shop.delete_account("acme")
    paid = line("89.00", reference=other.reference, iban=None)
    receive_only(shop, back(), paid, number=2, opening=8900)

    bank_match.run()
    bank_match.run()

    assert shop.invoices("beta") == [("paid", 8900, 8900)]
    assert any("AccountDeleted" in one.review for one in shop.queue())
