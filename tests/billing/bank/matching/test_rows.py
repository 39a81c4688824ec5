"""Matching reads by indexes what transfers may concern, and decides as if it had read all."""

import datetime as dt
import random

import pytest
import sqlalchemy as sa

from billing.bank.matching import rows, rules
from billing.bank.matching.open_items import OpenItems, by_likeness
from billing.bank.matching.types import (
    EarlierTransfer,
    IncomingTransfer,
    IssuedInvoice,
    MatchingPolicy,
    PayerHistory,
)
from billing.statements.canonical import Reference
from models.host import Account
from models.transfers import Allocation, CustomerName, NameToRead, Payer, Transfer, TransferInvoice
from tests.billing.bank.customers import Customers
from tests.billing.bank.story import line
from tests.billing.statements.writing import OWN_IBAN
from tests.conftest import empty_database
from tests.seeds import seeds
from worker.database import engine, transaction

NAMES = ("Anna Schmidt", "Anne Schmidt", "Müller GmbH", "Acme AG", "Acme Holding AG", "Blue Door")
IBANS = ("DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606", None)


def everything(session):
    """Every invoice, payer and payment, as matching read them before it used indexes."""
    invoices = {}
    joined = sa.select(TransferInvoice, Account.name, Account.billing_email).join(
        Account, Account.id == TransferInvoice.account_id
    )
    for row, *names in session.execute(joined):
        invoices[row.id] = IssuedInvoice(
            id=row.id,
            account_id=row.account_id,
            reference=row.reference,
            number=row.number,
            currency=row.currency,
            due_minor=row.open_minor if row.state == "open" else 0,
            total_minor=row.due_minor,
            state=row.state,
            issued_on=row.issued_at.date(),
            names=tuple(name for name in names if name),
        )
    payers = {}
    for payer in session.scalars(sa.select(Payer)):
        history = PayerHistory(payer.confirmed, payer.matched, payer.declined)
        payers.setdefault(payer.iban, {})[payer.account_id] = history
    paid = sa.select(Transfer, Allocation.transfer_invoice_id).join(
        Allocation, Allocation.transfer_id == Transfer.id
    )
    earlier = [
        EarlierTransfer(
            row.payer_iban, row.amount_minor, row.currency, frozenset({id}), row.booking_date
        )
        for row, id in session.execute(paid)
    ]
    return OpenItems(invoices, payers, by_likeness(earlier))


def drawn_shop(chance):
    """Customers of similar names, with paid, void, partly paid and open invoices."""
    shop = Customers()
    shop.bank.register()
    shop.sell("starter", 89)
    shop.sell("growth", 139)
    issued = []
    for number in range(10):
        slug = f"{chance.choice(NAMES)} {number % 4}"
        while slug in shop.ids:
            slug += "x"
        shop.open_account(slug, status="trial")
        issued.append(shop.announce(slug, chance.choice(("starter", "growth"))))
        if chance.random() < 0.3:
            issued.append(shop.announce(slug, "starter", months=2, key=f"second:{number}"))
    paid = [
        line(
            chance.choice(("89.00", "40.00", "139.00")),
            reference=invoice.reference,
            iban=chance.choice(IBANS),
            transaction_id=f"T{invoice.id}",
        )
        for invoice in chance.sample(issued, k=4)
    ]
    shop.receive(*paid)
    return shop, issued


def drawn_transfer(chance, id, shop, issued):
    """A transfer that names references, numbers, slips, names, or nothing."""
    invoice, other = chance.sample(issued, k=2)
    texts = {
        "reference": invoice.reference,
        "with blanks": f"{invoice.reference[:4]} {invoice.reference[4:9]} {invoice.reference[9:]}",
        "without zeros": invoice.reference[:4] + invoice.reference[4:].lstrip("0"),
        "cut": f"{invoice.reference} {other.reference}",
        "slip": invoice.reference[:-1] + chance.choice("0123456789"),
        "number": f"invoice {invoice.number}",
        "bare number": f"BT 2026 {invoice.id}",
        "one word": invoice.number.replace("-", ""),
        "name": chance.choice(list(shop.ids)),
        "nothing": "thank you",
    }
    written = texts[chance.choice(list(texts))]
    is_structured = chance.random() < 0.3
    return IncomingTransfer(
        id=id,
        order=f"{id:06d}",
        amount_minor=chance.choice((8900, 13900, 17800, 4000, 22800)),
        currency="EUR",
        booking_date=shop.now.date() + dt.timedelta(days=chance.randrange(-3, 20)),
        receiving=OWN_IBAN,
        structured=(Reference("SCOR", written),) if is_structured else (),
        texts=() if is_structured else (written,),
        payer_name=chance.choice((*NAMES, *shop.ids, None)),
        payer_iban=chance.choice(IBANS),
        virtual_owner=chance.choice((None,) * 8 + (1, 2)),
    )


@pytest.mark.parametrize("seed", seeds(6))
def test_what_is_read_by_index_decides_as_all_invoices_would(seed):
    empty_database()
    chance = random.Random(seed)
    shop, issued = drawn_shop(chance)
    incoming = [drawn_transfer(chance, id, shop, issued) for id in range(1, 41)]

    with transaction() as ctx:
        items = everything(ctx.session)
        # Alone too, for what a batch reads for one transfer another may need.
        batches = [incoming, *[[transfer] for transfer in incoming]]
        of_all = [rules.match(batch, items, MatchingPolicy()) for batch in batches]
        by_index = [
            rules.match(batch, rows.read(ctx.session, batch), MatchingPolicy()) for batch in batches
        ]

    assert by_index == of_all
    assert len({decision.rule for decision in of_all[0]}) > 3


def names():
    with transaction() as ctx:
        query = sa.select(CustomerName.account_id, CustomerName.words)
        return dict(ctx.session.execute(query).all())


def incoming(**facts):
    defaults = {"id": 1, "order": "1", "amount_minor": 1, "currency": "EUR", "receiving": OWN_IBAN}
    return IncomingTransfer(**defaults, booking_date=dt.date(2026, 2, 1), **facts)


def read(*transfers):
    with transaction() as ctx:
        return rows.read(ctx.session, transfers or [incoming()])


def test_old_invoices_that_no_transfer_concerns_are_not_read(shop):
    for number in range(5):
        shop.open_account(f"c{number}", status="trial")
        shop.announce(f"c{number}")

    items = read(incoming(payer_name="c3"), incoming(texts=("BT-2026-000002",)))

    assert sorted(items.invoices) == [2, 4]


def test_a_customer_that_the_main_app_renames_is_found_by_the_new_name(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    read()
    assert names() == {1: ["acme"]}

    with engine().begin() as app:
        app.execute(sa.update(Account).values(name="Blue Door Ltd"))
    read()

    assert names() == {1: ["blue", "door"]}
    assert list(read(incoming(payer_name="blue door")).invoices) == [1]
    assert list(read(incoming(payer_name="acme")).invoices) == []


def test_a_write_of_other_columns_lets_no_name_be_read_anew(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    read()

    with engine().begin() as app:
        app.execute(sa.update(Account).values(name="acme", credits=5))

    with transaction() as ctx:
        assert ctx.session.scalars(sa.select(NameToRead)).all() == []


def test_names_are_read_in_one_statement_however_many_are_new(shop):
    for number in range(30):
        shop.open_account(f"c{number}", status="trial")
        shop.announce(f"c{number}")

    read()

    assert len(names()) == 30


def test_the_open_invoices_of_a_known_payer_and_of_a_virtual_iban_are_read(shop):
    for number in range(3):
        shop.open_account(f"c{number}", status="trial")
        shop.announce(f"c{number}")
    with transaction() as ctx:
        ctx.session.add(Payer(iban=IBANS[0], account_id=2, matched=1, confirmed=0, declined=0))

    assert list(read(incoming(payer_iban=IBANS[0])).invoices) == [2]
    assert list(read(incoming(virtual_owner=3)).invoices) == [3]
