"""Work that failed is paid back to the lots that paid for it, once."""

import pytest
from sqlalchemy import insert

from billing.usage import post
from billing_client import Debit, Reverse
from models.credits import SpendCap
from worker.database import transaction


@pytest.fixture
def reverse(books):
    def run(slug, key):
        with transaction() as session:
            return post.apply(session, [Reverse(books.ids[slug], key)], now=books.now)[0]

    return run


def test_a_reversed_debit_is_given_back_to_its_lots(books, reverse):
    books.open_account("acme")
    books.grant("acme", 4, "goodwill", key="a")
    books.grant("acme", 20, "top_up", key="b")
    books.debit("acme", "clustering", key="d")

    reverse("acme", "d")

    assert books.lots("acme") == {"goodwill": 4, "top_up": 20}
    assert (
        books.history("acme")
        == """
        goodwill                  +4    4
        top_up                   +20   24
        clustering               -10   14
        reversal of clustering   +10   24
    """
    )
    assert books.audit().agrees


def test_reversing_twice_gives_back_once(books, reverse):
    books.open_account("acme", credits=100)
    books.debit("acme", "clustering", key="d")
    first = reverse("acme", "d")

    again = reverse("acme", "d")

    assert (again.entry, again.is_repeat) == (first.entry, True)
    assert books.see("acme").credits == 100


def test_a_debit_that_comes_after_its_reversal_is_not_taken(books, reverse):
    books.open_account("acme", credits=100)
    early = reverse("acme", "d")

    late = books.debit("acme", "clustering", key="d")

    assert early.error.name == "ReversedFirst"
    assert (late.outcome, late.error.name) == ("refused", "ReversedFirst")
    assert books.see("acme").credits == 100


def test_a_reversal_before_its_debit_is_refused_again_when_it_is_repeated(books, reverse):
    books.open_account("acme", credits=100)
    first = reverse("acme", "d")

    again = reverse("acme", "d")

    assert (again.outcome, again.is_repeat) == (first.outcome, True)
    assert again.error.name == "ReversedFirst"


def test_a_refused_debit_has_nothing_to_give_back(books, reverse):
    books.open_account("acme", credits=0)
    books.debit("acme", "clustering", key="d")

    assert reverse("acme", "d").error.name == "NothingToReverse"


def test_what_a_reversal_gives_back_pays_what_is_owed_first(books):
    """The balance stood still, the book was not written, and the new debt was lost."""
    books.plan("generous", debt_limit=20)
    account = books.open_account("acme", credits=10, plan="generous")
    books.debit("acme", "clustering", key="paid")

    with transaction() as session:
        messages = [Debit(account, "clustering", "owed"), Reverse(account, "paid")]
        post.apply(session, messages, now=books.now)

    assert (books.see("acme").credits, books.see("acme").debt) == (0, 0)
    assert books.lots("acme") == {}
    assert books.see("acme").entries[-1].type == "repayment"
    assert books.audit().agrees


def test_a_set_whose_entries_add_up_to_nothing_still_moves_the_seal(books):
    account = books.open_account("acme", credits=10)

    with transaction() as session:
        messages = [Debit(account, "clustering", "d"), Reverse(account, "d")]
        post.apply(session, messages, now=books.now)

    books.debit("acme", "clustering", key="next")
    assert books.audit().agrees


def cap(books, slug, credits):
    with transaction() as session:
        session.execute(insert(SpendCap).values(account_id=books.ids[slug], credits=credits))


def test_a_reversal_leaves_room_under_the_spend_cap_in_its_own_month_only(books, reverse):
    """A debit of March that was reversed in April made room for more than April's cap."""
    books.open_account("acme", credits=100)
    cap(books, "acme", 20)
    books.debit("acme", "clustering", key="march")
    books.pass_time(days=31)
    books.debit("acme", "clustering", key="april:1")
    books.debit("acme", "clustering", key="april:2")

    reverse("acme", "march")

    assert books.debit("acme", "clustering", key="april:3").error.name == "SpendCapReached"
    reverse("acme", "april:1")
    assert books.debit("acme", "clustering", key="april:4").outcome == "taken"


def test_a_reversed_debt_that_was_repaid_leaves_room_under_the_spend_cap(books, reverse):
    """What came back as a lot of its own still counted as spent."""
    books.plan("generous", debt_limit=20)
    books.open_account("acme", credits=0, plan="generous")
    cap(books, "acme", 10)
    books.debit("acme", "clustering", key="d")
    books.grant("acme", 50, "top_up", key="g")

    reverse("acme", "d")

    assert books.debit("acme", "clustering", key="again").outcome == "taken"


def test_a_reversal_that_does_not_fit_changes_nothing(books, reverse):
    """It overflowed the balance's column, and broke the whole set; or left half of it done."""
    books.plan("generous", debt_limit=20)
    books.open_account("acme", credits=4, plan="generous")
    books.debit("acme", "clustering", key="d")
    books.grant("acme", 100_000_000, "top_up", key="g")
    books.set_host("acme", credits=2**31 - 8)

    assert reverse("acme", "d").error.name == "BalanceTooLarge"
    assert (books.see("acme").credits, books.see("acme").debt) == (99_999_994, 0)
    assert set(books.lots("acme")) == {"top_up"}


def test_reversing_a_debt_takes_it_off_the_debt(books, reverse):
    books.plan("generous", debt_limit=20)
    books.open_account("acme", credits=4, plan="generous")
    books.debit("acme", "clustering", key="d")

    reverse("acme", "d")

    assert (books.see("acme").credits, books.see("acme").debt) == (4, 0)
    assert books.audit().agrees


def test_reversing_a_debt_that_was_repaid_gives_the_credits(books, reverse):
    books.plan("generous", debt_limit=20)
    books.open_account("acme", credits=4, plan="generous")
    books.debit("acme", "clustering", key="d")
    books.grant("acme", 50, "top_up", key="g")

    reverse("acme", "d")

    assert (books.see("acme").credits, books.see("acme").debt) == (54, 0)
    assert books.audit().agrees


@pytest.mark.parametrize("slug", ["other", "acme"])
def test_only_a_debit_of_the_account_is_reversed(books, reverse, slug):
    books.open_account("acme", credits=100)
    books.open_account("other", credits=100)
    books.debit("acme", "clustering", key="d")
    books.grant("acme", 5, key="g")

    answer = reverse(slug, "d" if slug == "other" else "g")

    assert answer.error.name == "KeyReused"
    assert (books.see("acme").credits, books.see("other").credits) == (95, 100)


def test_a_debit_and_its_reversal_may_come_in_one_set(books):
    account = books.open_account("acme", credits=100)
    with transaction() as session:
        answers = post.apply(
            session,
            [Debit(account, "clustering", "d"), Reverse(account, "d"), Reverse(account, "d")],
            now=books.now,
        )

    assert [a.outcome for a in answers] == ["taken", "given", "given"]
    assert books.see("acme").credits == 100
