"""The records of a BAI2 file, written so that the bai2 library reads what banks send.

The library knows BAI's own type codes only, and splits a continued record 03 by counting commas.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from bai2.constants import FundsType, TypeCodes

from billing.statements.errors import BadDirection, BadLine, StatementRefused

# The library's int() accepts signs, underscores and the digits of every script, which an amount may
# not have.
_DETAIL = re.compile(
    r"16,(?P<code>[0-9]{3}),\+?[0-9]{0,18},(?P<funds>[ZSVD0-9]?)(?:,|/|$).*", re.ASCII | re.DOTALL
)
_VALUE_DATED = re.compile(r"16,[0-9]{3},\+?[0-9]*,V,(?:[0-9]{6})?,.*", re.ASCII | re.DOTALL)
# Codes that stand for one that the library does not know: any credit, any debit, a status.
_ANY_CREDIT, _ANY_DEBIT, _ANY_STATUS = "108", "409", "057"
# The ranges of type codes (BAI2, appendix A); those from 900 are the bank's own.
_CREDITS = (range(100, 400), range(920, 960))
_DEBITS = (range(400, 700), range(960, 1000))
_OWN_STATUS = range(900, 920)
_FUNDS_TYPES = frozenset({"", *(kind.value for kind in FundsType)})
_UNREADABLE = f"16,{_ANY_CREDIT},,,,,/"


class DetailRow(NamedTuple):
    """The place of a record 16, and what the library can't know of it.

    `own_code` is a type code of the bank's own; `is_status` says that it is no money. `refusal`
    says why the record can't be read.
    """

    position: str
    own_code: str | None = None
    is_status: bool = False
    refusal: StatementRefused | None = None


def detail_row(record: str, position: str) -> tuple[str, DetailRow]:
    """The record 16 for the library, and what is left out of it."""
    match = _DETAIL.fullmatch(record)
    is_readable = match is not None and (match["funds"] != "V" or _VALUE_DATED.fullmatch(record))
    if match is None or not is_readable:
        refusal: StatementRefused = BadLine(position, field="record 16", text=record)
        return _UNREADABLE, DetailRow(position, refusal=refusal)
    code = match["code"]
    if code in TypeCodes:
        return record, DetailRow(position)
    known = _known_code(code)
    if known is not None:
        return f"16,{known}{record[6:]}", DetailRow(position, own_code=code)
    if int(code) in _OWN_STATUS:
        return f"16,{_ANY_CREDIT}{record[6:]}", DetailRow(position, own_code=code, is_status=True)
    refusal = BadDirection(position, text=f"type code {code}")
    return _UNREADABLE, DetailRow(position, refusal=refusal)


def _known_code(code: str) -> str | None:
    """The library's code for any credit or debit, by the range of a code that it does not know."""
    if any(int(code) in codes for codes in _CREDITS):
        return _ANY_CREDIT
    return _ANY_DEBIT if any(int(code) in codes for codes in _DEBITS) else None


def aligned(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines with each record 03 whole in its first line, four fields a summary.

    Its continuation lines stay, empty, because the bank counts them.
    """
    number = 0

    def record_of(line: str) -> int:
        nonlocal number
        number += not line.startswith("88")
        return number

    for _, record in groupby(lines, key=record_of):
        first, *more = record
        if first.startswith("03"):
            rows = [row[3:].removesuffix("/") for row in (first, *more)]
            yield "03," + ",".join(_summaries(",".join(rows).split(",")))
            yield from ["88,"] * len(more)
        else:
            yield _filled(first)
            yield from more


def _summaries(fields: list[str]) -> Iterator[str]:
    """Yield account and currency, then four fields or more for each summary."""
    yield from (*fields, "", "")[:2]
    at = 2
    while at < len(fields):
        code = fields[at].strip()
        if not code:
            at += 1
            continue
        amount, count, funds = (fields[at + 1 : at + 4] + [""] * 3)[:3]
        if funds in _FUNDS_TYPES:
            at += 4
        else:  # the bank leaves out the last commas of a summary
            funds = ""
            at += 3
        more = _availability_fields(funds, fields[at : at + 1])
        availability = [field or "0" for field in fields[at : at + more]]
        at += more
        known = code if code in TypeCodes else _known_code(code) or _ANY_STATUS
        yield from (known, amount, count, funds, *availability)


def _availability_fields(funds: str, following: list[str]) -> int:
    """The number of fields that follow a funds type: days and amounts."""
    if funds == FundsType.distributed_availability.value:
        return 1 + 2 * int(following[0]) if following and following[0].isdecimal() else 0
    return {"S": 3, "V": 2}.get(funds, 0)


def _filled(record: str) -> str:
    """The record 16 with zeros for the amounts of immediate availability that are left out."""
    fields = record.split(",")
    if fields[0] == "16" and fields[3:4] == ["S"] and len(fields) > 7:
        fields[4:7] = [amount or "0" for amount in fields[4:7]]
    return ",".join(fields)
