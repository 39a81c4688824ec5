"""Money that goes back without the bank's flag is seen: it reopens its invoice, or a person decides."""

import pytest
from click.testing import CliRunner

from billing.bank.errors import NotAllowed, PartsRefused
from billing.bank.wordings import bank_mark, return_words
from billing.errors import Rejected
from cli.main import main
from tests.billing.bank.story import line
from tests.billing.statements.writing import PAYER_IBAN, bai2, mt940, ofx, stmttrn

#: The account's number in each format.
NUMBERS = {
    "MT940": "12030000/12030000/202051",
    "OFX": "12030000/202051",
    "BAI2": "BANK/12345",
    "CSV": "DE1",
}
OTHER_IBAN = "DE44500105175407324931"


@pytest.fixture
def acme(shop):
    """A customer who paid 89.00 for one invoice, on the camt account."""
    shop.open_account("acme", status="trial")
    shop.invoice = shop.announce("acme")
    shop.receive(line("89.00", reference=shop.invoice.reference, **IDS))
    assert shop.invoices("acme") == [("paid", 8900, 8900)]
    return shop


IDS = {"bank_reference": "BANK-77", "transaction_id": "TX-77", "end_to_end": "E2E-77"}


def debit(amount="89.00", **more):
    return line(amount, mark="DBIT", **{"payer": "Somebody", "iban": OTHER_IBAN} | more)


def waiting(shop):
    """The reviews of debits."""
    return [one.review for one in shop.queue() if one.amount_minor < 0]


@pytest.mark.parametrize("name", ["bank_reference", "transaction_id"])
def test_a_debit_with_the_banks_identifier_and_the_amount_of_a_payment_reopens_its_invoice(
    acme, name
):
    acme.receive(debit(**{name: IDS[name]}))

    assert acme.invoices("acme") == [("open", 0, 8900)]
    assert acme.transfers() == [("reversed", 8900), ("reverses", -8900)]
    acme.check()


def test_a_debit_that_comes_before_the_payment_it_takes_back_ends_alike(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(debit(transaction_id="TX-77"))
    assert shop.transfers() == []

    shop.receive(line("89.00", reference=invoice.reference, **IDS))
    shop.match()
    shop.match()

    assert shop.invoices("acme") == [("open", 0, 8900)]
    shop.check()


@pytest.mark.parametrize(
    "returned",
    [
        pytest.param({"end_to_end": "E2E-77"}, id="the payer's identifier"),
        pytest.param({"iban": PAYER_IBAN}, id="the payer's IBAN and the amount"),
        pytest.param({"payer": "Anna Schmidt", "iban": None}, id="the payer's name and the amount"),
        pytest.param({"text": "Refund"}, id="a word of refund and the amount"),
        pytest.param({"text": "RUECKLASTSCHRIFT"}, id="a word of return alone"),
    ],
)
def test_what_our_own_refund_has_too_goes_to_a_person_and_changes_nothing(acme, returned):
    acme.receive(debit(**returned))

    assert acme.invoices("acme") == [("paid", 8900, 8900)]
    assert acme.transfers() == [("settled", 8900), ("waiting", -8900)]
    [why] = waiting(acme)
    assert why.endswith("a return that the bank does not mark, or our own refund")


@pytest.mark.parametrize("amount", ["89.00", "50.00"])
@pytest.mark.parametrize("where", ["text", "reference", "number", "end_to_end"])
def test_a_debit_that_names_an_issued_reference_goes_to_a_person(acme, where, amount):
    name = acme.invoice.number if where == "number" else acme.invoice.reference
    field = "text" if where == "number" else where

    acme.receive(debit(amount, **{field: name}))

    assert acme.invoices("acme") == [("paid", 8900, 8900)]
    [why] = waiting(acme)
    assert acme.invoice.number in why


def test_a_marked_return_that_names_the_invoice_reopens_it_though_it_shares_no_identifier(acme):
    acme.receive(debit(text=acme.invoice.reference, reversal=True))

    assert acme.invoices("acme") == [("open", 0, 8900)]
    acme.check()


def test_a_marked_return_that_names_an_invoice_paid_by_two_goes_to_a_person(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    for day in "12":
        iban = f"DE8937040044053201300{day}"
        shop.receive(line("44.50", reference=invoice.reference, text=day, iban=iban))

    shop.receive(debit("44.50", text=invoice.reference, reversal=True))

    assert shop.invoices("acme") == [("paid", 8900, 8900)]
    assert waiting(shop) == ["a return of one of 2 transfers"]


@pytest.mark.parametrize(
    "ours",
    [
        pytest.param({"text": "rent December"}, id="rent"),
        pytest.param({"text": "RF18539007547034 supplier"}, id="another's reference"),
        pytest.param({"end_to_end": "NOTPROVIDED"}, id="a placeholder"),
        pytest.param({"text": "VAT return 2026/01"}, id="a tax return"),
        pytest.param({"amount": "12.00", "text": "Refund of expenses"}, id="a refund to staff"),
        pytest.param({"amount": "12.00", "end_to_end": "E2E-77"}, id="a fee for the payment"),
    ],
)
def test_our_own_payments_bother_nobody(acme, ours):
    acme.receive(debit(ours.get("amount", "89.00"), **{k: ours[k] for k in ours if k != "amount"}))

    assert acme.transfers() == [("settled", 8900)]
    assert waiting(acme) == []


def test_one_identifier_of_two_payments_proves_nothing(acme):
    acme.receive(line("10.00", text="other", bank_reference="BANK-77"))

    acme.receive(debit(bank_reference="BANK-77"))

    assert acme.invoices("acme") == [("paid", 8900, 8900)]
    assert len(waiting(acme)) == 1


def test_a_reviewer_takes_the_payment_back(acme):
    acme.receive(debit(text=acme.invoice.reference))
    [item] = [one for one in acme.queue() if one.amount_minor < 0]

    acme.act("take_back", "dev@example.com", item.id, 1, reason="the bank returned it")

    assert acme.invoices("acme") == [("open", 0, 8900)]
    assert acme.transfers() == [("reversed", 8900), ("reverses", -8900)]
    acme.check()


def test_the_command_takes_the_payment_back(acme):
    acme.receive(debit(text=acme.invoice.reference))
    [item] = [one for one in acme.queue() if one.amount_minor < 0]
    who = ["--as", "dev@example.com", "--version", str(item.version), "--because", "returned"]

    result = CliRunner().invoke(main, ["transfers", "take-back", str(item.id), "1", *who])

    assert result.output == f"transfer {item.id}: done\n"
    assert acme.invoices("acme") == [("open", 0, 8900)]


@pytest.mark.parametrize(
    ("debit_id", "original", "why"),
    [
        pytest.param(2, 3, "is not of the same amount", id="of another amount"),
        pytest.param(1, 3, "brought money", id="by a credit"),
        pytest.param(2, 9, "UnknownTransfer", id="of no transfer"),
    ],
)
def test_what_a_debit_can_not_take_back_is_refused(acme, debit_id, original, why):
    acme.receive(debit(text=acme.invoice.reference))
    acme.receive(line("12.00", text="other", iban=OTHER_IBAN))

    with pytest.raises(Rejected) as refusal:
        acme.act("take_back", "dev@example.com", debit_id, original, reason="x")

    assert why in f"{refusal.value.name}: {refusal.value}"
    assert acme.invoices("acme") == [("paid", 8900, 8900)]


def test_a_payment_is_taken_back_once(acme):
    for more in ("", " again"):
        acme.receive(debit(text=acme.invoice.reference + more))
    acme.act("take_back", "dev@example.com", 2, 1, reason="x")

    with pytest.raises(PartsRefused, match="taken back before"):
        acme.act("take_back", "dev@example.com", 3, 1, reason="x")


def test_nobody_takes_back_a_payment_of_an_own_account(acme):
    acme.hire("owner@example.com", account="acme")
    acme.receive(debit(text=acme.invoice.reference))

    with pytest.raises(NotAllowed):
        acme.act("take_back", "owner@example.com", 2, 1, reason="x")

    assert acme.invoices("acme") == [("paid", 8900, 8900)]


def test_a_reviewer_says_that_it_was_our_refund_and_the_payments_are_free_again(shop):
    shop.receive(line("89.00", text="hello", iban=PAYER_IBAN))
    shop.receive(debit(iban=PAYER_IBAN))
    assert shop.transfers() == [("frozen", 8900), ("waiting", -8900)]

    shop.act("ignore", "dev@example.com", 2, reason="our refund")

    assert shop.transfers() == [("open", 8900), ("ignored", -8900)]


@pytest.mark.parametrize(
    "words",
    [
        "Rücklastschrift",
        "RUECKUEBERWEISUNG",
        "Retoure SEPA",
        "REJET DE PRELEVEMENT",
        "IMPAYÉ",
        "STORNO BONIFICO",
        "INSOLUTO",
        "Zwrot przelewu",
        "Palautettu maksu",
        "PALAUTUS",
        "Retur betalning",
        "ÅTERFÖRING",
        "Terugboeking",
        "STORNERING",
        "Devolución de transferencia",
        "RETURNED ITEM",
        "NSF",
        "Chargeback",
    ],
)
def test_the_words_of_banks_are_known_in_nine_languages(words):
    payload = {"note": None, "type_code": None}

    assert return_words(payload, {"remittance": [words]})
    assert return_words(payload | {"note": words}, {})


@pytest.mark.parametrize(
    "words", ["rent", "?REJECT?0", "nothing rejected", "VAT return", "keine Rückgabe"]
)
def test_other_words_are_none(words):
    assert not return_words({"note": None, "type_code": None}, {"remittance": [words]})


@pytest.mark.parametrize(
    ("code", "of", "is_return"),
    [
        ("NRTI", "MT940", True),
        ("NTRF", "MT940", False),
        ("NRTI+159+0900", "camt.053", True),
        ("NDDT+109+9075", "camt.053", True),
        ("NTRF+166+0109", "camt.053", False),
        ("PMNT-RCDT-RRTN", "camt.053", True),
        ("PMNT-RDDT-UPDD", "camt.053", True),
        ("PMNT-RCDT-ESCT", "camt.053", False),
        ("555", "BAI2", True),
        ("557", "BAI2", True),
        ("567", "BAI2", False),
        ("475", "BAI2", False),
        ("555", "CSV", False),
    ],
)
def test_a_code_marks_a_return_in_the_format_that_defines_it(code, of, is_return):
    payload = {"is_reversal": False, "corrects": None, "type_code": code, "detail_type_code": None}

    assert (bank_mark(payload, {}, of) is not None) is is_return


@pytest.mark.parametrize(
    ("reason", "is_return"),
    [("914", True), ("AC04", True), ("992", False), ("339", False), ("540", False)],
)
def test_a_number_in_field_34_marks_a_return_only_from_901_to_989(reason, is_return):
    payload = {"is_reversal": False, "corrects": None, "type_code": "NDDT"}

    assert (bank_mark(payload, {"return_reason": reason}, "MT940") is not None) is is_return


def _mt940(reference, *, code="NTRF", gvc=None, mark="D", day="0201", opening="C260131EUR0,00"):
    text = f"{gvc}?00x?20SVWZ+{reference}?32Anna Schmidt" if gvc else reference
    closing = "C260201EUR0,00" if mark == "D" else "C260131EUR89,00"
    field = f":61:26{day}{day}{mark}89,00{code}NONREF"
    return mt940(field, f":86:{text}", opening=f":60F:{opening}", closing=f":62F:{closing}")


def _ofx(reference, *, amount, fitid, name="ANNA SCHMIDT"):
    transaction = stmttrn(amount, fitid=fitid, more=f"<NAME>{name}<MEMO>{reference}")
    return ofx(transaction, ledger="0.00")


def _bai2(reference, *, code, opening, closing):
    return bai2(
        f"16,{code},8900,Z,,,{reference}/", opening=opening, closing=closing, currency="EUR"
    )


def _csv(reference, *, amount, day):
    return f"Date,Amount,Currency,Description\\n{day},{amount},EUR,{reference}\\n".replace(
        "\\n", "\n"
    )


FORMATS = {
    "MT940": (
        lambda ref: _mt940(ref, mark="C", day="0131"),
        {
            "a reference": (lambda ref: _mt940(ref, opening="C260131EUR89,00"), "waits"),
            "NRTI": (lambda ref: _mt940(ref, code="NRTI", opening="C260131EUR89,00"), "reopens"),
            "GVC 109": (lambda ref: _mt940(ref, gvc=109, opening="C260131EUR89,00"), "reopens"),
            "GVC 159": (lambda ref: _mt940(ref, gvc=159, opening="C260131EUR89,00"), "reopens"),
            "words": (lambda _: _mt940("RETOUR", opening="C260131EUR89,00"), "waits"),
        },
    ),
    "OFX": (
        lambda ref: _ofx(ref, amount="89.00", fitid="F1"),
        {
            "a reference": (lambda ref: _ofx(ref, amount="-89.00", fitid="F2"), "waits"),
            "the payer": (lambda _: _ofx("back", amount="-89.00", fitid="F3"), "waits"),
            "words": (
                lambda _: _ofx("RETURNED ITEM", amount="-89.00", fitid="F4", name="BANK"),
                "waits",
            ),
        },
    ),
    "BAI2": (
        lambda ref: _bai2(ref, code="195", opening="0", closing="8900"),
        {
            "a reference": (
                lambda ref: _bai2(ref, code="495", opening="8900", closing=None),
                "waits",
            ),
            "a returned item": (
                lambda ref: _bai2(ref, code="557", opening="8900", closing=None),
                "reopens",
            ),
            "a returned item without words": (
                lambda _: _bai2("x", code="555", opening="8900", closing=None),
                "waits",
            ),
        },
    ),
    "CSV": (
        lambda ref: _csv(ref, amount="89.00", day="2026-01-31"),
        {
            "a reference": (lambda ref: _csv(ref, amount="-89.00", day="2026-01-31"), "waits"),
            "words": (lambda _: _csv("Rückbuchung", amount="-89.00", day="2026-01-31"), "waits"),
        },
    ),
}
SHAPES = [
    pytest.param(of, shape, id=f"{of}: {shape}") for of in FORMATS for shape in FORMATS[of][1]
]


@pytest.mark.parametrize(("of", "shape"), SHAPES)
def test_in_every_format_it_reopens_the_invoice_or_goes_to_a_person(shop, of, shape):
    account = "DE1" if of == "CSV" else None
    shop.bank.register(NUMBERS[of], source_format=of)
    shop.open_account("acme", status="trial")
    reference = shop.announce("acme").reference
    pay, shapes = FORMATS[of]
    back, expected = shapes[shape]
    receive(shop, pay(reference), account)
    assert [state for state, _ in shop.transfers()] == ["settled"], shop.queue()

    receive(shop, back(reference), account)

    assert shop.transfers()[1][1] == -8900
    is_open = shop.invoices("acme") == [("open", 0, 8900)]
    assert is_open if expected == "reopens" else len(waiting(shop)) == 1


def receive(shop, content, account=None):
    """Import a file, release what holds it, and match."""
    shop.bank.now = shop.now
    shop.bank.receive(content.encode(), account=account)
    shop.bank.release_all()
    shop.match()
