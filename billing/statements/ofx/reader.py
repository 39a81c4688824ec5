"""The OFX reader: statements from the tags of a file (OFX 2.3, chapter 11)."""

import re
from typing import BinaryIO

from billing.currencies import NO_CURRENCY
from billing.statements.canonical import Account, Balance, Family, HoldReason, Statement
from billing.statements.dates import compact_day
from billing.statements.draft import Budget, Draft, hold_doubtful_encoding
from billing.statements.errors import (
    FileTooLarge,
    MoneyRefused,
    NoStatements,
    StatementRefused,
    StructureRefused,
    Truncated,
)
from billing.statements.limits import MAX_OFX_BYTES
from billing.statements.money import currency_exponent
from billing.statements.ofx.fields import NESTED, Values, amount, entry_of, is_field, store_field
from billing.statements.ofx.sgml import Tag, tags_of
from billing.statements.references import plain_iban
from billing.statements.source import guess_encoding, head_of

_STATEMENTS = frozenset({"STMTRS", "CCSTMTRS", "INVSTMTRS"})
_ACCOUNTS = frozenset({"BANKACCTFROM", "CCACCTFROM", "INVACCTFROM"})
_CHARSET = re.compile(rb"CHARSET:\s*([\w-]{1,20})", re.IGNORECASE)
_ENCODING = re.compile(rb"""<\?xml[^>]{0,100}encoding\s*=\s*["']([\w-]{1,20})["']""", re.IGNORECASE)
# OFX name of an encoding -> Python's. Files that declare USASCII often contain Windows-1252.
_ENCODINGS = {
    "1252": "cp1252",
    "WINDOWS-1252": "cp1252",
    "ISO-8859-1": "latin-1",
    "8859-1": "latin-1",
    "1250": "cp1250",
}
_RAW = "STMTTRN"


def read_ofx(source: BinaryIO, budget: Budget, name: str | None = None) -> list[Statement]:
    """Read all statements of one file; raises the errors of StatementRefused."""
    if source.seek(0, 2) > MAX_OFX_BYTES:
        raise FileTooLarge(limit=MAX_OFX_BYTES)
    source.seek(0)
    head = head_of(source)
    declared = _ENCODING.search(head) or _CHARSET.search(head)
    encoding, is_doubtful = guess_encoding(
        source, declared=_ENCODINGS.get(declared[1].decode().upper()) if declared else None
    )
    reader = _OfxReader(budget, name)
    for tag in tags_of(source, encoding):
        reader.take(tag)
    drafts = reader.finish()
    if is_doubtful:
        hold_doubtful_encoding(drafts, encoding)
    return [draft.finish() for draft in drafts]


class _OfxReader:
    """The current statement and transaction, with their values so far."""

    def __init__(self, budget: Budget, name: str | None) -> None:
        self._budget = budget
        self._name = name
        self._drafts: list[Draft] = []
        self._draft: Draft | None = None
        self._account: Values | None = None
        self._balance: Values | None = None
        self._transaction: Values | None = None
        self._nested = ""
        self._line = 0
        self._transactions = 0
        self._is_ended = False
        self._is_investment = False

    def take(self, tag: Tag) -> None:
        """Take one tag."""
        if tag.name in _STATEMENTS:
            self._take_statement(tag)
        elif tag.name == "OFX":
            self._is_ended = tag.closes
            self._leave_statement()
        elif self._draft is None:
            return
        elif tag.name in {_RAW, "BANKTRANLIST"}:
            self._end_transaction()
            if tag.name == _RAW and not tag.closes:
                self._transactions += 1
                self._transaction, self._nested, self._line = {}, "", tag.line
        elif self._transaction is not None:
            self._take_value(self._draft, self._transaction, tag)
        else:
            self._take_header(self._draft, tag)

    def finish(self) -> list[Draft]:
        """The drafts of all statements; raises Truncated and NoStatements."""
        if self._draft is not None:
            raise Truncated(f"line {self._line}", inside="a statement")
        if not self._drafts:
            raise NoStatements(format="OFX")
        entry_count = sum(draft.row_count for draft in self._drafts)
        for draft in self._drafts:
            if entry_count != self._transactions:
                message = f"{self._transactions} STMTTRN begin in the file, {entry_count} were read"
                draft.hold(HoldReason.ENTRY_COUNT, message)
            if not self._is_ended:
                draft.hold(HoldReason.TRUNCATED, "the closing tag of OFX is missing")
        return self._drafts

    def _take_statement(self, tag: Tag) -> None:
        self._line = tag.line
        if tag.closes:
            self._end_transaction()
            self._draft = None
            return
        self._leave_statement()
        # the cash of fund units has more decimals than its currency, and pays no invoice
        self._is_investment = tag.name == "INVSTMTRS"
        self._budget.spend_statement(f"line {tag.line}")
        self._draft = Draft(
            format="OFX", family=Family.STATEMENT, budget=self._budget, source=self._name
        )
        self._drafts.append(self._draft)

    def _leave_statement(self) -> None:
        """End a statement whose closing tag is missing; its entries are complete."""
        if self._draft is not None:
            self._end_transaction()
            self._draft.hold(HoldReason.TRUNCATED, "the statement has no closing tag")
            self._draft = None

    def _take_header(self, draft: Draft, tag: Tag) -> None:
        """Take a tag outside the transactions: account, currency, dates or balance."""
        if tag.name in _ACCOUNTS:
            if tag.closes and self._account is not None:
                draft.account = _account(self._account)
            self._account = None if tag.closes else {}
        elif tag.name == "LEDGERBAL":
            if tag.closes and self._balance is not None:
                self._take_balance(draft, self._balance, f"line {tag.line}")
            self._balance = None if tag.closes else {}
        elif tag.closes:
            return
        elif self._account is not None:
            self._account.setdefault(tag.name, tag.text)
        elif self._balance is not None:
            self._balance.setdefault(tag.name, tag.text)
        elif tag.name == "CURDEF" and tag.text:
            draft.currency = tag.text.upper()
            currency_exponent(draft.currency, f"line {tag.line}")
        elif tag.name == "DTSTART":
            draft.from_date = compact_day(tag.text)
        elif tag.name == "DTEND":
            draft.to_date = compact_day(tag.text)

    def _take_balance(self, draft: Draft, values: Values, position: str) -> None:
        if not values.get("BALAMT") or draft.closing is not None:
            return
        currency = draft.currency or NO_CURRENCY
        try:
            minor = amount(values["BALAMT"], currency, position)
        except StatementRefused as refusal:
            draft.hold(HoldReason.BALANCE_UNREADABLE, str(refusal), position)
            return
        draft.closing = Balance("LEDGERBAL", minor, currency, compact_day(values.get("DTASOF", "")))

    def _take_value(self, draft: Draft, values: Values, tag: Tag) -> None:
        if tag.name in NESTED:
            self._nested = "" if tag.closes else tag.name
        elif tag.closes:
            return
        elif not is_field(tag.name):
            draft.hold(
                HoldReason.TEXT_DOUBT,
                f"<{tag.name}> is no field of a transaction",
                f"line {tag.line}",
            )
        else:
            store_field(values, tag.name, self._nested, tag.text, f"line {tag.line}")
            if tag.has_markup:
                draft.hold(HoldReason.TEXT_DOUBT, f"markup in {tag.name}", f"line {tag.line}")

    def _end_transaction(self) -> None:
        if self._transaction is None or self._draft is None:
            return
        values, position = (
            self._transaction,
            f"line {self._line}, STMTTRN[{self._draft.row_count + 1}]",
        )
        self._transaction = None
        try:
            entry = entry_of(values, self._draft.currency or NO_CURRENCY, position)
        except (MoneyRefused, StructureRefused) as refusal:
            self._draft.skip(refusal, position, needs_sums=not self._is_investment)
            return
        for field in ("DTPOSTED", "DTAVAIL"):
            day = values.get(field)
            if day and compact_day(day) is None:
                message = f"{day!a} is not a day of the calendar"
                self._draft.hold(HoldReason.DATE_IMPOSSIBLE, message, position)
        if not values.get("DTPOSTED"):
            self._draft.hold(HoldReason.DATE_MISSING, "DTPOSTED is missing", position)
        self._draft.add(entry)


def _account(values: Values) -> Account:
    number = values.get("ACCTID") or None
    iban = plain_iban(number)
    bank = values.get("BANKID") or values.get("BROKERID") or None
    return Account(iban=iban, other=None if iban else number, bank=bank)
