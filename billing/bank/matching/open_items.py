"""The invoices, payers and past payments that a batch of transfers is matched with.

Names are folded for comparison: they rank suggestions and raise vetoes; they never match.
"""

import re
import unicodedata
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from itertools import chain

from billing.bank.matching.types import (
    EarlierTransfer,
    IncomingTransfer,
    IssuedInvoice,
    PayerHistory,
)
from billing.statements.references import without_zeros

#: The same payer, amount and reference within this is perhaps one payment sent twice.
DOUBLE_WITHIN = timedelta(days=10)
#: A word that more customers bear says nothing.
MAX_BEARERS = 50
#: Letters that accents alone do not fold.
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa", "ł": "l"}
)
_COMMON_WORDS = """ab ag as asa bv co corp cv eg ek ev gbr gmbh inc kft kg kgaa limited llc llp ltd
mbh nv ohg oy oyj plc pty sa sarl sas sc se sl spa spol sro srl ug und and the mr mrs ms herr
frau"""
#: Legal forms and forms of address, which many share.
_COMMON = frozenset(_COMMON_WORDS.split())
_PAYMENT_WORDS = """abonnement betaling client credits customer danke euro factura facture factuur
faktura fattura gutschrift invoice jahr kunde lasku merci monat month number nummer pago pagamento
paiement payment plan rechnung referenz reference rekening starter subscription thanks thank
transfer uberweisung ueberweisung year zahlung"""
#: Words of payments: a customer with one of them as its whole name is not named by it.
_PAYMENT = frozenset(_PAYMENT_WORDS.split())
#: A shorter word alone names nobody.
_SHORTEST_ALONE = 4
#: Names that share so many percent of their words are the same name; another customer's name must
#: be so much more similar than the invoice's own.
SAME_NAME, MORE = 60, 30
#: Characters of a name that are read: names on invoices and statements are short.
MAX_NAME = 140

#: Payer, amount and currency of a transfer.
Likeness = tuple[str | None, int, str]


@dataclass(slots=True)
class OpenItems:
    """The invoices and payers of one matching batch, indexed.

    Attributes:
        earlier: Past payments, as `by_likeness` groups them.
        by_reference: By reference without zeros.
        by_number: By each way to write the invoice's number.
        by_account, by_amount, by_amount_and_day, by_amount_and_word: Open invoices only, oldest
            first; the day is that of the issue.
        by_word: One invoice of each account, by each word of its names.
    """

    invoices: MutableMapping[int, IssuedInvoice]
    payers: Mapping[str, Mapping[int, PayerHistory]] = field(default_factory=dict)
    earlier: MutableMapping[Likeness, list[EarlierTransfer]] = field(default_factory=dict)
    by_reference: dict[str, IssuedInvoice] = field(init=False)
    by_number: dict[str, IssuedInvoice] = field(init=False, default_factory=dict)
    by_account: dict[int, list[IssuedInvoice]] = field(init=False, default_factory=dict)
    by_amount: dict[tuple[str, int], list[IssuedInvoice]] = field(init=False, default_factory=dict)
    by_amount_and_day: dict[tuple[str, int, date], list[IssuedInvoice]] = field(
        init=False, default_factory=dict
    )
    by_amount_and_word: dict[tuple[str, int, str], list[IssuedInvoice]] = field(
        init=False, default_factory=dict
    )
    by_word: dict[str, list[IssuedInvoice]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        invoices = sorted(self.invoices.values(), key=_age)
        for invoice in {invoice.account_id: invoice for invoice in invoices}.values():
            for word in folded_all(invoice.names):
                self.by_word.setdefault(word, []).append(invoice)
        for invoice in invoices:
            for number in _ways_to_write(invoice.number):
                self.by_number[number] = invoice
            for group in self._groups(invoice):
                group.append(invoice)
        self.by_reference = {without_zeros(invoice.reference): invoice for invoice in invoices}

    def _groups(self, invoice: IssuedInvoice) -> Iterator[list[IssuedInvoice]]:
        """The groups that an open invoice belongs to."""
        if not invoice.due_minor:
            return
        amount = (invoice.currency, invoice.due_minor)
        yield self.by_account.setdefault(invoice.account_id, [])
        yield self.by_amount.setdefault(amount, [])
        yield self.by_amount_and_day.setdefault((*amount, invoice.issued_on), [])
        for word in folded_all(invoice.names):
            yield self.by_amount_and_word.setdefault((*amount, word), [])

    def copy(self) -> "OpenItems":
        """A copy that `pay` may change."""
        earlier = {alike: list(transfers) for alike, transfers in self.earlier.items()}
        return OpenItems(dict(self.invoices), self.payers, earlier)

    def pay(self, incoming: IncomingTransfer, parts: Iterable[tuple[int, int]]) -> None:
        """Take these parts of a transfer off what is open, for the later ones of the batch."""
        paid = dict(parts)
        for invoice_id, amount in paid.items():
            before = self.invoices[invoice_id]
            due_minor = before.due_minor - amount
            after = replace(before, due_minor=due_minor, state="open" if due_minor else "paid")
            for group in self._groups(before):
                group.remove(before)
            for group in self._groups(after):
                insort(group, after, key=_age)
            self.invoices[invoice_id] = after
            self.by_reference[without_zeros(after.reference)] = after
            for number in _ways_to_write(after.number):
                self.by_number[number] = after
        transfer = EarlierTransfer(
            incoming.payer_iban,
            incoming.amount_minor,
            incoming.currency,
            frozenset(paid),
            incoming.booking_date,
        )
        for alike, transfers in by_likeness([transfer]).items():
            self.earlier.setdefault(alike, []).extend(transfers)

    def bearer_of(self, name: str | None, *, besides: IssuedInvoice) -> int | None:
        """Another account that bears this name, clearly more than the invoice's own."""
        words = sorted(folded(name or "") & self.by_word.keys())
        if not words:
            return None
        enough = max(SAME_NAME, likeness(name, besides.names) + MORE)
        rarest = min(words, key=lambda word: len(self.by_word[word]))
        telling = [word for word in words if len(self.by_word[word]) <= MAX_BEARERS] or [rarest]
        for other in chain.from_iterable(self.by_word[word][:MAX_BEARERS] for word in telling):
            if likeness(name, other.names) >= enough:
                return other.account_id
        return None

    def named_in(
        self, words: frozenset[str], incoming: IncomingTransfer, *, besides: IssuedInvoice
    ) -> int | None:
        """Another account that owes just this amount, and whose name is among these words.

        Words of the invoice's own name, and of the payer's, name nobody else.
        """
        explained = folded_all((*besides.names, incoming.payer_name or ""))
        amount = (incoming.currency, incoming.amount_minor)
        for word in sorted(words - explained):
            for other in self.by_amount_and_word.get((*amount, word), []):
                if other.account_id != besides.account_id and is_named(other.names, words):
                    return other.account_id
        return None

    def was_sent_before(
        self, incoming: IncomingTransfer, invoices: Iterable[IssuedInvoice]
    ) -> bool:
        """Whether the payer sent the same amount for one of these open invoices, days before.

        A payer that the bank does not name equals any other unnamed one. Closed invoices do not
        count: rule D keeps late money for them as credit.
        """
        ids = {invoice.id for invoice in invoices if invoice.due_minor}
        return any(ids & earlier.invoice_ids for earlier in self._sent_lately(incoming))

    def was_sent_for_account(self, incoming: IncomingTransfer, account_id: int) -> bool:
        """Whether the payer sent the same amount for any invoice of this account, days before."""
        return any(
            self.invoices[id].account_id == account_id
            for earlier in self._sent_lately(incoming)
            for id in earlier.invoice_ids
        )

    def _sent_lately(self, incoming: IncomingTransfer) -> list[EarlierTransfer]:
        alike = (incoming.payer_iban, incoming.amount_minor, incoming.currency)
        return [
            earlier
            for earlier in self.earlier.get(alike, ())
            if abs(incoming.booking_date - earlier.booking_date) <= DOUBLE_WITHIN
        ]

    def known_for(self, iban: str | None) -> dict[int, PayerHistory]:
        """The accounts that this payer is known to have paid for."""
        accounts = self.payers.get(iban, {}) if iban else {}
        return {
            account_id: history
            for account_id, history in accounts.items()
            if history.confirmed or history.matched
        }


def _age(invoice: IssuedInvoice) -> tuple[date, int]:
    return invoice.issued_on, invoice.id


@lru_cache(maxsize=20_000)
def _ways_to_write(number: str) -> tuple[str, str]:
    """An invoice's number with its words apart and without zeros, and in one word."""
    return "-".join(number_words(number)), number.upper().replace("-", "")


def number_words(text: str) -> list[str]:
    """The words of a text in capitals, without zeros in front."""
    return [word.lstrip("0") for word in re.findall(r"[A-Z0-9]+", text.upper())]


def by_likeness(transfers: Iterable[EarlierTransfer]) -> dict[Likeness, list[EarlierTransfer]]:
    """Group earlier transfers by payer, amount and currency."""
    groups: dict[Likeness, list[EarlierTransfer]] = {}
    for transfer in transfers:
        likeness = (transfer.payer_iban, transfer.amount_minor, transfer.currency)
        groups.setdefault(likeness, []).append(transfer)
    return groups


def words_of(text: str) -> frozenset[str]:
    """The words of a text, without accents and case."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS)).replace(".", "")
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    return frozenset(
        "".join(character if character.isalnum() else " " for character in bare).split()
    )


@lru_cache(maxsize=20_000)
def folded(name: str) -> frozenset[str]:
    """The words of a name, without accents, case and legal form."""
    return words_of(name[:MAX_NAME]) - _COMMON


def folded_all(names: Iterable[str]) -> frozenset[str]:
    """The words of all these names."""
    return frozenset().union(*[folded(name) for name in names])


def likeness(name: str | None, others: Iterable[str]) -> int:
    """The percentage of words that a name shares with the most similar of `others`."""
    words = folded(name) if name else frozenset()
    best = 0
    for other in others:
        other_words = folded(other)
        if words and other_words:
            best = max(best, 100 * len(words & other_words) // len(words | other_words))
    return best


def is_named(names: Iterable[str], words: frozenset[str]) -> bool:
    """Whether all words of one of the names are among these words.

    One short word, or a word of payments, is no name.
    """
    return any(_is_distinctive(name) and folded(name) <= words for name in names)


def _is_distinctive(name: str) -> bool:
    words = folded(name)
    if len(words) != 1:
        return bool(words)
    [word] = words
    return len(word) >= _SHORTEST_ALONE and word not in _PAYMENT
