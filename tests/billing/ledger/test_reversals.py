"""Work that failed is paid back to the lots that paid for it, once."""

import pytest
from sqlalchemy import insert

from billing.usage import post
from billing_client import Debit, Reverse
from models.credits import SpendCap
from worker.database import transaction


@pytest.fixture
def reverse(ledger):
    def run(slug, key):
        with transaction() as ctx:
            return post.apply(ctx.at(ledger.now), [Reverse(ledger.ids[slug], key)])[0]

    return run


def test_a_reversed_debit_is_given_back_to_its_lots(ledger, reverse):
    ledger.open_account("acme")
    ledger.grant("acme", 4, "goodwill", key="a")
    ledger.grant("acme", 20, "top_up", key="b")
    ledger.debit("acme", "clustering", key="d")

    reverse("acme", "d")

    assert ledger.lots("acme") == {"goodwill": 4, "top_up": 20}
    assert (
        ledger.history("acme")
        == """
        goodwill                  +4    4
        top_up                   +20   24
        clustering               -10   14
        reversal of clustering   +10   24
    """
    )
    assert ledger.audit().agrees


def test_reversing_twice_gives_back_once(ledger, reverse):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", "clustering", key="d")
    first = reverse("acme", "d")

    again = reverse("acme", "d")

    assert (again.entry, again.is_repeat) == (first.entry, True)
    assert ledger.see("acme").credits == 100


def test_a_debit_that_comes_after_its_reversal_is_not_taken(ledger, reverse):
    ledger.open_account("acme", credits=100)
    early = reverse("acme", "d")

    late = ledger.debit("acme", "clustering", key="d")

    assert early.error.name == "ReversedFirst"
    assert (late.outcome, late.error.name) == ("refused", "ReversedFirst")
    assert ledger.see("acme").credits == 100


def test_a_reversal_before_its_debit_is_refused_again_when_it_is_repeated(ledger, reverse):
    ledger.open_account("acme", credits=100)
    first = reverse("acme", "d")

    again = reverse("acme", "d")

    assert (again.outcome, again.is_repeat) == (first.outcome, True)
    assert again.error.name == "ReversedFirst"


def test_a_refused_debit_has_nothing_to_give_back(ledger, reverse):
    ledger.open_account("acme", credits=0)
    ledger.debit("acme", "clustering", key="d")

    assert reverse("acme", "d").error.name == "NothingToReverse"


def test_what_a_reversal_gives_back_pays_what_is_owed_first(ledger):
    """The balance stood still, the book was not written, and the new debt was lost."""
    ledger.plan("generous", debt_limit=20)
    account = ledger.open_account("acme", credits=10, plan="generous")
    ledger.debit("acme", "clustering", key="paid")

    with transaction() as ctx:
        messages = [Debit(account, "clustering", "owed"), Reverse(account, "paid")]
        post.apply(ctx.at(ledger.now), messages)

    assert (ledger.see("acme").credits, ledger.see("acme").debt) == (0, 0)
    assert ledger.lots("acme") == {}
    assert ledger.see("acme").entries[-1].type == "repayment"
    assert ledger.audit().agrees


def test_a_set_whose_entries_add_up_to_nothing_still_moves_the_seal(ledger):
    account = ledger.open_account("acme", credits=10)

    with transaction() as ctx:
        messages = [Debit(account, "clustering", "d"), Reverse(account, "d")]
        post.apply(ctx.at(ledger.now), messages)

    ledger.debit("acme", "clustering", key="next")
    assert ledger.audit().agrees


def cap(ledger, slug, credits):
    with transaction() as ctx:
        ctx.session.execute(insert(SpendCap).values(account_id=ledger.ids[slug], credits=credits))


def test_a_reversal_leaves_room_under_the_spend_cap_in_its_own_month_only(ledger, reverse):
    """A debit of March that was reversed in April made room for more than April's cap."""
    ledger.open_account("acme", credits=100)
    cap(ledger, "acme", 20)
    ledger.debit("acme", "clustering", key="march")
    ledger.pass_time(days=31)
    ledger.debit("acme", "clustering", key="april:1")
    ledger.debit("acme", "clustering", key="april:2")

    reverse("acme", "march")

    assert ledger.debit("acme", "clustering", key="april:3").error.name == "SpendCapReached"
    reverse("acme", "april:1")
    assert ledger.debit("acme", "clustering", key="april:4").outcome == "taken"


def test_a_reversed_debt_that_was_repaid_leaves_room_under_the_spend_cap(ledger, reverse):
    """Credits that came back as a lot of their own still counted as spent."""
    ledger.plan("generous", debt_limit=20)
    ledger.open_account("acme", credits=0, plan="generous")
    cap(ledger, "acme", 10)
    ledger.debit("acme", "clustering", key="d")
    ledger.grant("acme", 50, "top_up", key="g")

    reverse("acme", "d")

    assert ledger.debit("acme", "clustering", key="again").outcome == "taken"


def test_a_reversal_that_does_not_fit_changes_nothing(ledger, reverse):
    """It overflowed the balance's column, and broke the whole set; or left half of it done."""
    ledger.plan("generous", debt_limit=20)
    ledger.open_account("acme", credits=4, plan="generous")
    ledger.debit("acme", "clustering", key="d")
    ledger.grant("acme", 100_000_000, "top_up", key="g")
    ledger.set_host("acme", credits=2**31 - 8)

    assert reverse("acme", "d").error.name == "BalanceTooLarge"
    assert (ledger.see("acme").credits, ledger.see("acme").debt) == (99_999_994, 0)
    assert set(ledger.lots("acme")) == {"top_up"}


def test_reversing_a_debt_takes_it_off_the_debt(ledger, reverse):
    ledger.plan("generous", debt_limit=20)
    ledger.open_account("acme", credits=4, plan="generous")
    ledger.debit("acme", "clustering", key="d")

    reverse("acme", "d")

    assert (ledger.see("acme").credits, ledger.see("acme").debt) == (4, 0)
    assert ledger.audit().agrees


def test_reversing_a_debt_that_was_repaid_gives_the_credits(ledger, reverse):
    ledger.plan("generous", debt_limit=20)
    ledger.open_account("acme", credits=4, plan="generous")
    ledger.debit("acme", "clustering", key="d")
    ledger.grant("acme", 50, "top_up", key="g")

    reverse("acme", "d")

    assert (ledger.see("acme").credits, ledger.see("acme").debt) == (54, 0)
    assert ledger.audit().agrees


@pytest.mark.parametrize(
    ("slug", "error"), [("other", "ReversedFirst"), ("acme", "KeyReused")], ids=["other", "acme"]
)
def test_only_a_debit_of_the_account_is_reversed(ledger, reverse, slug, error):
    ledger.open_account("acme", credits=100)
    ledger.open_account("other", credits=100)
    ledger.debit("acme", "clustering", key="d")
    ledger.grant("acme", 5, key="g")

    answer = reverse(slug, "d" if slug == "other" else "g")

    assert answer.error.name == error
    assert (ledger.see("acme").credits, ledger.see("other").credits) == (95, 100)


def test_a_debit_and_its_reversal_may_come_in_one_set(ledger):
    account = ledger.open_account("acme", credits=100)
    with transaction() as ctx:
        answers = post.apply(
            ctx.at(ledger.now),
            [Debit(account, "clustering", "d"), Reverse(account, "d"), Reverse(account, "d")],
        )

    assert [a.outcome for a in answers] == ["taken", "given", "given"]
    assert ledger.see("acme").credits == 100
