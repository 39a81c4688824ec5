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
from functools import lru_cache


def genesis(account_id: int, opening_credits: int) -> bytes:
    """What the first seal of an account covers in place of an entry."""
    return f"{account_id}\x1f{opening_credits}".encode()


def seal(
    key: bytes | None, previous: bytes, said: str, details: Mapping[str, object] | None
) -> bytes:
    """The 32 bytes that seal what is `said` of an entry (`entry_rows`), and its details."""
    shown = details and json.dumps(_canonical(details), sort_keys=True)
    funded_accounts = previous + f"{said}\x1f{shown}".encode()
    if key is None:
        return hashlib.sha256(funded_accounts).digest()
    mac = _begun(key).copy()
    mac.update(funded_accounts)
    return mac.digest()


@lru_cache(maxsize=4)
def _begun(key: bytes) -> hmac.HMAC:
    """An HMAC that has taken in its key; to begin one for each seal costs as much again."""
    return hmac.new(key, digestmod="sha256")


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
