"""Guards on returns, each alone: currency, days, number, and the transfers beside them."""

import datetime as dt

import pytest

from billing.bank import decide, returns
from billing.bank.errors import PartsRefused
from billing.bank.intake import accounts as bank_accounts
from billing.bank.matching.types import MatchingPolicy
from billing.bank.returns import ReturnLink
from billing.bank.wordings import bank_mark, parts_of
from tests.billing.bank.story import OWN_IBAN, PAYER_IBAN, line, statement
from worker.database import transaction

REVIEWER = "dev@example.com"
OTHER_IBAN = "DE44500105175407324931"
NEW_NUMBER = "DE09120300000000202052"


@pytest.fixture
def acme(shop):
    """A customer who paid 89.00 for one invoice, with an identifier of the bank."""
    shop.open_account("acme", status="trial")
    shop.invoice = shop.announce("acme")
    shop.receive(paid(shop))
    assert shop.invoices("acme") == [("paid", 8900, 8900)]
    return shop


def paid(shop, **more):
    return line("89.00", reference=shop.invoice.reference, transaction_id="TX-1", **more)


def debit(**more):
    named = {"payer": "Somebody", "iban": OTHER_IBAN, "transaction_id": "TX-1"} | more
    return line("89.00", mark="DBIT", **named)


def in_dollars(shop, *lines):
    """A statement of our dollar account, which has the number of the one in euro."""
    return statement(*lines, number=9, day=shop.now.date()).replace(b"EUR", b"USD")


def receive(shop, content):
    shop.bank.now = shop.now
    shop.bank.receive(content)
    shop.match()


@pytest.mark.parametrize("reversal", [True, False], ids=["marked", "not marked"])
def test_dollars_that_go_back_never_take_back_a_payment_in_euro(acme, reversal):
    acme.bank.register(currency="USD")

    receive(acme, in_dollars(acme, debit(reversal=reversal, text=acme.invoice.reference)))

    assert acme.invoices("acme") == [("paid", 8900, 8900)]
    assert acme.transfers()[0] == ("settled", 8900)
    [item] = acme.queue()
    assert item.candidates == ()
    with pytest.raises(PartsRefused, match="not of the same amount"):
        acme.act("take_back", REVIEWER, item.id, 1, reason="x")


def test_our_own_payment_in_dollars_is_no_return_of_the_same_amount_in_euro(acme):
    acme.bank.register(currency="USD")

    receive(acme, in_dollars(acme, debit()))

    assert acme.transfers() == [("settled", 8900)]


NAMES = "marked, by the reference alone"


@pytest.mark.parametrize(
    ("kind", "order"), [("marked", 1), ("not marked", 1), ("not marked", -1), (NAMES, 1)]
)
@pytest.mark.parametrize(
    ("days", "is_return"),
    [(400, True), (401, False), (-7, True), (-8, False)],
    ids=["13 months later", "later than that", "a week before", "earlier than that"],
)
def test_a_payment_comes_back_within_13_months_or_a_week_before_it_is_booked(
    shop, days, is_return, kind, order
):
    shop.open_account("acme", status="trial")
    shop.invoice = shop.announce("acme")
    first, second = shop.now.date(), shop.now.date() + dt.timedelta(days=days)
    shop.now += dt.timedelta(days=max(days, 0) - 3)

    names = {"transaction_id": None, "text": shop.invoice.reference} if kind == NAMES else {}
    back = debit(day=second, reversal=kind != "not marked", **names)
    for one in [paid(shop, day=first), back][::order]:
        shop.receive(one)
    shop.match()

    states = sorted(state for state, _ in shop.transfers())
    waits = [] if kind == "not marked" else ["waiting"]
    assert states == (["reversed", "reverses"] if is_return else ["settled", *waits])


def test_a_return_to_the_accounts_new_number_finds_the_payment_to_the_former_one(acme):
    with transaction() as ctx:
        bank_accounts.switch(
            ctx.at(acme.now).by("test"),
            OWN_IBAN,
            currency="EUR",
            to_format="camt.053",
            from_day=acme.now.date() + dt.timedelta(days=1),
            new_number=NEW_NUMBER,
        )
    acme.pass_time(days=2)

    receive(acme, statement(debit(reversal=True), day=acme.now.date(), iban=NEW_NUMBER))

    assert acme.invoices("acme") == [("open", 0, 8900)]
    acme.check()


def test_money_that_was_taken_back_is_on_no_queue(acme):
    acme.receive(line("90.00", reference=acme.invoice.reference, transaction_id="TX-2"))
    assert [item.id for item in acme.queue()] == [2]

    acme.receive(line("90.00", mark="DBIT", reversal=True, transaction_id="TX-2"))

    assert acme.queue() == []


def two_payments(shop):
    """Two customers' payments with one identifier: a return of it could be of both."""
    for slug, iban in (("acme", None), ("beta", OTHER_IBAN)):
        shop.open_account(slug, status="trial")
        shop.invoice = shop.announce(slug)
        shop.receive(paid(shop, payer=slug, iban=iban))


def test_payments_that_a_marked_return_may_take_back_are_looked_at_until_it_is_decided(shop):
    two_payments(shop)
    shop.receive(debit(reversal=True))
    perhaps = "perhaps taken back by transfer 3"
    assert [(item.id, item.review) for item in shop.queue()][:2] == [(1, perhaps), (2, perhaps)]

    shop.act("take_back", REVIEWER, 3, 1, reason="the bank says so")

    assert shop.transfers() == [("reversed", 8900), ("settled", 8900), ("reverses", -8900)]
    assert shop.queue() == []


def test_a_payment_beside_our_own_refund_is_looked_at_by_nobody(acme):
    acme.receive(debit(transaction_id=None, iban=PAYER_IBAN, text="Refund"))

    assert [item.amount_minor for item in acme.queue()] == [-8900]


def undecided_return(shop):
    with transaction() as ctx:
        [returned] = decide.decide(ctx.session, policy=MatchingPolicy()).returns
    return returned


def test_a_return_that_a_reviewer_decided_meanwhile_undoes_nothing(shop):
    shop.open_account("acme", status="trial")
    shop.invoice = shop.announce("acme")
    shop.receive(debit(reversal=True))
    returned = undecided_return(shop)
    shop.act("reject", REVIEWER, 1, reason="not ours")
    shop.receive(paid(shop))

    with transaction() as ctx:
        assert not returns.settle(ctx.at(shop.now), returned)

    assert shop.invoices("acme") == [("paid", 8900, 8900)]


def test_a_payment_that_another_return_took_back_meanwhile_is_undone_once(acme, monkeypatch):
    acme.receive(debit(reversal=True))
    acme.receive(debit(reversal=True, text="again"))
    returned = undecided_return(acme)
    monkeypatch.setattr(returns, "_find", lambda *_: ReturnLink(1, (), "it was found before"))

    with transaction() as ctx:
        assert not returns.settle(ctx.at(acme.now), returned)


WORDS = {"is_reversal": False, "corrects": None, "type_code": None}


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        ({"corrects": "F1"}, {}),
        ({"type_code": "NRTI"}, {}),
        ({"detail_type_code": "NRTI"}, {}),
        ({}, {"type_code": "NRTI"}),
        ({}, {"return_reason": "901"}),
        ({}, {"return_reason": "989"}),
    ],
    ids=[
        "a correction",
        "the line's code",
        "the code of its payment",
        "a code in a batch",
        "the first reason",
        "the last reason",
    ],
)
def test_the_bank_marks_a_return_in_each_of_these_fields(payload, detail):
    assert bank_mark(WORDS | payload, detail, "MT940")
    assert not bank_mark(WORDS, {"return_reason": "900"}, "MT940")
    assert not bank_mark(WORDS, {"return_reason": "990"}, "MT940")


def test_a_batch_is_split_only_where_its_payments_add_up():
    details = [{"amount_minor": 60}, {"amount_minor": 40}]
    batch = {"details": details, "split_agrees": True}

    assert parts_of(batch, 100) == [(0, 60, details[0]), (1, 40, details[1])]
    assert parts_of(batch | {"split_agrees": False}, 100) == [(0, 100, {})]
