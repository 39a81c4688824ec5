"""Canonical statements: the types that every bank file is read into.

Entries and details are named tuples because there may be 100,000 of them; all others are frozen
dataclasses. Amounts are integers in minor units of their currency, positive for credits and
negative for debits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple


class Family(StrEnum):
    """The purpose of a message.

    Money is recognised from one family per account; the other families only add information.
    """

    STATEMENT = "statement"  # camt.053, MT940, OFX, BAI2 of a previous day, CSV
    REPORT = "report"  # camt.052, MT942, BAI2 of the current day
    NOTIFICATION = "notification"  # camt.054


class Status(StrEnum):
    """The status of an entry: ISO 20022 external entry status codes.

    EXPECTED stands for the marks EC and ED of MT940.
    """

    BOOKED = "BOOK"
    PENDING = "PDNG"
    INFORMATION = "INFO"
    FUTURE = "FUTR"
    EXPECTED = "EXPECTED"
    OTHER = "OTHER"  # the bank's own status: never counts as cash


class HoldReason(StrEnum):
    """A reason why a statement must not be applied before a review."""

    BALANCE_MISMATCH = "balance_mismatch"  # opening + booked entries is not closing
    BALANCE_MISSING = "balance_missing"  # a balance that the format requires
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
    DATE_AMBIGUOUS = "date_ambiguous"  # day and month may be swapped
    DATE_OUT_OF_RANGE = "date_out_of_range"
    PAGES_OUT_OF_ORDER = "pages_out_of_order"
    ENCODING_DOUBT = "encoding_doubt"
    DETAIL_UNREADABLE = "detail_unreadable"  # an amount of a detail; the entry is clear
    TEXT_DOUBT = "text_doubt"  # markup in a text, which may be cut
    ROW_NOT_READ = "row_not_read"  # a row that can't be read, or has an amount but is no entry
    SIGN_NOT_READ = "sign_not_read"  # words for debits that contradict the signs of the amounts
    FAMILY_DOUBT = "family_doubt"  # the file contradicts itself about its family
    TRUNCATED = "truncated"  # the end of the file is missing, but each entry is whole


#: Reasons that no release lifts: the statement's amounts may have the wrong sign.
FINAL = frozenset({HoldReason.SIGN_NOT_READ})


class Hold(NamedTuple):
    """One reason to hold; `difference_minor` is our figure minus the bank's."""

    reason: HoldReason
    says: str
    position: str = ""
    difference_minor: int | None = None


class Check(NamedTuple):
    """A control figure: the bank's and ours, in minor units or a number of entries."""

    name: str
    stated: int
    found: int

    @property
    def agrees(self) -> bool:
        """Whether both figures are equal."""
        return self.stated == self.found


class Reference(NamedTuple):
    """A creditor reference from a structured field.

    `kind` is the file's own word for it (SCOR, QRR ...) or empty.
    """

    kind: str
    value: str


class Balance(NamedTuple):
    """A balance of the account; `kind` is OPBD, CLBD ... or the MT940 tag."""

    kind: str
    amount_minor: int
    currency: str
    day: date | None


class Total(NamedTuple):
    """Numbers and sums of all entries in one currency; debits are positive."""

    currency: str
    credits: int
    credits_minor: int
    debits: int
    debits_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account of the statement; `other` is its number if the file has no IBAN."""

    iban: str | None = None
    other: str | None = None
    bank: str | None = None
    owner: str | None = None
    currency: str | None = None


class Detail(NamedTuple):
    """One transaction inside an entry. The entry carries the money; details only split it.

    `amount_minor` is None if the bank does not state the transaction's share of the entry. The
    counterparty is the payer of a credit and the payee of a debit. A placeholder such as
    NOTPROVIDED becomes None.
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
    """One line of a statement.

    `position` is its place in the file. `details` has at least one element. The last two fields
    follow from the others, and are set in the entries of a finished statement: `only_detail` is the
    detail of an entry of one transaction, None for a batch. `split_agrees` says whether the details
    add up to the entry in the entry's currency; if not, none of them may be allocated.
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
    only_detail: Detail | None = None
    split_agrees: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement, report or notification of one account.

    `entries` are compressed and unpacked while they are iterated, as often as needed. `family`
    decides whether the statement may recognise money. `holds` are the reasons why it must not be
    applied before a review. `notes` say how doubts were settled and what was passed over.
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
    notes: tuple[str, ...] = ()

    @property
    def is_held(self) -> bool:
        """Whether there is any reason to hold the statement."""
        return bool(self.holds)
