"""The camt reader: streams a message and keeps one entry in memory at a time."""

import re
from collections.abc import Sized
from typing import BinaryIO

from billing.statements.camt import fields
from billing.statements.camt.checks import BALANCE_KINDS, conclude
from billing.statements.camt.details import Side, amount_of, detail_of, with_one_detail
from billing.statements.camt.units import OUTSIDE, Leaves, UnitReader, Units
from billing.statements.canonical import Balance, Detail, Family, HoldReason, Statement
from billing.statements.draft import Draft
from billing.statements.errors import (
    MoneyRefused,
    NoStatements,
    StatementRefused,
    StructureRefused,
    TooManyEntries,
    UnknownFormat,
)
from billing.statements.limits import MAX_PARTS, Budget
from billing.statements.packed import INLINE_DETAILS, Packing, packing_details

# message element without the V01 of its first version -> format, family
MESSAGES = {
    "BkToCstmrAcctRpt": ("camt.052", Family.REPORT),
    "BkToCstmrStmt": ("camt.053", Family.STATEMENT),
    "BkToCstmrDbtCdtNtfctn": ("camt.054", Family.NOTIFICATION),
}
_UNITS: Units = {
    OUTSIDE: {name + version: name for name in MESSAGES for version in ("", "V01")},
    "BkToCstmrAcctRpt": {"Rpt": "statement"},
    "BkToCstmrStmt": {"Stmt": "statement"},
    "BkToCstmrDbtCdtNtfctn": {"Ntfctn": "statement"},
    "statement": {"Ntry": "entry", "Bal": "balance", "TxsSummry": "summary"},
    "entry": {"NtryDtls/TxDtls": "detail", "TxDtls": "detail"},
    "detail": {"RmtInf/Strd": "structured", "RtrInf": "returned"},
    "structured": {},
    "returned": {},
    "balance": {},
    "summary": {},
}
_VERSION = re.compile(r"urn:.{0,40}:(camt\.05[234]\.\d{3}\.\d{2})")


def read_camt(source: BinaryIO, budget: Budget, name: str | None = None) -> list[Statement]:
    """Read all statements of one camt file; raises the errors of StatementRefused."""
    message = _CamtMessage(budget, name)
    reader = UnitReader(
        _UNITS, message.begin, message.finish, wrappers=fields.WRAPPERS, counted="Ntry"
    )
    reader.read(source)
    if message.format is None:
        raise UnknownFormat(found="XML without a camt.052, camt.053 or camt.054 message")
    if not message.drafts:
        raise NoStatements(format=message.format)
    _check_message(message.drafts, reader)
    return [draft.finish() for draft in message.drafts]


def _check_message(drafts: list[Draft], reader: UnitReader) -> None:
    """Hold the statements if the namespace or the number of entries contradicts them."""
    entry_count = sum(draft.entry_count for draft in drafts)
    version = _VERSION.fullmatch(reader.namespace)
    for draft in drafts:
        draft.version = version.group(1) if version else None
        if draft.version and not draft.version.startswith(draft.format):
            text = f"a {draft.format} message in the namespace of {draft.version}"
            draft.hold(HoldReason.FAMILY_DOUBT, text)
        if reader.raw_count != entry_count:
            text = f"{reader.raw_count} Ntry elements in the bytes, {entry_count} read"
            draft.hold(HoldReason.ENTRY_COUNT, text)


class _CamtMessage:
    """A message while it is read: takes finished units and makes statements of them."""

    def __init__(self, budget: Budget, name: str | None) -> None:
        self.budget = budget
        self.name = name
        self.format: str | None = None
        self.family = Family.STATEMENT
        self.drafts: list[Draft] = []
        self._side: Side | None = None
        self._details: list[Detail] = []
        self._packed: Packing[Detail] | None = None
        self._count = 0
        self._structured: list[Leaves] = []
        self._returned: Leaves | None = None
        self._balances: list[Balance] = []
        self._summaries: list[Leaves] = []

    def begin(self, kind: str, around: Leaves, line: int) -> None:
        """Begin a message, statement, entry or detail."""
        if kind in MESSAGES:
            self.format, self.family = MESSAGES[kind]
        elif kind == "statement":
            self.budget.spend_statement(f"line {line}")
            self._balances, self._summaries = [], []
            self.drafts.append(self._draft())
        elif kind == "entry":
            if not self.drafts[
                -1
            ].entry_count:  # entries need the account before them
                self.drafts[-1].account = fields.account(around)
            self._side, self._details, self._packed, self._count = None, [], None, 0
        elif kind == "detail":
            self._structured, self._returned = [], None

    def finish(self, kind: str, leaves: Leaves, around: Leaves, line: int) -> None:
        """Take one finished unit."""
        if kind == "detail":
            self._take_detail(leaves, around, line)
        elif kind == "entry":
            self._take_entry(leaves, line)
        elif kind == "structured":
            self._structured.append(leaves)
            self._check_parts(self._structured, line)
        elif kind == "returned":
            self._returned = leaves or None
        elif kind == "balance":
            self._take_balance(leaves, line)
        elif kind == "summary":
            self._summaries.append(leaves)
            self._check_parts(self._summaries, line)
        elif kind == "statement":
            conclude(self.drafts[-1], leaves, self._balances, self._summaries)

    def _draft(self) -> Draft:
        needs_balances = self.family is Family.STATEMENT
        return Draft(
            format=self.format or "",
            family=self.family,
            budget=self.budget,
            source=self.name,
            needs_balances=needs_balances,
        )

    @staticmethod
    def _check_parts(parts: Sized, line: int) -> None:
        if len(parts) > MAX_PARTS:
            raise TooManyEntries(f"line {line}", limit=MAX_PARTS)

    def _take_balance(self, leaves: Leaves, line: int) -> None:
        kind = fields.first(leaves, "Tp/CdOrPrtry/Cd", "Tp/Cd", "Tp/CdOrPrtry/Prtry") or ""
        if kind not in BALANCE_KINDS:
            return
        position = f"line {line}, Bal {kind}"
        try:
            self._balances.append(fields.balance(leaves, kind, position))
        except StatementRefused as refusal:
            self.drafts[-1].hold(HoldReason.BALANCE_UNREADABLE, str(refusal), position)
        self._check_parts(self._balances, line)

    def _take_detail(self, leaves: Leaves, entry: Leaves, line: int) -> None:
        self._count += 1
        position = f"line {line}, Ntry[{self.drafts[-1].entry_count + 1}]/TxDtls[{self._count}]"
        self.budget.spend_units(1, position)
        if self._side is None:
            sign, is_reversal = fields.direction(entry, position), fields.reversal(entry, position)
            self._side = Side(sign, is_reversal, self.drafts[-1].account.iban)
        sign, amount, currency = self._side.sign, None, None
        try:
            sign, amount, currency = amount_of(leaves, self._side, position)
        except (MoneyRefused, StructureRefused) as refusal:
            # the detail only splits the entry, which carries the money
            self.drafts[-1].hold(HoldReason.DETAIL_UNREADABLE, str(refusal), position)
        side = self._side if sign == self._side.sign else self._side._replace(sign=sign)
        self._details.append(
            detail_of(
                leaves,
                side,
                amount,
                currency,
                structured=self._structured,
                returned=self._returned,
            )
        )
        if len(self._details) > INLINE_DETAILS:
            self._pack_details()

    def _pack_details(self) -> Packing[Detail]:
        """Move the details of a large batch into a packed sequence."""
        packed = self._packed = self._packed or packing_details()
        for detail in self._details:
            packed.add(detail)
        self._details = []
        return packed

    def _take_entry(self, leaves: Leaves, line: int) -> None:
        draft = self.drafts[-1]
        position = f"line {line}, Ntry[{draft.entry_count + 1}]"
        details = tuple(self._details) if self._packed is None else self._pack_details().finish()
        entry = fields.entry(leaves, details, position)
        if entry.booking_date is None or entry.value_date is None:
            for day in fields.impossible_dates(leaves):
                text = f"{day!a} is not a day of the calendar"
                draft.hold(HoldReason.DATE_IMPOSSIBLE, text, position)
        draft.add(entry if len(details) > 1 else with_one_detail(entry))
