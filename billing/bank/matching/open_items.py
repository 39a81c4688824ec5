"""The invoices, payers and past payments that a batch of transfers is matched with.

Names are folded for comparison. They rank suggestions and raise vetoes; they never match.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.bank.matching.types import IncomingTransfer
from models.transfers import Payer

#: The same payer, amount and reference within this is perhaps one payment sent twice.
DOUBLE_WITHIN = timedelta(days=10)

#: Letters that accents alone do not fold.
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa", "ł": "l"}
)
_COMMON_WORDS = """ab ag as asa bv co corp cv eg ek ev gbr gmbh inc kft kg kgaa limited llc llp ltd
mbh nv ohg oy oyj plc pty sa sarl sas sc se sl spa spol sro srl ug und and the mr mrs ms herr
frau"""
#: Legal forms and forms of address, which many share.
_COMMON = frozenset(_COMMON_WORDS.split())
#: Names that share so many percent of their words are the same name; another customer's name must
#: be so much more similar than the invoice's own.
SAME_NAME, MORE = 60, 30
#: A word that more customers bear says nothing.
MAX_BEARERS = 50
#: Characters of a name that are read: names on invoices and statements are short.
MAX_NAME = 140


@dataclass(frozen=True, slots=True)
class IssuedInvoice:
    """An invoice, open or closed. `due_minor`: the open part of `total_minor`, 0 if closed."""

    id: int
    account_id: int
    reference: str
    number: str
    currency: str
    due_minor: int
    total_minor: int
    state: str
    issued_on: date
    names: tuple[str, ...] = ()
    is_contested: bool = False


@dataclass(frozen=True, slots=True)
class PayerHistory:
    """Counts for a payer's IBAN: matches by reference, and confirmed and declined suggestions."""

    confirmed: int = 0
    matched: int = 0
    declined: int = 0


@dataclass(frozen=True, slots=True)
class EarlierTransfer:
    """An allocated transfer, to notice when the same payer sends the same again."""

    payer_iban: str | None
    amount_minor: int
    currency: str
    invoice_ids: frozenset[int]
    booking_date: date


#: Payer, amount and currency of a transfer.
Likeness = tuple[str | None, int, str]


@dataclass(slots=True)
class OpenItems:
    """The invoices and payers of one matching batch, indexed.

    Attributes:
        earlier: Past payments, as `by_likeness` groups them.
        by_account, by_amount, by_amount_and_word: Open invoices only.
        by_word: One invoice of each account, by each word of its names.
    """

    invoices: Mapping[int, IssuedInvoice]
    payers: Mapping[str, Mapping[int, PayerHistory]] = field(default_factory=dict)
    earlier: Mapping[Likeness, list[EarlierTransfer]] = field(default_factory=dict)
    by_reference: dict[str, IssuedInvoice] = field(init=False)
    by_number: dict[str, IssuedInvoice] = field(init=False)
    by_account: dict[int, list[IssuedInvoice]] = field(init=False)
    by_amount: dict[tuple[str, int], list[IssuedInvoice]] = field(init=False)
    by_amount_and_word: dict[tuple[str, int, str], list[IssuedInvoice]] = field(init=False)
    by_word: dict[str, list[IssuedInvoice]] = field(init=False)
    lengths: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        invoices = [self.invoices[id] for id in sorted(self.invoices)]
        self.by_reference = {invoice.reference: invoice for invoice in invoices}
        self.by_number = {invoice.number.upper(): invoice for invoice in invoices}
        self.lengths = frozenset(len(invoice.reference) for invoice in invoices)
        self.by_account, self.by_amount, self.by_amount_and_word = {}, {}, {}
        self.by_word = {}
        for invoice in {invoice.account_id: invoice for invoice in invoices}.values():
            for word in _words(invoice):
                self.by_word.setdefault(word, []).append(invoice)
        for invoice in invoices:
            if not invoice.due_minor:
                continue
            self.by_account.setdefault(invoice.account_id, []).append(invoice)
            amount = (invoice.currency, invoice.due_minor)
            self.by_amount.setdefault(amount, []).append(invoice)
            for word in _words(invoice):
                self.by_amount_and_word.setdefault((*amount, word), []).append(invoice)

    def bearer_of(self, name: str | None, *, besides: IssuedInvoice) -> int | None:
        """Another account that bears this name, clearly more than the invoice's own."""
        words = folded(name or "")
        if not words:
            return None
        enough = max(SAME_NAME, likeness(name, besides.names) + MORE)
        rarest = min((self.by_word.get(word, []) for word in words), key=len)
        for other in rarest[:MAX_BEARERS]:
            if likeness(name, other.names) >= enough:
                return other.account_id
        return None

    def was_sent_before(
        self, incoming: IncomingTransfer, invoices: Iterable[IssuedInvoice]
    ) -> bool:
        """Whether the payer sent the same amount for one of these open invoices, days before.

        A payer that the bank does not name equals any other unnamed one. Closed invoices do not
        count: rule D keeps late money for them as credit.
        """
        alike = (incoming.payer_iban, incoming.amount_minor, incoming.currency)
        ids = {invoice.id for invoice in invoices if invoice.due_minor}
        return any(
            ids & earlier.invoice_ids
            and abs(incoming.booking_date - earlier.booking_date) <= DOUBLE_WITHIN
            for earlier in self.earlier.get(alike, ())
        )

    def known_for(self, iban: str | None) -> dict[int, PayerHistory]:
        """The accounts that this payer is known to have paid for."""
        accounts = self.payers.get(iban, {}) if iban else {}
        return {
            account_id: history
            for account_id, history in accounts.items()
            if history.confirmed or history.matched
        }


def _words(invoice: IssuedInvoice) -> frozenset[str]:
    return frozenset().union(*[folded(name) for name in invoice.names])


@lru_cache(maxsize=20_000)
def folded(name: str) -> frozenset[str]:
    """The words of a name, without accents, case and legal form."""
    lower = name[:MAX_NAME].lower().translate(_LETTERS)
    plain = unicodedata.normalize("NFKD", lower).replace(".", "")
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    words = "".join(character if character.isalnum() else " " for character in bare).split()
    return frozenset(words) - _COMMON


def likeness(name: str | None, others: Iterable[str]) -> int:
    """The percentage of words that a name shares with the most similar of `others`."""
    words = folded(name) if name else frozenset()
    best = 0
    for other in others:
        other_words = folded(other)
        if words and other_words:
            best = max(best, 100 * len(words & other_words) // len(words | other_words))
    return best


def by_likeness(transfers: Iterable[EarlierTransfer]) -> dict[Likeness, list[EarlierTransfer]]:
    """Group earlier transfers by payer, amount and currency."""
    groups: dict[Likeness, list[EarlierTransfer]] = {}
    for transfer in transfers:
        likeness = (transfer.payer_iban, transfer.amount_minor, transfer.currency)
        groups.setdefault(likeness, []).append(transfer)
    return groups


_INVOICES = """
SELECT i.id, i.account_id, i.reference, i.number, i.currency,
       CASE WHEN i.state = 'open' THEN i.due_minor - i.settled_minor - i.waived_minor
            ELSE 0 END AS due_minor,
       i.due_minor AS total_minor, i.state,
       i.issued_at::date AS issued_on, a.name, a.billing_email,
       EXISTS (SELECT FROM billing.suspensions AS s WHERE s.account_id = i.account_id
               AND s.reason = 'dispute' AND s.lifted_at IS NULL) AS is_contested
FROM billing.transfer_invoices AS i LEFT JOIN igny8_tenants AS a ON a.id = i.account_id
"""
_EARLIER = """
SELECT t.payer_iban, t.amount_minor, t.currency, array_agg(a.transfer_invoice_id), t.booking_date
FROM billing.transfers AS t JOIN billing.allocations AS a ON a.transfer_id = t.id
WHERE t.booking_date >= :since AND a.undoes IS NULL
GROUP BY t.id
"""


def read(session: Session, *, since: date) -> OpenItems:
    """Read every issued invoice, every payer, and the payments since shortly before `since`.

    Closed invoices count too: a late or double payment names the reference of one.
    """
    invoices = {
        row.id: IssuedInvoice(
            id=row.id,
            account_id=row.account_id,
            reference=row.reference,
            number=row.number,
            currency=row.currency,
            due_minor=row.due_minor,
            total_minor=row.total_minor,
            state=row.state,
            issued_on=row.issued_on,
            names=tuple(name for name in (row.name, row.billing_email) if name),
            is_contested=row.is_contested,
        )
        for row in session.execute(text(_INVOICES))
    }
    payers: dict[str, dict[int, PayerHistory]] = {}
    for payer in session.scalars(select(Payer)):
        history = PayerHistory(payer.confirmed, payer.matched, payer.declined)
        payers.setdefault(payer.iban, {})[payer.account_id] = history
    rows = session.execute(text(_EARLIER), {"since": since - DOUBLE_WITHIN})
    earlier = [
        EarlierTransfer(iban, amount, currency, frozenset(invoice_ids), booking_date)
        for iban, amount, currency, invoice_ids, booking_date in rows
    ]
    return OpenItems(invoices, payers, by_likeness(earlier))
