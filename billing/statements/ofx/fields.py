"""One STMTTRN of OFX: its fields by name, and the entry of them (OFX 2.3, 11.4.4.1)."""

import re

from billing.statements.canonical import Detail, Entry, Status
from billing.statements.dates import compact_day
from billing.statements.errors import BadAmount, MissingField, RepeatedField
from billing.statements.money import currency_exponent, signed_minor
from billing.statements.references import drop_placeholder, party_account

Values = dict[str, str]

# Elements inside STMTTRN with fields of their own, which are stored as ELEMENT/FIELD.
_ELEMENTS = """
    PAYEE EXTDPAYEE BANKACCTFROM CCACCTFROM BANKACCTTO CCACCTTO CURRENCY ORIGCURRENCY IMAGEDATA
"""
# Fields of the transaction itself, even if an element before them was not closed.
_OWN = """
    TRNTYPE DTPOSTED DTUSER DTAVAIL TRNAMT FITID CORRECTFITID CORRECTACTION SRVRTID CHECKNUM REFNUM
    SIC PAYEEID MEMO MEMO2 EXTDNAME INV401KSOURCE
"""
_INNER = """
    NAME ADDR1 ADDR2 ADDR3 CITY STATE POSTALCODE COUNTRY PHONE BANKID BRANCHID ACCTID ACCTTYPE
    ACCTKEY CURRATE CURSYM IDSCOPE IMAGETYPE IMAGEREF IMAGEREFTYPE IMAGEDELAY DTIMAGEAVAIL IMAGETTL
    CHECKSUP
"""
NESTED = frozenset(_ELEMENTS.split())
_OWN_FIELDS = frozenset(_OWN.split())
_FIELDS = _OWN_FIELDS | frozenset(_INNER.split())
# Money fields, which refuse the file if stated twice, and texts, which then get a second line.
_MONEY = frozenset({"TRNAMT", "CURRENCY/CURSYM"})
_TEXTS = frozenset({"NAME", "MEMO", "MEMO2", "EXTDNAME"})
_AMOUNT = re.compile(r"[+-]?[0-9]*[.,]?[0-9]*", re.ASCII)


def is_field(name: str) -> bool:
    """Whether OFX defines the field, or a vendor does in its own name space, as in INTU.BID."""
    return name in _FIELDS or "." in name


def store_field(values: Values, name: str, element: str, text: str, position: str) -> None:
    """Add a field to its transaction; `element` is the element around it, or empty.

    Raises RepeatedField for an amount or its currency.
    """
    path = name if name in _OWN_FIELDS or not element else f"{element}/{name}"
    if path not in values:
        values[path] = text
    elif path in _MONEY:
        raise RepeatedField(position, field=path)
    elif path in _TEXTS:
        values[path] += f"\n{text}"


def amount(text: str, currency: str, position: str) -> int:
    """Convert to signed minor units; the decimal mark is a comma or a period.

    A comma with more decimals than the currency has is refused even if they are zeros, because
    1,000 may be a thousand (OFX 2.3, 3.2.9.1). Raises the errors of MoneyRefused.
    """
    if not _AMOUNT.fullmatch(text):
        raise BadAmount(position, text=text)
    exponent = currency_exponent(currency, position)
    mark = "," if "," in text else "."
    whole, _, decimals = text.partition(mark)
    if mark == "," and len(decimals) > exponent:
        raise BadAmount(position, text=text)
    if not whole.strip("+-") and decimals:  # ".50"
        text = f"{whole}0{mark}{decimals}"
    return signed_minor(text, exponent=exponent, position=position, decimal=mark)


def entry_of(values: Values, account_currency: str, position: str) -> Entry:
    """The entry of one transaction; raises MissingField and the errors of MoneyRefused.

    CURRENCY is the currency of TRNAMT if it is not the account's; ORIGCURRENCY is only the currency
    before a conversion.
    """
    if "TRNAMT" not in values:
        raise MissingField(position, field="TRNAMT")
    currency = (values.get("CURRENCY/CURSYM") or account_currency).upper()
    minor = amount(values["TRNAMT"], currency, position)
    number = values.get("BANKACCTTO/ACCTID") or values.get("CCACCTTO/ACCTID") or None
    iban, other, note = party_account(number)
    texts = [values.get(field, "") for field in ("NAME", "EXTDNAME", "MEMO", "MEMO2")]
    lines = dict.fromkeys(line for text in texts for line in text.split("\n") if line)
    detail = Detail(
        amount_minor=minor,
        currency=currency,
        remittance=tuple(lines),
        counterparty=values.get("NAME") or values.get("PAYEE/NAME") or None,
        counterparty_iban=iban,
        counterparty_account=other,
        counterparty_bank=values.get("BANKACCTTO/BANKID") or None,
        note=note,
    )
    return Entry(
        position=position,
        amount_minor=minor,
        currency=currency,
        is_credit=minor >= 0,
        status=Status.BOOKED,
        is_reversal=bool(values.get("CORRECTFITID")),
        booking_date=compact_day(values.get("DTPOSTED", "")),
        value_date=compact_day(values.get("DTAVAIL", "")),
        bank_reference=drop_placeholder(values.get("FITID")),
        customer_reference=drop_placeholder(values.get("REFNUM") or values.get("CHECKNUM")),
        type_code=values.get("TRNTYPE") or None,
        corrects=drop_placeholder(values.get("CORRECTFITID")),
        note=values.get("CORRECTACTION") or None,
        details=(detail,),
    )
