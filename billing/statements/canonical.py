"""The one form that every bank file is read into.

Statements, entries and their details, all frozen.

Entries and details are named tuples because there may be 100,000 of them; all else are frozen
dataclasses. Amounts are integers in minor units of their currency, positive for money that came,
negative for money that went.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple


class Family(StrEnum):
    """What a message is for. Money is recognised from one family per account.

    The others only enrich it.
    """

    STATEMENT = "statement"  # camt.053, MT940, OFX, BAI2 of a prior day, CSV
    REPORT = "report"  # camt.052, MT942, BAI2 of the running day
    NOTIFICATION = "notification"  # camt.054


class Status(StrEnum):
    """How far an entry got. ISO 20022 external entry status codes.

    EXPECTED is MT940's EC and ED.
    """

    BOOKED = "BOOK"
    PENDING = "PDNG"
    INFORMATION = "INFO"
    FUTURE = "FUTR"
    EXPECTED = "EXPECTED"
    OTHER = "OTHER"  # a status of the bank's own: never cash


class HoldReason(StrEnum):
    """Why a statement that was read must not be applied without a person."""

    BALANCE_MISMATCH = "balance_mismatch"  # opening + booked entries is not closing
    BALANCE_MISSING = "balance_missing"  # a balance that the format demands is not there
    BALANCE_UNREADABLE = "balance_unreadable"
    BALANCE_AMBIGUOUS = "balance_ambiguous"  # two different opening or closing balances
    CONTROL_TOTAL = "control_total"  # the bank's own sum or count differs from what was read
    ENTRY_COUNT = "entry_count"  # raw entries in the bytes differ from entries read
    CURRENCY_UNKNOWN = "currency_unknown"
    CURRENCY_MISMATCH = (
        "currency_mismatch"  # an entry or balance in another currency than the account
    )
    DATE_IMPOSSIBLE = "date_impossible"  # 30 February
    DATE_MISSING = "date_missing"
    DATE_AMBIGUOUS = "date_ambiguous"  # day and month can't be told apart
    DATE_OUT_OF_RANGE = "date_out_of_range"
    PAGES_OUT_OF_ORDER = "pages_out_of_order"
    ENCODING_DOUBT = "encoding_doubt"
    DETAIL_UNREADABLE = "detail_unreadable"  # an amount inside an entry; the entry itself is clear
    TEXT_DOUBT = "text_doubt"  # markup in a text, so it may be cut
    ROW_NOT_READ = "row_not_read"  # a row with an amount that is no entry
    FAMILY_DOUBT = "family_doubt"  # the file says two different things about what it is
    TRUNCATED = "truncated"  # the end of the file is missing, though every entry is whole


class Hold(NamedTuple):
    """One reason to hold; `difference_minor` is what was read minus what the bank states."""

    reason: HoldReason
    says: str
    position: str = ""
    difference_minor: int | None = None


class Check(NamedTuple):
    """A control that was made: the bank's figure and ours, in minor units or in entries."""

    name: str
    stated: int
    found: int

    @property
    def agrees(self) -> bool:
        """Whether both are equal."""
        return self.stated == self.found


class Reference(NamedTuple):
    """A creditor's reference from a structured field.

    Kind is the file's word (SCOR, QRR ...) or empty.
    """

    kind: str
    value: str


class Balance(NamedTuple):
    """A balance of the account; kind is OPBD, CLBD, ... or the MT940 tag."""

    kind: str
    amount_minor: int
    currency: str
    day: date | None


class Total(NamedTuple):
    """Sums of one currency over all entries, whatever their status; debits as a positive number."""

    currency: str
    credits: int
    credits_minor: int
    debits: int
    debits_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Our own account; `other` is its number where the file has no IBAN."""

    iban: str | None = None
    other: str | None = None
    bank: str | None = None
    owner: str | None = None
    currency: str | None = None


class Detail(NamedTuple):
    """One transaction inside an entry. The entry is the money; details only split it.

    `amount_minor` is None where the bank does not say how much of the entry it is. The counterparty
    is who paid us for a credit and whom we paid for a debit. A placeholder such as NOTPROVIDED is
    None.
    """

    amount_minor: int | None = None
    currency: str | None = None
    end_to_end_id: str | None = None
    transaction_id: str | None = None
    uetr: str | None = None
    bank_reference: str | None = None
    instruction_id: str | None = None
    mandate_id: str | None = None
    references: tuple[Reference, ...] = ()
    remittance: tuple[str, ...] = ()
    counterparty: str | None = None
    counterparty_iban: str | None = None
    counterparty_account: str | None = None
    counterparty_bank: str | None = None
    ultimate_counterparty: str | None = None
    return_reason: str | None = None
    type_code: str | None = None
    note: str | None = None


class Entry(NamedTuple):
    """One line of a statement. `position` is where it stands in the file.

    `details` has at least one element.
    """

    position: str
    amount_minor: int
    currency: str
    is_credit: bool
    status: Status | None
    is_reversal: bool
    booking_date: date | None
    value_date: date | None
    bank_reference: str | None
    customer_reference: str | None
    type_code: str | None
    corrects: str | None
    note: str | None
    details: Sequence[Detail]

    @property
    def split_agrees(self) -> bool:
        """Whether the details add up to the entry in its own currency.

        If not, none of them may be allocated.
        """
        return all(
            detail.amount_minor is not None and detail.currency == self.currency
            for detail in self.details
        ) and self.amount_minor == sum(detail.amount_minor or 0 for detail in self.details)

    @property
    def only_detail(self) -> Detail | None:
        """The detail of an entry that is one transaction; None for a batch."""
        return self.details[0] if len(self.details) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement, report or notification of one account.

    `entries` may be walked as often as needed and is unpacked while walking, so that 100,000 of
    them stay small. `family` says whether it may recognise money, `holds` why it must not be
    applied without a person.
    """

    format: str
    version: str | None
    family: Family
    source: str | None
    account: Account
    currency: str | None
    statement_id: str | None
    sequence: str | None
    page: str | None
    created: str | None
    from_date: date | None
    to_date: date | None
    opening: Balance | None
    closing: Balance | None
    totals: tuple[Total, ...]
    booked_minor: int
    first_day: date | None
    last_day: date | None
    checks: tuple[Check, ...]
    holds: tuple[Hold, ...]
    entries: Sequence[Entry]

    @property
    def is_held(self) -> bool:
        """Whether any reason to hold was found."""
        return bool(self.holds)
