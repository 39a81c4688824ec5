"""Guards of the dunning schedule by bank, each alone: the money that holds it up, and that does not."""

import pytest
import sqlalchemy as sa

from billing.lifecycle.trials import sweeps as trial_sweeps
from tests.billing.bank.invoicing.test_held_money import goes_on, reference_of
from tests.billing.bank.story import line, statement
from tests.billing.statements.writing import PAYER_IBAN
from worker.database import transaction

REVIEWER = "dev@example.com"
OTHER_IBAN = "FR1420041010050500013M02606"
VIRTUAL_IBAN = "DE09120300000000202052"


@pytest.fixture
def acme(shop):
    """A customer who has paid for March from its IBAN, and whose invoice for April is open."""
    shop.open_account("acme", status="trial")
    shop.receive(line("89.00", reference=shop.announce("acme").reference))
    shop.go_to(2026, 3, 20)
    assert shop.bill() == ["renewed"]
    return shop


def spaced(reference):
    return " ".join(reference[place : place + 4] for place in range(0, len(reference), 4))


def receives(shop, *lines, **more):
    """A statement of its own that nothing follows, matched."""
    day = shop.now.date()
    shop.bank.now = shop.now
    shop.bank.receive(statement(*lines, number=90, opening=0, day=day, **more))
    shop.match()


def from_known_payer(shop):
    shop.receive(line("12.00", text="hello", iban=PAYER_IBAN))


def to_virtual_iban_in_a_held_statement(shop):
    shop.bank.register(VIRTUAL_IBAN, customer=shop.ids["acme"])
    paid = line("12.00", text="hello", payer="Zed", iban=OTHER_IBAN)
    receives(shop, paid, iban=VIRTUAL_IBAN, closing=1)


def in_words_of_a_held_statement(shop):
    text = spaced(reference_of(shop)).lower()
    receives(shop, line("12.00", text=text, payer="Zed", iban=OTHER_IBAN), closing=1)


def in_dollars_with_the_reference(shop):
    shop.bank.register(VIRTUAL_IBAN, currency="USD")
    paid = statement(
        line("95.00", text=reference_of(shop), payer="Zed", iban=OTHER_IBAN),
        day=shop.now.date(),
        iban=VIRTUAL_IBAN,
    )
    shop.bank.now = shop.now
    shop.bank.receive(paid.replace(b"EUR", b"USD"))
    shop.match()


HOLDS_UP = [from_known_payer, to_virtual_iban_in_a_held_statement, in_words_of_a_held_statement]
HOLDS_UP += [in_dollars_with_the_reference]


@pytest.mark.parametrize("money", HOLDS_UP, ids=[act.__name__ for act in HOLDS_UP])
def test_while_money_that_may_be_for_it_waits_nobody_is_suspended(acme, money):
    money(acme)

    done = goes_on(acme, 30)

    assert acme.status("acme") == "active"
    assert done.count("invoice.in_question") > 10
    assert acme.events("invoice.in_question") == ["invoice.in_question"]


def from_payer_who_was_declined(shop):
    shop.receive(line("12.00", text="hello", iban=PAYER_IBAN))
    with transaction() as ctx:
        ctx.session.execute(sa.text("UPDATE billing.payers SET declined = matched + confirmed"))


def from_payer_of_another(shop):
    shop.open_account("beta", status="trial")
    shop.receive(line("89.00", reference=shop.announce("beta").reference, iban=OTHER_IBAN))
    shop.receive(line("12.00", text="hello", payer="Zed", iban=OTHER_IBAN))


def by_a_debit_that_names_it(shop):
    shop.receive(line("12.00", mark="DBIT", text=reference_of(shop), payer="Zed", iban=OTHER_IBAN))


def decided(shop):
    shop.receive(line("12.00", text="hello", iban=PAYER_IBAN))
    shop.act("ignore", REVIEWER, shop.queue()[0].id, reason="not a customer's")


HOLDS_NOTHING = [from_payer_who_was_declined, from_payer_of_another, by_a_debit_that_names_it]
HOLDS_NOTHING += [decided]


@pytest.mark.parametrize("money", HOLDS_NOTHING, ids=[act.__name__ for act in HOLDS_NOTHING])
def test_other_money_holds_nothing_up(acme, money):
    money(acme)

    goes_on(acme, 30)

    assert acme.status("acme") in {"suspended", "cancelled"}


def test_cash_that_covers_the_invoice_pays_it_at_its_first_step_and_exactly(acme):
    acme.receive(line("89.00", text="thanks", iban=OTHER_IBAN, payer="Zed"))
    acme.act("keep_as_credit", REVIEWER, acme.queue()[0].id, acme.ids["acme"], reason="theirs")

    goes_on(acme, 20)

    assert (acme.invoices("acme")[1], acme.credit("acme")) == (("paid", 8900, 8900), 0)
    assert "invoice.reminder" not in acme.events()


def fingerprints():
    with transaction() as ctx:
        rows = sa.text(
            "SELECT account_id FROM billing.trial_identities WHERE kind = 'iban' ORDER BY 1"
        )
        return list(ctx.session.scalars(rows))


@pytest.mark.parametrize("keeps", [False, True], ids=["paid", "kept as credit"])
def test_the_iban_that_paid_is_a_fingerprint_of_the_accounts_trial(shop, keeps):
    shop.open_account("acme", status="trial")
    with transaction() as ctx:
        trial_sweeps.begin_missing(ctx.at(shop.now))
    reference = None if keeps else shop.announce("acme").reference
    shop.receive(line("89.00", reference=reference, text="thanks"))
    if keeps:
        shop.act("keep_as_credit", REVIEWER, 1, shop.ids["acme"], reason="theirs")
    assert fingerprints() == [shop.ids["acme"]]

    shop.act("undo", REVIEWER, 1, reason="not theirs")

    assert fingerprints() == []
