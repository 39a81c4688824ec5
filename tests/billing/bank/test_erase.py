"""Erasure of a closed account: the payer and the payer's words go, the money stays."""

import datetime as dt
from dataclasses import replace

import pytest
from sqlalchemy import select

from billing import closing
from billing.bank import erase
from billing.context import Policy
from billing.lifecycle.trials import sweeps as trial_sweeps
from models.transfers import TransferInvoice
from tests.billing.bank.story import line, statement
from tests.billing.lifecycle.conftest import tables_that_say
from tests.billing.statements.writing import PAYER_IBAN
from tests.story import NOON
from worker.database import transaction

OTHER_IBAN = "DE02500105170137075030"
#: A file as it was received holds other customers too, and is the bank's.
FILES = {"statement_file_parts"}


@pytest.fixture
def gone(shop):
    """Two customers who have paid; the first one's account is deleted for good."""
    for slug in ("acme", "other"):
        shop.open_account(slug, status="trial")
    with transaction() as ctx:
        trial_sweeps.begin_missing(ctx.at(shop.now))
    for slug in ("acme", "other"):
        shop.announce(slug)
    with transaction() as ctx:
        rows = select(TransferInvoice.reference).order_by(TransferInvoice.id)
        one, two = ctx.session.scalars(rows)
    shop.lines = (
        line("89.00", reference=one, text="for Jane", payer="Jane Doe"),
        line("89.00", reference=two, text="for Joe", payer="Joe Roe", iban=OTHER_IBAN),
    )
    shop.receive(*shop.lines)
    shop.now = dt.datetime.now(dt.UTC)
    gone_since = shop.now - dt.timedelta(days=1)
    shop.set_host("acme", is_deleted=True, deleted_at=gone_since, restore_until=gone_since)
    return shop


def close(shop):
    with transaction() as ctx:
        return [
            one.what
            for one in closing.sweep(replace(ctx.at(shop.now), policy=Policy(closes_deleted=True)))
        ]


def test_no_table_of_ours_names_the_payer_any_more(gone):
    words = ("Jane", PAYER_IBAN)
    before = tables_that_say(*words)

    assert close(gone) == ["closed"]

    assert before - FILES == {"line_wordings", "payers", "transfers"}
    assert tables_that_say(*words) <= FILES


def test_another_customer_stays_as_known_as_before(gone):
    words = ("Joe", OTHER_IBAN)
    before = tables_that_say(*words)

    close(gone)

    assert tables_that_say(*words) == before
    assert "line_wordings" in before


def test_the_money_stays(gone):
    before = (gone.host(), gone.transfers(), gone.invoices("acme"), gone.decisions())

    close(gone)

    assert (gone.host(), gone.transfers(), gone.invoices("acme"), gone.decisions()) == before


def test_the_same_lines_in_another_file_bring_no_name_back(gone):
    close(gone)

    gone.bank.receive(statement(*gone.lines, number=1, day=NOON.date()) + b"\n")

    assert gone.match() == []
    assert tables_that_say("Jane") <= FILES


def test_in_a_batch_only_the_accounts_own_payment_is_erased():
    said = {"counterparty": "Jane", "remittance": ["for Jane"], "amount_minor": 1}
    batch = {"note": "two", "details": [said, said | {"counterparty": "Joe"}]}

    assert erase.erased(batch, {0}) == {
        "note": "two",
        "details": [
            {"counterparty": None, "remittance": [], "amount_minor": 1},
            said | {"counterparty": "Joe"},
        ],
    }
