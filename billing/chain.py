"""A seal on each entry that covers the one before: a change to any entry breaks every later seal.

With a secret key (BILLING_LEDGER_KEY) the seals are HMACs, which someone with SQL access alone
cannot make anew; without it they still show a careless change. The opening entry is not sealed:
the first seal covers the opening balance itself.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from decimal import Decimal

from billing import arrays
from billing.accounts import Entry

#: Separates the parts of what is sealed; no part may hold it.
_SEPARATOR = "\x1f"


def genesis(account_id: int, opening_credits: int) -> bytes:
    """What the first seal of an account covers in place of an entry."""
    return f"{account_id}{_SEPARATOR}{opening_credits}".encode()


def seal(key: bytes | None, previous: bytes, entry: Entry) -> bytes:
    """The 32 bytes that seal `entry`, whose times are in UTC, after `previous`."""
    said = (
        entry.id,
        entry.account_id,
        entry.type,
        entry.amount,
        entry.balance_after,
        entry.description,
        entry.key,
        entry.actor,
        entry.reference,
        entry.units,
        arrays.moment(entry.happened_at),
        arrays.moment(entry.recorded_at),
        # Lists of integers: their repr is the same however they were made.
        repr(entry.lots),
        entry.details and json.dumps(_canonical(entry.details), sort_keys=True),
    )
    covered = previous + _SEPARATOR.join([str(part) for part in said]).encode()
    if key is None:
        return hashlib.sha256(covered).digest()
    return hmac.digest(key, covered, "sha256")


def _canonical(value: object) -> object:
    """JSON as it comes back from Postgres: a number may have lost its spelling, not its value."""
    match value:
        case bool() | str() | None:
            return value
        case int() | float():
            number = Decimal(repr(value)).normalize()
            return f"{number + 0:f}"
        case Mapping():
            return {name: _canonical(each) for name, each in value.items()}
        case list() | tuple():
            return [_canonical(each) for each in value]
    raise TypeError(f"no JSON: {type(value).__name__}")
