"""What tells one line of a bank's history from every other, whatever file brought it.

With a bank's own reference: account, reference, amount, currency, booking date. Without: both
dates, type code and all that the line says. Equal lines of one statement are told apart by counting
them, so that files that overlap merge as multisets and a real double is kept.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from billing.statements.canonical import Detail, Entry, Family, Statement, Status
from billing.statements.plain import plain_entry
from billing.statements.references import is_usable_bank_id

#: Transactions of one batch that are kept; the largest real batch seen had some hundreds. A larger
#: one is kept without them, and then nothing of it is applied but by a person.
MAX_BATCH = 2_000
#: Characters of an account number or a bank's reference; real ones have up to some fifty.
MAX_INDEXED = 100
#: The first digit of a UUID's fourth group: two bits of it say which layout the UUID has.
_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
#: What JSON in Postgres can't hold, and what stands there instead.
_UNSTORABLE = {0: "\ufffd", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}

_as_json = json.JSONEncoder(sort_keys=True).encode


class Keyed(NamedTuple):
    """A line with its key and the digest of its wording; `payload` is the entry as JSON."""

    key: str
    wording: str
    payload: str
    currency: str
    amount_minor: int
    status: str
    day: str | None
    bank_reference: str | None


def account_of(statement: Statement, stated: str | None = None) -> str:
    """The account's number: its IBAN, else bank and number, else what the sender stated.

    A statement that names no account is an account of its own, so that no two are mixed up.
    """
    named = statement.account
    if named.iban:
        return named.iban
    if named.other:
        return indexable(f"{named.bank}/{named.other}" if named.bank else named.other)
    return stated or f"unstated/{digest(*_identity(statement, ''))}"


def indexable(text: str) -> str:
    """The text as an index takes it: a hostile one is cut, and what is cut off becomes a digest."""
    plain = text.translate(_UNSTORABLE)
    return plain if len(plain) <= MAX_INDEXED else f"{plain[:MAX_INDEXED]}~{digest(plain)}"


def identity_of(statement: Statement, account: str) -> str:
    """What names a statement. The id alone repeats every year."""
    return digest(*_identity(statement, account))


def _identity(statement: Statement, account: str) -> tuple[object, ...]:
    opening, closing = statement.opening, statement.closing
    return (
        "statement",
        account,
        statement.format,
        statement.family.value,
        statement.currency,
        statement.statement_id,
        statement.sequence,
        statement.page,
        statement.from_date,
        statement.to_date,
        *(opening or (None,) * 4),
        *(closing or (None,) * 4),
    )


def keyed_lines(statement: Statement, account: str) -> Iterator[Keyed]:
    """The statement's lines, each with its key."""
    seen: Counter[str] = Counter()
    for entry in statement.entries:
        alike = digest(*_content(entry, statement, account))
        seen[alike] += 1
        payload = payload_of(entry)
        day = entry.booking_date or entry.value_date
        reference = bank_reference_of(entry)
        yield Keyed(
            key=digest(alike, seen[alike]),
            wording=digest(payload),
            payload=payload,
            currency=entry.currency,
            amount_minor=entry.amount_minor,
            status=status_of(entry, statement.family),
            day=day.isoformat() if day else None,
            bank_reference=indexable(reference) if reference else None,
        )


def status_of(entry: Entry, family: Family) -> str:
    """The entry's status. One that states none is booked in a statement, else unknown."""
    if entry.status is not None:
        return entry.status.value
    return Status.BOOKED.value if family is Family.STATEMENT else Status.OTHER.value


def payload_of(entry: Entry) -> str:
    """The entry as JSON, less its place in the file."""
    is_large = len(entry.details) > MAX_BATCH
    kept = entry._replace(details=(Detail(), Detail())) if is_large else entry
    payload = plain_entry(kept)
    del payload["position"]
    if is_large:
        payload["details"], payload["split_agrees"] = [], False
    text = _as_json(payload)
    # In ASCII both show themselves: NUL as one escape, half a character as another.
    if "\\u0000" in text or "\\ud" in text:
        text = _as_json(_storable(payload))
    return text


def _storable(value: Any) -> Any:
    """The value without NUL and half characters, which a bank's text may hold."""
    if isinstance(value, str):
        return value.translate(_UNSTORABLE)
    if isinstance(value, list):
        return [_storable(each) for each in value]
    if isinstance(value, dict):
        return {name: _storable(each) for name, each in value.items()}
    return value


def digest(*parts: object) -> str:
    """A version 8 UUID of the parts (RFC 9562, 5.8), for a primary key."""
    joined = "\x1f".join(["" if part is None else str(part) for part in parts])
    hashed = hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()
    variant = _VARIANTS[hashed[16]]
    return f"{hashed[:8]}-{hashed[8:12]}-8{hashed[13:16]}-{variant}{hashed[17:20]}-{hashed[20:32]}"


def bank_reference_of(entry: Entry) -> str | None:
    """The bank's own reference, if it can tell lines apart."""
    only = entry.only_detail
    for text in (entry.bank_reference, only.bank_reference if only else None):
        if is_usable_bank_id(text):
            return text
    return None


def _content(entry: Entry, statement: Statement, account: str) -> tuple[object, ...]:
    reference = bank_reference_of(entry)
    common = (
        account,
        statement.format,
        status_of(entry, statement.family),
        entry.amount_minor,
        entry.currency,
        entry.is_reversal,
        entry.booking_date or entry.value_date,
    )
    if reference is not None:
        return ("reference", *common, reference)
    said = digest(*[part for detail in entry.details for part in _said(detail)])
    return ("said", *common, entry.value_date, entry.type_code, entry.customer_reference, said)


def _said(detail: Detail) -> tuple[object, ...]:
    return (
        detail.amount_minor,
        detail.counterparty_iban,
        detail.end_to_end_id,
        detail.transaction_id,
        *[reference.value for reference in detail.references],
        " ".join(" ".join(detail.remittance).upper().split()),
    )
