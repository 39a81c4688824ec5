"""The camt reader: streams a message and keeps one entry in memory at a time."""

import re
from typing import BinaryIO

from billing.statements.camt import fields
from billing.statements.camt.checks import BALANCE_KINDS, conclude
from billing.statements.camt.details import check_parts, read_details
from billing.statements.camt.parser import OUTSIDE, UnitReader, Units
from billing.statements.camt.units import Leaves, Unit
from billing.statements.canonical import Balance, Detail, Entry, Family, HoldReason, Statement
from billing.statements.draft import Draft
from billing.statements.errors import (
    NoStatements,
    StatementRefused,
    UnknownFormat,
)
from billing.statements.limits import Budget

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
_CONTAINERS = frozenset({*MESSAGES, "statement"})
_VERSION = re.compile(r"urn:.{0,40}:(camt\.05[234]\.\d{3}\.\d{2})")


def read_camt(source: BinaryIO, budget: Budget, name: str | None = None) -> list[Statement]:
    """Read all statements of one camt file; raises the errors of StatementRefused."""
    message = _CamtMessage(budget, name)
    reader = UnitReader(
        _UNITS,
        message.begin,
        message.finish,
        containers=_CONTAINERS,
        wrappers=fields.WRAPPERS,
        counted="Ntry",
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
        self._balances: list[Balance] = []
        self._summaries: list[Leaves] = []

    def begin(self, kind: str, line: int) -> None:
        """Begin a message or a statement."""
        if kind in MESSAGES:
            self.format, self.family = MESSAGES[kind]
        else:
            self.budget.spend_statement(f"line {line}")
            self._balances, self._summaries = [], []
            self.drafts.append(self._draft())

    def finish(self, unit: Unit, around: Leaves) -> None:
        """Take an entry, balance or summary with the header before it, or end a statement."""
        if unit.kind == "entry":
            self._take_entry(unit, around)
        elif unit.kind == "balance":
            self._take_balance(unit.leaves, unit.line)
        elif unit.kind == "summary":
            self._summaries.append(unit.leaves)
            check_parts(self._summaries, unit.line)
        elif unit.kind == "statement":
            conclude(self.drafts[-1], unit.leaves, self._balances, self._summaries)

    def _draft(self) -> Draft:
        needs_balances = self.family is Family.STATEMENT
        return Draft(
            format=self.format or "",
            family=self.family,
            budget=self.budget,
            source=self.name,
            needs_balances=needs_balances,
        )

    def _take_balance(self, leaves: Leaves, line: int) -> None:
        kind = fields.first(leaves, "Tp/CdOrPrtry/Cd", "Tp/Cd", "Tp/CdOrPrtry/Prtry") or ""
        if kind not in BALANCE_KINDS:
            return
        position = f"line {line}, Bal {kind}"
        try:
            self._balances.append(fields.balance(leaves, kind, position))
        except StatementRefused as refusal:
            self.drafts[-1].hold(HoldReason.BALANCE_UNREADABLE, str(refusal), position)
        check_parts(self._balances, line)

    def _take_entry(self, unit: Unit, header: Leaves) -> None:
        draft = self.drafts[-1]
        if not draft.entry_count:  # the details need our account
            draft.account = fields.account(header)
        place = f"Ntry[{draft.entry_count + 1}]"
        position = f"line {unit.line}, {place}"
        details = read_details(unit, draft, place)
        entry = fields.entry(unit.leaves, details, position)
        if entry.booking_date is None or entry.value_date is None:
            for day in fields.impossible_dates(unit.leaves):
                text = f"{day!a} is not a day of the calendar"
                draft.hold(HoldReason.DATE_IMPOSSIBLE, text, position)
        draft.add(entry if len(details) > 1 else _with_one_detail(entry))


def _with_one_detail(entry: Entry) -> Entry:
    """Complete an entry of at most one transaction: the detail has the amount of the entry."""
    if not entry.details:
        note = (entry.note,) if entry.note else ()
        detail = Detail(entry.amount_minor, entry.currency, remittance=note)
        return entry._replace(details=(detail,))
    detail = entry.details[0]
    if detail.amount_minor is not None:
        return entry
    detail = detail._replace(amount_minor=entry.amount_minor, currency=entry.currency)
    return entry._replace(details=(detail,))
