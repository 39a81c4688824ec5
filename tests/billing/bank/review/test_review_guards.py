"""Each guard of a review, where that guard alone says no."""

import pytest
import sqlalchemy as sa

from billing.bank.errors import NotAllowed, NothingToUndo, PartsRefused
from models.transfers import Payer, RefundRequest
from tests.billing.bank.story import OWN_IBAN, line
from worker.database import transaction

DEV, SECOND = "dev@example.com", "second@example.com"
OWNER = "owner@example.com"


@pytest.fixture
def acme(shop):
    """A customer with an open invoice, and its money without a reference."""
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(line("89.00", text="first month"))
    return shop


@pytest.fixture
def returned(shop):
    """A payment that was returned: transfer 1 reversed, transfer 2 its return."""
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("89.00", reference=invoice.reference, transaction_id="TX-1"))
    shop.receive(line("89.00", mark="DBIT", reversal=True, transaction_id="TX-1"))
    return shop


@pytest.mark.parametrize("transfer_id", [1, 2], ids=["what was returned", "the return"])
def test_money_that_was_taken_back_pays_nothing(returned, transfer_id):
    for act in ("confirm", "reassign"):
        more = {} if act == "confirm" else {"credit_to": None, "reason": "x"}
        with pytest.raises(PartsRefused):
            returned.act(act, DEV, transfer_id, [(1, 8900)], **more)
    with pytest.raises(PartsRefused, match="taken back"):
        returned.act("reassign", DEV, transfer_id, [], credit_to=1, reason="x")


@pytest.mark.parametrize("transfer_id", [1, 2])
def test_a_return_is_never_undone_by_a_reviewer(returned, transfer_id):
    with pytest.raises(NothingToUndo):
        returned.act("undo", DEV, transfer_id, reason="x")


def test_a_frozen_transfer_is_decided_by_a_reviewer(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(
        line("89.00", text="one", transaction_id="TX-1"),
        line("89.00", text="two", transaction_id="TX-1", iban=None),
    )
    shop.receive(line("89.00", mark="DBIT", reversal=True, transaction_id="TX-1"))
    assert shop.transfers()[0] == ("frozen", 8900)

    assert shop.act("confirm", DEV, 1, [(1, 8900)]) == "done"


def test_a_return_without_its_payment_is_ignored_but_never_confirmed(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(line("89.00", mark="DBIT", reversal=True, transaction_id="TX-9"))

    with pytest.raises(PartsRefused, match="brought no money"):
        shop.act("confirm", DEV, 1, [(1, 8900)])

    assert shop.act("ignore", DEV, 1, reason="a fee") == "done"


@pytest.fixture
def owner(acme):
    """A developer who owns the account, and money that is the account's credit."""
    acme.hire(OWNER, owns="acme")
    return acme


def test_nobody_keeps_money_as_credit_of_their_own_account(owner):
    with pytest.raises(NotAllowed, match="own"):
        owner.act("keep_as_credit", OWNER, 1, owner.ids["acme"], reason="mine")


def test_nobody_keeps_the_rest_of_anothers_invoice_for_their_own_account(owner):
    owner.open_account("beta", status="trial")
    owner.announce("beta")

    with pytest.raises(NotAllowed, match="own"):
        owner.act("confirm", OWNER, 1, [(2, 8000)], credit_to=owner.ids["acme"])


def test_nobody_pays_their_own_invoice_with_credit(owner):
    owner.act("keep_as_credit", DEV, 1, owner.ids["acme"], reason="theirs")

    with pytest.raises(NotAllowed, match="own"):
        owner.use_credit(OWNER, 1)

    assert owner.credit("acme") == 8900


def test_nobody_undoes_a_payment_of_their_own(owner):
    owner.act("confirm", DEV, 1, [(1, 8900)])

    with pytest.raises(NotAllowed, match="own"):
        owner.act("undo", OWNER, 1, reason="mine")

    assert owner.invoices("acme") == [("paid", 8900, 8900)]


def test_at_the_limit_one_reviewer_is_enough(acme):
    assert acme.act("confirm", DEV, 1, [(1, 8900)], limit=8900) == "done"


def test_each_decision_above_the_limit_needs_two_again(acme):
    for who in (DEV, SECOND):
        acme.act("confirm", who, 1, [(1, 8900)], limit=1)
    acme.act("undo", DEV, 1, reason="wrong")

    first = acme.act("confirm", DEV, 1, [(1, 8900)], limit=1)

    assert first == "waits for a second person"
    assert acme.act("confirm", SECOND, 1, [(1, 8900)], limit=1) == "done"


def test_a_request_for_an_older_version_does_not_count(acme):
    acme.act("confirm", DEV, 1, [(1, 8900)], limit=1)
    acme.act("reject", DEV, 1, reason="not sure")

    assert acme.act("confirm", SECOND, 1, [(1, 8900)], limit=1) == "waits for a second person"


@pytest.mark.parametrize("act", ["mark_duplicate", "ignore", "reject"])
def test_a_transfer_that_pays_an_invoice_is_undone_first(acme, act):
    acme.act("confirm", DEV, 1, [(1, 8900)])

    with pytest.raises(PartsRefused):
        acme.act(act, DEV, 1, reason="x")

    assert acme.transfers() == [("settled", 8900)]


def test_credit_may_be_a_duplicate_but_is_not_ignored(acme):
    acme.act("keep_as_credit", DEV, 1, acme.ids["acme"], reason="hers")

    with pytest.raises(PartsRefused):
        acme.act("ignore", DEV, 1, reason="x")

    assert acme.act("mark_duplicate", DEV, 1, reason="paid twice") == "done"
    assert acme.credit("acme") == 8900


@pytest.mark.parametrize("act", ["ignore", "mark_duplicate"])
def test_what_was_put_aside_can_be_undone_and_decided(acme, act):
    acme.act(act, DEV, 1, reason="x")

    acme.act("undo", DEV, 1, reason="it is a payment")

    assert acme.act("confirm", DEV, 1, [(1, 8900)]) == "done"


def test_an_undecided_transfer_can_not_be_marked_as_seen(acme):
    with pytest.raises(PartsRefused, match="not decided"):
        acme.act("mark_seen", DEV, 1)

    assert len(acme.queue()) == 1


def test_a_rejected_transfer_without_a_candidate_counts_against_nobody(shop):
    shop.receive(line("5.00", text="thanks"))

    shop.act("reject", DEV, 1, reason="unknown")

    with transaction() as ctx:
        assert ctx.session.scalars(sa.select(Payer)).all() == []


def test_only_the_best_candidate_is_declined(acme):
    acme.open_account("beta", status="trial")
    acme.announce("beta")
    acme.pass_time(minutes=1)
    acme.match()
    best = acme.queue()[0].candidates[0]["account_id"]

    acme.act("reject", DEV, 1, reason="not theirs")

    with transaction() as ctx:
        assert [row.account_id for row in ctx.session.scalars(sa.select(Payer))] == [best]


@pytest.mark.parametrize(
    ("amount", "is_done"), [(0, False), (1, True), (8900, True), (8901, False)]
)
def test_a_refund_is_of_what_is_on_no_invoice(acme, amount, is_done):
    if not is_done:
        with pytest.raises(PartsRefused):
            acme.act("request_refund", DEV, 1, amount, reason="x")
        return

    acme.act("request_refund", DEV, 1, amount, reason="x")

    with transaction() as ctx:
        [request] = ctx.session.scalars(sa.select(RefundRequest))
    assert (request.amount_minor, request.account_id) == (amount, None)


def test_a_refund_belongs_to_the_account_whose_credit_it_is(acme):
    acme.act("keep_as_credit", DEV, 1, acme.ids["acme"], reason="hers")

    acme.act("request_refund", DEV, 1, 100, reason="x")

    with transaction() as ctx:
        [request] = ctx.session.scalars(sa.select(RefundRequest))
    assert request.account_id == acme.ids["acme"]


def test_a_refund_of_credit_that_was_undone_belongs_to_the_owner_of_the_virtual_iban(shop):
    shop.open_account("acme", status="trial")
    shop.bank.register(iban := "DE75512108001245126199", customer=shop.ids["acme"])
    shop.receive(line("5.00", text="thanks"), iban=iban)

    shop.act("undo", DEV, 1, reason="sent back")
    shop.act("request_refund", DEV, 1, 500, reason="x")

    with transaction() as ctx:
        [request] = ctx.session.scalars(sa.select(RefundRequest))
    assert request.account_id == shop.ids["acme"] and iban != OWN_IBAN


def test_credit_pays_as_much_as_there_is(acme):
    acme.act("confirm", DEV, 1, [(1, 5000)])

    assert acme.use_credit(DEV, 1) == 3900

    assert (acme.credit("acme"), acme.invoices("acme")) == (0, [("paid", 8900, 8900)])


def test_more_credit_than_is_open_pays_what_is_open(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(line("100.00", text="?"))
    shop.act("keep_as_credit", DEV, 1, shop.ids["acme"], reason="hers")

    assert shop.use_credit(DEV, 1) == 8900

    assert shop.credit("acme") == 1100
