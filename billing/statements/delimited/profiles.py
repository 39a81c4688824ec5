"""The profiles in profiles.toml: the columns and styles of each bank's CSV.

Header names are compared without case, outer blanks and quotes.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    exports with positive purchases; `signed` means that every amount has its sign, whatever words
    stand beside it. `statuses` maps words of the `status` column to ISO 20022
    codes. `fee` is a column that the bank takes beside the amount. A file without a header has
    `headerless`, the names of its columns, and `shape`, an expression for each cell of its rows.
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
    signed: bool = False
    fee: tuple[str, ...] = ()
    headerless: tuple[str, ...] = ()
    shape: tuple[str, ...] = ()

    @property
    def amounts(self) -> tuple[str, ...]:
        """All columns that may contain the amount of a row."""
        return (*self.amount, *self.credit, *self.debit)

    def fits_row(self, row: list[str]) -> bool:
        """Whether the first row of a file without a header has the cells of this bank."""
        return len(row) == len(self.shape) and all(
            re.fullmatch(form, cell.strip()) for form, cell in zip(self.shape, row, strict=True)
        )


def _load() -> tuple[dict[str, Profile], dict[str, Any]]:
    text = (
        files("billing.statements.delimited").joinpath("profiles.toml").read_text(encoding="utf-8")
    )
    data = tomllib.loads(text)
    profiles = [_profile(values) for values in data["profile"]]
    return {profile.name: profile for profile in profiles}, data


def _profile(values: dict[str, Any]) -> Profile:
    values["signature"] = frozenset(values.get("signature", ()))
    frozen: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    return Profile(**frozen)


_ALL, _DATA = _load()
#: Word -> 1 for a credit, -1 for a debit.
SIGN_WORDS: Mapping[str, int] = _DATA["sign_words"]
GENERIC = replace(_ALL.pop(GENERIC_NAME), words=SIGN_WORDS)
_BALANCE_ROWS = frozenset(_DATA["balance_rows"])
_BALANCE_ROWS_OF_A_DAY = frozenset(_DATA["balance_rows_of_a_day"])
PROFILES = tuple(profile for profile in _ALL.values() if not profile.headerless)
HEADERLESS = tuple(profile for profile in _ALL.values() if profile.headerless)
_DAY_AT_END = re.compile(r"[\s0-9./-]+")


def is_balance_row(text: str) -> bool:
    """Whether the text of a row says that it states a balance, and is no entry."""
    plain = text.casefold()
    if plain in _BALANCE_ROWS:
        return True
    return any(
        plain.startswith(words) and _DAY_AT_END.fullmatch(plain, len(words))
        for words in _BALANCE_ROWS_OF_A_DAY
    )
