"""The profiles in profiles.toml: the columns and styles of each bank's CSV.

Header names are compared without case, outer blanks and quotes.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

# The profile for unknown banks; statements read by it are held.
GENERIC_NAME = "generic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The CSV of one bank.

    `signature` are the headers that identify the bank. Most fields list header names; the first
    one that the file has counts, for `text` all of them. `amount` is one signed column, `credit`
    and `debit` are two, and `direction` is a column whose `words` give the sign (1 or -1).
    `currency` is for files without a currency column. `orders` are the date orders to try (ymd,
    dmy, mdy), `decimal` and `group` the marks of numbers. `inverted` reverses every sign, for card
    exports with positive purchases. `statuses` maps words of the `status` column to ISO 20022
    codes.
    """

    name: str
    signature: frozenset[str] = frozenset()
    booked: tuple[str, ...]
    value: tuple[str, ...] = ()
    amount: tuple[str, ...] = ()
    credit: tuple[str, ...] = ()
    debit: tuple[str, ...] = ()
    direction: tuple[str, ...] = ()
    words: Mapping[str, int] = field(default_factory=dict)
    currency_column: tuple[str, ...] = ()
    currency: str | None = None
    balance: tuple[str, ...] = ()
    own_account: tuple[str, ...] = ()
    counterparty: tuple[str, ...] = ()
    counterparty_account: tuple[str, ...] = ()
    counterparty_bank: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    bank_reference: tuple[str, ...] = ()
    end_to_end: tuple[str, ...] = ()
    type_code: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    statuses: Mapping[str, str] = field(default_factory=dict)
    orders: tuple[str, ...] = ("ymd", "dmy")
    decimal: str = "."
    group: str = ""
    inverted: bool = False

    @property
    def amounts(self) -> tuple[str, ...]:
        """All columns that may contain the amount of a row."""
        return (*self.amount, *self.credit, *self.debit)


def _load() -> tuple[dict[str, Profile], frozenset[str]]:
    text = (
        files("billing.statements.delimited").joinpath("profiles.toml").read_text(encoding="utf-8")
    )
    data = tomllib.loads(text)
    profiles = [_profile(values) for values in data["profile"]]
    return {profile.name: profile for profile in profiles}, frozenset(data["balance_rows"])


def _profile(values: dict[str, Any]) -> Profile:
    values["signature"] = frozenset(values.get("signature", ()))
    frozen: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    return Profile(**frozen)


_ALL, BALANCE_ROWS = _load()
GENERIC = _ALL.pop(GENERIC_NAME)
PROFILES = tuple(_ALL.values())
