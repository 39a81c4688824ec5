"""The camt reader: streams a message and keeps the entries of one chunk in memory at a time."""

import re
from itertools import chain
from typing import BinaryIO

from billing.statements.camt import paths
from billing.statements.camt.balances import Balances
from billing.statements.camt.fields import check_parts, day, first, read_account, take_entry
from billing.statements.camt.parser import Leaves, UnitReader
from billing.statements.canonical import Account, Family, HoldReason, Statement, Total
from billing.statements.draft import Budget, Draft
from billing.statements.errors import MoneyRefused, NoStatements, UnknownFormat
from billing.statements.money import currency_exponent, plain_decimal, to_minor

_VERSION = re.compile(r"urn:.{0,40}:(camt\.05[234]\.\d{3}\.\d{2})")


def read_camt(source: BinaryIO, budget: Budget, name: str | None = None) -> list[Statement]:
    """Read all statements of one camt file; raises the errors of StatementRefused."""
    reader = UnitReader(
        paths.UNITS, containers=paths.CONTAINERS, wrappers=paths.WRAPPERS, counted="Ntry"
    )
    format_, family = "", Family.STATEMENT
    drafts: list[Draft] = []
    balances = Balances()
    summaries: list[Leaves] = []
    for has_ended, unit in chain.from_iterable(reader.read(source)):
        if unit.kind == "entry":
            take_entry(unit, drafts[-1])
        elif unit.kind == "balance":
            balances.take(unit, drafts[-1])
        elif unit.kind == "account" and drafts[-1].account == Account():
            drafts[-1].account = read_account(unit.leaves)
        elif unit.kind == "summary":
            summaries.append(unit.leaves)
            check_parts(len(summaries), unit.line)
        elif unit.kind in paths.MESSAGES:
            format_, family = paths.MESSAGES[unit.kind]
        elif unit.kind == "statement" and has_ended:
            _conclude(drafts[-1], unit.leaves, balances, summaries)
        elif unit.kind == "statement":
            budget.spend_statement(f"line {unit.line}")
            balances, summaries = Balances(), []
            drafts.append(Draft(format=format_, family=family, budget=budget, source=name))
            drafts[-1].needs_balances = family is Family.STATEMENT
    if not format_:
        raise UnknownFormat(found="XML without a camt.052, camt.053 or camt.054 message")
    if not drafts:
        raise NoStatements(format=format_)
    _check_message(drafts, reader)
    return [draft.finish() for draft in drafts]


def _check_message(drafts: list[Draft], reader: UnitReader) -> None:
    """Hold the statements if the namespace or the number of entries contradicts them."""
    entry_count = sum(draft.row_count for draft in drafts)
    version = _VERSION.fullmatch(reader.namespace)
    for draft in drafts:
        draft.version = version.group(1) if version else None
        if draft.version and not draft.version.startswith(draft.format):
            text = f"a {draft.format} message in the namespace of {draft.version}"
            draft.hold(HoldReason.FAMILY_DOUBT, text)
        if reader.raw_count != entry_count:
            text = f"{reader.raw_count} Ntry elements in the bytes, {entry_count} read"
            draft.hold(HoldReason.ENTRY_COUNT, text)


def _conclude(draft: Draft, header: Leaves, balances: Balances, summaries: list[Leaves]) -> None:
    """Fill in the header and the balances, and check the bank's transaction summary."""
    draft.currency = draft.account.currency
    draft.statement_id = first(header, "Id")
    draft.sequence = first(header, "ElctrncSeqNb", "LglSeqNb")
    draft.page = first(header, "StmtPgntn/PgNb", "RptPgntn/PgNb", "NtfctnPgntn/PgNb")
    draft.created = first(header, "CreDtTm")
    draft.from_date = day(header, "FrToDt/FrDtTm", "FrToDt/FrDt")
    draft.to_date = day(header, "FrToDt/ToDtTm", "FrToDt/ToDt")
    balances.conclude(draft, header)
    for summary in summaries:
        _check_summary(draft, summary)


def _check_summary(draft: Draft, summary: Leaves) -> None:
    """Check TxsSummry, which one file of fifty has, one of five of those with wrong figures."""
    totals = draft.totals()
    if len(totals) > 1:  # the statement is held anyway, and a sum over currencies means nothing
        return
    total = totals[0] if totals else Total(draft.currency or "EUR", 0, 0, 0, 0)
    exponent = currency_exponent(total.currency, "TxsSummry")
    for group, count, amount in (
        ("TtlNtries", total.credits + total.debits, total.credits_minor + total.debits_minor),
        ("TtlCdtNtries", total.credits, total.credits_minor),
        ("TtlDbtNtries", total.debits, total.debits_minor),
    ):
        stated_count = first(summary, f"{group}/NbOfNtries")
        stated_sum = first(summary, f"{group}/Sum")
        try:
            if stated_count:
                count_text = plain_decimal(stated_count)
                stated = to_minor(count_text, exponent=0, position="TxsSummry")
                draft.check(f"{group}/NbOfNtries", stated=stated, found=count)
            if stated_sum:
                sum_text = plain_decimal(stated_sum)
                stated = to_minor(sum_text, exponent=exponent, position="TxsSummry")
                draft.check(f"{group}/Sum", stated=stated, found=amount)
        except MoneyRefused as refusal:
            draft.hold(HoldReason.CONTROL_TOTAL, str(refusal))
