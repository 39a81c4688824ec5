"""The fields of camt elements, read from their texts by path: accounts, balances, entries."""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from billing.currencies import NO_CURRENCY
from billing.statements.camt import paths
from billing.statements.camt.parser import Leaves, Unit, unpacked_parts
from billing.statements.canonical import (
    Account,
    Detail,
    Entry,
    HoldReason,
    Reference,
    Status,
)
from billing.statements.draft import Draft
from billing.statements.errors import (
    BadDirection,
    MissingField,
    MoneyRefused,
    RepeatedField,
    StructureRefused,
    TooManyEntries,
)
from billing.statements.limits import MAX_CACHED_CHARS, MAX_PARTS, MAX_UNITS
from billing.statements.money import minor_of, plain_decimal
from billing.statements.packed import INLINE_DETAILS, Packing, packing_details
from billing.statements.references import drop_placeholder, party_account, plain_iban
from billing.statements.return_codes import is_return_code

_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2}|T[0-9:.]{5,20}(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)

_CURRENCIES = {path: f"{path}@Ccy" for path in ("Amt", "AmtDtls/TxAmt/Amt")}
# An amount of no more characters that begins with a digit above zero is not filled with zeros.
_PLAIN_CHARS = 9


class Side(NamedTuple):
    """The facts of an entry that its transactions need."""

    sign: int
    is_reversal: bool
    own_iban: str | None


def first(leaves: Leaves, *any_of: str) -> str | None:
    """The first text under the first of the paths that has one."""
    for path in any_of:
        if path in leaves:
            return leaves[path][0]
    return None


def day(leaves: Leaves, *any_of: str) -> date | None:
    """The day under the first of the paths that has a text."""
    text = first(leaves, *any_of)
    return iso_day(text) if text else None


def iso_day(text: str) -> date | None:
    """The day of an xs:date or xs:dateTime as printed; an offset does not move it."""
    return _iso_day(text) if len(text) <= MAX_CACHED_CHARS else None


@lru_cache(maxsize=4096)
def _iso_day(text: str) -> date | None:
    match = _ISO.fullmatch(text)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def _single(leaves: Leaves, path: str, position: str) -> str:
    texts = leaves.get(path)
    if texts is None:
        raise MissingField(position, field=path)
    if len(texts) > 1:
        raise RepeatedField(position, field=path)
    return texts[0]


def direction(leaves: Leaves, position: str) -> int:
    """1 for CRDT and -1 for DBIT, by CdtDbtInd alone: a reversal never flips the sign."""
    indicator = _single(leaves, "CdtDbtInd", position)
    sign = paths.DIRECTIONS.get(indicator)
    if sign is None:
        raise BadDirection(position, text=indicator)
    return sign


def _type_code(leaves: Leaves) -> str | None:
    """The bank transaction code as domain-family-subfamily, or the bank's own code.

    The bank's own code also counts before the domain's if it is the one that marks a return.
    """
    domain, own = leaves.get("BkTxCd/Domn/Cd"), first(leaves, "BkTxCd/Prtry/Cd")
    if domain is None or (own and is_return_code(own, of="camt")):
        return own
    code = domain[0]
    for path in ("BkTxCd/Domn/Fmly/Cd", "BkTxCd/Domn/Fmly/SubFmlyCd"):
        if path in leaves:
            code += f"-{leaves[path][0]}"
    return code


def read_account(leaves: Leaves) -> Account:
    """The account of the statement, from Acct."""
    iban = first(leaves, "Id/IBAN")
    return Account(
        other=first(leaves, "Id/Othr/Id", "Id/PrtryAcct/Id", "Id/BBAN"),
        bank=first(
            leaves,
            "Svcr/FinInstnId/BICFI",
            "Svcr/FinInstnId/BIC",
            "Svcr/FinInstnId/ClrSysMmbId/MmbId",
        ),
        owner=first(leaves, "Ownr/Nm"),
        currency=first(leaves, "Ccy"),
        iban=plain_iban(iban),
    )


def check_parts(count: int, line: int) -> None:
    """Refuse a file with too many parts of one transaction or statement."""
    if count > MAX_PARTS:
        raise TooManyEntries(f"line {line}", limit=MAX_PARTS)


def take_entry(unit: Unit, draft: Draft) -> None:
    """Read an entry with its transactions, and add it to the statement.

    An entry that can't be read holds the statement. Raises TooManyEntries.
    """
    place = f"Ntry[{draft.row_count + 1}]"
    position = f"line {unit.line}, {place}"
    try:
        entry, details = _read_entry(unit, draft, place, position)
    except (MoneyRefused, StructureRefused) as refusal:
        draft.skip(refusal, position)
        return
    draft.add(entry, details=details)


def _read_entry(unit: Unit, draft: Draft, place: str, position: str) -> tuple[Entry, int]:
    """Read an entry and the number of its transactions.

    Raises MissingField, RepeatedField, TooManyEntries and the errors of MoneyRefused.
    """
    leaves = unit.leaves
    side = _side_of(leaves, draft.account.iban, position)
    stated, currency = stated_amount(leaves, "Amt", position, draft)
    values = _values_of(leaves)
    bank_reference, customer_reference = first(leaves, "AcctSvcrRef"), first(leaves, "NtryRef")
    details = _read_details(unit, side, draft, place)
    amount = side.sign * minor_of(stated, currency, position)
    complete = details
    if not details:
        note = (values["note"],) if values["note"] else ()
        complete = (Detail(amount, currency, remittance=note),)
    elif len(details) == 1 and details[0].amount_minor is None:
        complete = (details[0]._replace(amount_minor=amount, currency=currency),)
    entry = Entry(
        position=position,
        amount_minor=amount,
        currency=currency,
        is_credit=side.sign > 0,
        is_reversal=side.is_reversal,
        bank_reference=drop_placeholder(bank_reference),
        customer_reference=drop_placeholder(customer_reference),
        corrects=None,
        details=complete,
        **values,
    )
    if entry.booking_date is None or entry.value_date is None:
        _hold_impossible_dates(leaves, draft, position)
    return entry, len(details)


def _side_of(leaves: Leaves, own_iban: str | None, position: str) -> Side:
    """The side of an entry. RvslInd is an xs:boolean that may be absent."""
    sign, flag = direction(leaves, position), first(leaves, "RvslInd") or "false"
    if flag not in paths.FLAGS:
        raise BadDirection(position, text=flag)
    return Side(sign, paths.FLAGS[flag], own_iban)


def stated_amount(leaves: Leaves, path: str, position: str, draft: Draft) -> tuple[str, str]:
    """The amount and its currency; without a currency, that of the account or its balances."""
    amount = _single(leaves, path, position)
    if not "1" <= amount[0] <= "9" or len(amount) > _PLAIN_CHARS:
        amount = plain_decimal(amount)
    currencies = leaves.get(_CURRENCIES[path])
    if currencies and currencies[0]:
        return amount, currencies[0]
    return amount, draft.account.currency or draft.currency or NO_CURRENCY


def _values_of(leaves: Leaves) -> dict[str, Any]:
    """The values of an entry that are no money and no references.

    A status is in Sts until version 7 and in Sts/Cd or Sts/Prtry since. It is None if it is absent;
    only a statement may take that as booked.
    """
    status = first(leaves, "Sts", "Sts/Cd", "Sts/Prtry")
    return {
        "status": None if status is None else paths.STATUSES.get(status, Status.OTHER),
        "booking_date": day(leaves, *paths.BOOKED),
        "value_date": day(leaves, *paths.VALUE),
        "type_code": _type_code(leaves),
        "note": first(leaves, "AddtlNtryInf"),
    }


def _hold_impossible_dates(leaves: Leaves, draft: Draft, position: str) -> None:
    """Hold the statement for a date of an entry that is no day of the calendar."""
    for text in (first(leaves, *paths.BOOKED), first(leaves, *paths.VALUE)):
        if text and iso_day(text) is None:
            message = f"{text!a} is not a day of the calendar"
            draft.hold(HoldReason.DATE_IMPOSSIBLE, message, position)


def _parts_of(unit: Unit) -> Iterable[Unit]:
    """The units inside a unit, to be iterated once."""
    return unpacked_parts(unit) if unit.blocks else unit.parts


def _read_details(entry: Unit, side: Side, draft: Draft, place: str) -> Sequence[Detail]:
    """Read the transactions of an entry; those of a large batch are kept packed.

    An unreadable amount holds the statement, for the entry carries the money and the detail only
    splits it. Raises TooManyEntries.
    """
    details: list[Detail] = []
    packed: Packing[Detail] | None = None
    for number, unit in enumerate(_parts_of(entry), 1):
        position = f"line {unit.line}, {place}/TxDtls[{number}]"
        if draft.budget.units + number > MAX_UNITS:
            raise TooManyEntries(position, limit=MAX_UNITS)
        details.append(_read_detail(unit, side, draft, position))
        if len(details) > INLINE_DETAILS:
            packed = packed or packing_details()
            packed.extend(details)
            details = []
    if packed is None:
        return tuple(details)
    packed.extend(details)
    return packed.finish()


def _read_detail(unit: Unit, side: Side, draft: Draft, position: str) -> Detail:
    """Read one TxDtls: its texts, then its amount, which the bank may not state.

    The amount is the transaction's own Amt or TxAmt, never the instructed amount or a charge.
    """
    leaves = unit.leaves
    path = "Amt" if "Amt" in leaves else "AmtDtls/TxAmt/Amt"
    try:
        sign = direction(leaves, position) if "CdtDbtInd" in leaves else side.sign
        stated = stated_amount(leaves, path, position, draft) if path in leaves else None
    except (MoneyRefused, StructureRefused) as refusal:
        sign, stated = side.sign, None
        draft.hold(HoldReason.DETAIL_UNREADABLE, str(refusal), position)
    values = _detail_values(unit, side, is_credit=sign > 0)
    if stated is not None:
        try:
            values["amount_minor"] = sign * minor_of(*stated, position)
            values["currency"] = stated[1]
        except MoneyRefused as refusal:
            draft.hold(HoldReason.DETAIL_UNREADABLE, str(refusal), position)
    return Detail(**values)


def _detail_values(unit: Unit, side: Side, *, is_credit: bool) -> dict[str, Any]:
    """The values of a TxDtls except its amount. Its texts are looped over, for most have few."""
    leaves = unit.leaves
    values: dict[str, Any] = {"type_code": _type_code(leaves)}
    remittance = leaves.get("RmtInf/Ustrd", [])
    structured, returned = _inner_units(unit)
    if structured:
        values["references"] = tuple(_references(structured))
        lines = [line for group in structured for line in group.get("AddtlRmtInf", ())]
        remittance = [*remittance, *lines]
    if returned:
        reason = first(returned, "Rsn/Cd", "Rsn/Prtry", "RtrRsn/Cd", "AddtlInf")
        values["return_reason"] = reason or "not stated"
    values["remittance"] = tuple(remittance)
    fields = _counterparty_fields(leaves, side, is_credit=is_credit)
    for path, texts in leaves.items():
        if path in fields:
            name, clean = fields[path]
            if name not in values:
                values[name] = clean(texts[0]) if clean else texts[0]
    if "counterparty_iban" in values:
        iban, other, note = party_account(values["counterparty_iban"])
        values["counterparty_iban"] = iban
        if iban is None:
            values.setdefault("counterparty_account", other)
            values["note"] = "\n".join(filter(None, (values.get("note"), note))) or None
    return values


def _inner_units(unit: Unit) -> tuple[list[Leaves], Leaves]:
    """The texts of each RmtInf/Strd, and those of RtrInf, which a returned transaction has."""
    structured: list[Leaves] = []
    returned: Leaves = {}
    for part in _parts_of(unit):
        if part.kind == "returned":
            returned = part.leaves
        else:
            structured.append(part.leaves)
            check_parts(len(structured), part.line)
    return structured, returned


def _counterparty_fields(leaves: Leaves, side: Side, *, is_credit: bool) -> paths.Fields:
    """The fields of the debtor for a credit, of the creditor for a debit.

    A reversal names the parties of the transaction that it reverses.
    """
    is_debtor = is_credit is not side.is_reversal
    if side.own_iban is not None:
        # some banks swap the roles in reversals; the party with our own account is not the other
        debtor, creditor = (
            path in leaves and plain_iban(leaves[path][0]) == side.own_iban
            for path in (paths.DEBTOR_IBAN, paths.CREDITOR_IBAN)
        )
        if debtor is not creditor:
            is_debtor = creditor
    return paths.DEBTOR if is_debtor else paths.CREDITOR


def _references(structured: list[Leaves]) -> list[Reference]:
    references = []
    for leaves in structured:
        kind = first(leaves, *paths.REFERENCE_KINDS) or ""
        for path in ("CdtrRefInf/Ref", "CdtrRefInf/CdtrRef"):
            references += [Reference(kind, text) for text in leaves.get(path, ())]
        kind = first(leaves, *paths.DOCUMENT_KINDS) or "document"
        for path in ("RfrdDocInf/Nb", "RfrdDocInf/RfrdDocNb"):
            references += [Reference(kind, text) for text in leaves.get(path, ())]
    return references
