"""The BAI2 reader, built on the bai2 library.

Amounts are checked before the library parses them, and control totals are counted after it.
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, BinaryIO

from bai2 import bai2
from bai2.constants import AsOfDateModifier, GroupStatus
from bai2.exceptions import NotSupportedYetException, ParsingException

from billing.currencies import NO_CURRENCY
from billing.statements.bai2.checks import check_account, check_sums
from billing.statements.bai2.fields import balance_of, entry_of
from billing.statements.bai2.records import DetailRow, aligned, detail_row
from billing.statements.canonical import Account, Family, HoldReason, Statement
from billing.statements.draft import Budget, Draft, hold_doubtful_encoding
from billing.statements.errors import (
    BadLine,
    Bai2Refused,
    FileTooLarge,
    MoneyRefused,
    Truncated,
)
from billing.statements.limits import MAX_BAI2_BYTES
from billing.statements.money import currency_exponent
from billing.statements.references import plain_iban
from billing.statements.source import guess_encoding, lines_of

# The library's int() accepts underscores and the digits of every script, which an amount may not
# have.
_UNSAFE_NUMBER = re.compile(r"[0-9]_[0-9]|[^\x00-\x7f]")
# Records of codes and numbers only. In 16 only the first fields are numbers; 88 continues the
# record before it.
_NUMERIC = frozenset({"03", "49", "98", "99"})
_NO_PROOF = "no balances prove the direction of a type code that BAI leaves to the bank"
_OPENING, _CLOSING = "010", "015"
_SAME_DAY = {AsOfDateModifier.interim_same_day, AsOfDateModifier.final_same_day}
# Errors of the library on a file that it can't read: its own, and those of Python inside it.
_LIBRARY_ERRORS = (
    ParsingException,
    NotSupportedYetException,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    StopIteration,
)


def read_bai2(source: BinaryIO, budget: Budget, name: str | None = None) -> list[Statement]:
    """Read one statement for each account of each group; raises the errors of StatementRefused.

    Wrong control totals or counts hold every statement that they cover.
    """
    if source.seek(0, 2) > MAX_BAI2_BYTES:
        raise FileTooLarge(limit=MAX_BAI2_BYTES)
    source.seek(0)
    encoding, is_doubtful = guess_encoding(source)
    lines, details = _checked_lines(source, encoding)
    file = _parse(lines)
    rows = iter(details)
    drafts = []
    for group in file.children:
        of_group = [_read_account(account, group, rows, budget, name) for account in group.children]
        check_sums(
            of_group,
            "98",
            group,
            group.trailer.group_control_total,
            group.trailer.number_of_accounts,
        )
        drafts += of_group
    check_sums(drafts, "99", file, file.trailer.file_control_total, file.trailer.number_of_groups)
    if is_doubtful:
        hold_doubtful_encoding(drafts, encoding)
    return [draft.finish() for draft in drafts]


def _checked_lines(source: BinaryIO, encoding: str) -> tuple[list[str], list[DetailRow]]:
    """The records as lines for the library, and the facts of each record 16.

    Raises BadLine if a balance or total is no plain number, and Truncated.
    """
    lines, details, kind = [], [], ""
    for number, line in lines_of(source, encoding):
        record = line.strip()
        if not record:
            continue
        position = f"line {number}"
        kind = kind if record.startswith("88") else record[:2]
        if record.startswith("16"):
            record, row = detail_row(record, position)
            details.append(row)
        elif kind in _NUMERIC and _UNSAFE_NUMBER.search(record):
            raise BadLine(position, field=f"record {kind}", text=record)
        lines.append(record)
    if kind != "99":  # without it the library would read the record before it forever
        raise Truncated(f"after record {len(lines)}", inside="a BAI2 file")
    return lines, details


def _parse(lines: list[str]) -> Any:
    """Parse the file with the library: as it is, or else with its continued records in one line.

    Its integrity check is off, because it damages the library's rows; ours comes afterwards and
    reports the exact difference.
    """
    try:
        return bai2.parse_from_lines(lines, check_integrity=False)
    except _LIBRARY_ERRORS as error:
        refusal = Bai2Refused(reason=f"{type(error).__name__}: {error}")
    try:
        return bai2.parse_from_lines(list(aligned(lines)), check_integrity=False)
    except _LIBRARY_ERRORS:
        raise refusal from None


def _read_account(
    account: Any, group: Any, rows: Iterator[DetailRow], budget: Budget, name: str | None
) -> Draft:
    head, above = account.header, group.header
    number = head.customer_account_number
    budget.spend_statement(f"account {number}")
    currency = (head.currency or above.currency).upper()
    # the amounts are minor units already; this only refuses a text that is no currency
    currency_exponent(currency, f"account {number}")
    iban = plain_iban(number)
    draft = Draft(
        format="BAI2",
        family=Family.REPORT if above.as_of_date_modifier in _SAME_DAY else Family.STATEMENT,
        budget=budget,
        source=name,
        account=Account(
            iban=iban, other=None if iban else number, bank=above.originator_id, currency=currency
        ),
        currency=currency,
        from_date=above.as_of_date,
        to_date=above.as_of_date,
    )
    if above.group_status is not GroupStatus.update:
        message = f"the group is marked {above.group_status.name}, not update"
        draft.hold(HoldReason.FAMILY_DOUBT, message)
    draft.opening = balance_of(account, _OPENING, currency, above.as_of_date)
    draft.closing = balance_of(account, _CLOSING, currency, above.as_of_date)
    for detail in account.children:
        _take_detail(draft, detail, next(rows), above.as_of_date)
    check_account(draft, account)
    return draft


def _take_detail(draft: Draft, detail: Any, row: DetailRow, as_of: date) -> None:
    """Add a record 16; a status of the bank's own is no money, and becomes a note."""
    if row.refusal is not None:
        draft.skip(row.refusal, row.position)
        return
    try:
        entry = entry_of(detail, draft.currency or NO_CURRENCY, as_of, row.position)
    except MoneyRefused as refusal:
        draft.skip(refusal, row.position)
        return
    if row.is_status:
        texts = " ".join(entry.details[0].remittance)
        draft.note(f"{row.position}: status {row.own_code} {detail.amount or 0} {texts}".strip())
        return
    if row.own_code is not None:
        entry = entry._replace(type_code=row.own_code, note=None)
        if draft.opening is None or draft.closing is None:
            draft.hold(HoldReason.BALANCE_MISSING, _NO_PROOF, row.position)
    draft.add(entry)
