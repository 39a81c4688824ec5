"""Keys of lines: the same line gets the same key, whatever file brought it.

With the bank's own reference, the key covers account, reference, amount, currency and booking date.
Without, it covers both dates, the type code and all words. Equal lines of one statement are
counted, so that overlapping files merge as multisets and a real double is kept.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, NamedTuple, TextIO

from billing.statements.canonical import Detail, Entry, Family, Statement, Status
from billing.statements.plain import plain_entry
from billing.statements.references import is_cut_iban, is_usable_bank_id, plain_iban

#: Transactions of one batch that are kept; the largest real batch seen had some hundreds. A larger
#: one is kept without them, and then only a reviewer can apply it.
MAX_BATCH = 2_000
#: Characters of an account number or a bank's reference; real ones have up to some fifty.
MAX_INDEXED = 100
#: The beginning of the account number of a statement that names no account.
UNSTATED = "unstated/"
#: The first digit of a UUID's fourth group: two bits of it say which layout the UUID has.
_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
#: Characters that JSON in Postgres can't hold -> their replacement.
_UNSTORABLE = {0: "\ufffd", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}

_as_json = json.JSONEncoder(sort_keys=True).encode


class KeyedLine(NamedTuple):
    """A line with its key and its wording's digest; `payload` is the entry as JSON."""

    key: str
    wording: str
    payload: str
    currency: str
    amount_minor: int
    status: str
    day: str | None
    bank_reference: str | None


def account_of(statement: Statement, stated: str | None = None) -> str:
    """The account's number: its IBAN, else bank and number, else the sender's statement of it.

    A statement that names no account is an account of its own, so that no two are mixed up.
    """
    account = statement.account
    if account.iban:
        return account.iban
    if account.other:
        return _indexable(f"{account.bank}/{account.other}" if account.bank else account.other)
    return stated or f"{UNSTATED}{digest(*_identity(statement, ''))}"


def _indexable(text: str) -> str:
    """The text, short enough for an index: a digest replaces the end of a hostile one."""
    plain = text.translate(_UNSTORABLE)
    return plain if len(plain) <= MAX_INDEXED else f"{plain[:MAX_INDEXED]}~{digest(plain)}"


def identity_of(statement: Statement, account: str) -> str:
    """A digest of all that names a statement. The id alone repeats every year."""
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


def _keyed_lines(
    statement: Statement, account: str, taken: Collection[str]
) -> Iterator[tuple[str, KeyedLine]]:
    """The statement's lines, each after its key within the statement.

    The line's own key is the next that the other pages of the statement have not `taken`. A line
    without any date is of the day of the closing balance.
    """
    counts: Counter[str] = Counter()
    shifts: Counter[str] = Counter()
    closing_day = (statement.closing and statement.closing.day) or statement.to_date
    for entry in statement.entries:
        reference, status = _bank_reference(entry), _status(entry, statement.family)
        day = entry.booking_date or entry.value_date or closing_day
        common = (
            account,
            statement.format,
            status,
            entry.amount_minor,
            entry.currency,
            entry.is_reversal,
            day,
        )
        content = _words(entry, common) if reference is None else ("reference", *common, reference)
        alike = digest(*content)
        counts[alike] += 1
        payload = payload_of(entry)
        local_key = key = digest(alike, counts[alike])
        while taken and (key := digest(alike, counts[alike] + shifts[alike])) in taken:
            shifts[alike] += 1
        yield (
            local_key,
            KeyedLine(
                key=key,
                wording=digest(payload),
                payload=payload,
                currency=entry.currency,
                amount_minor=entry.amount_minor,
                status=status,
                day=day.isoformat() if day else None,
                bank_reference=_indexable(reference) if reference else None,
            ),
        )


def spool(
    statement: Statement, account: str, out: TextIO, *, taken: Collection[str] = ()
) -> tuple[list[str], int]:
    """Write the statement's keyed lines into a file.

    Return the digests that tell them apart, and the number of booked lines without a day. A large
    statement does not fit into memory, and its own digest needs all of its lines. `taken` are the
    keys of the lines on its other pages; the digests do not depend on them.
    """
    digests, undated = [], 0
    for local_key, line in _keyed_lines(statement, account, taken):
        digests += [local_key, line.wording]
        undated += line.day is None and line.status == Status.BOOKED.value
        out.write(json.dumps(line) + "\n")
    return digests, undated


def spooled(source: TextIO, *, size: int) -> Iterator[list[KeyedLine]]:
    """Read the lines of such a file, in batches of this size."""
    source.seek(0)
    while batch := [KeyedLine(*json.loads(line)) for line in islice(source, size)]:
        yield batch


def _words(entry: Entry, common: tuple[object, ...]) -> tuple[object, ...]:
    """The content of an entry that the bank gave no reference."""
    words = digest(
        *[
            part
            for detail in entry.details
            for part in (
                detail.amount_minor,
                detail.counterparty_iban or _cut_iban(detail),
                detail.end_to_end_id,
                detail.transaction_id,
                *[reference.value for reference in detail.references],
                " ".join(" ".join(detail.remittance).upper().split()),
            )
        ]
    )
    return ("said", *common, entry.value_date, entry.type_code, entry.customer_reference, words)


def _cut_iban(detail: Detail) -> str | None:
    """The counterparty's account if the bank cut its IBAN; older lines have it as an IBAN."""
    account = detail.counterparty_account
    return plain_iban(account) if is_cut_iban(account) else None


def _bank_reference(entry: Entry) -> str | None:
    """The bank's own reference, if it can tell lines apart."""
    details = entry.details if len(entry.details) == 1 else ()
    for text in (entry.bank_reference, *[detail.bank_reference for detail in details]):
        if is_usable_bank_id(text):
            return text
    return None


def _status(entry: Entry, family: Family) -> str:
    """The entry's status. Without one, it is booked in a statement, else unknown."""
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
    # In ASCII, NUL and half a character are visible as escapes.
    if "\\u0000" in text or "\\ud" in text:
        text = _as_json(_storable(payload))
    return text


def _storable(value: Any) -> Any:
    """The value without NUL and half characters, which a bank's text may hold."""
    if isinstance(value, str):
        return value.translate(_UNSTORABLE)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {name: _storable(item) for name, item in value.items()}
    return value


def digest(*parts: object) -> str:
    """A version 8 UUID of the parts (RFC 9562, 5.8), for a primary key."""
    joined = "\x1f".join(["" if part is None else str(part) for part in parts])
    hashed = hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()
    variant = _VARIANTS[hashed[16]]
    return f"{hashed[:8]}-{hashed[8:12]}-8{hashed[13:16]}-{variant}{hashed[17:20]}-{hashed[20:32]}"
