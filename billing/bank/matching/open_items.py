"""The invoices, payers and past payments that a batch of transfers is matched with."""

import re
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import chain

from billing.bank.invoicing import references
from billing.bank.matching.names import (
    MORE,
    SAME_NAME,
    folded,
    folded_all,
    is_named,
    likeness,
)
from billing.bank.matching.types import (
    EarlierTransfer,
    IncomingTransfer,
    IssuedInvoice,
    PayerHistory,
)

#: The same payer, amount and reference within this is perhaps one payment sent twice.
DOUBLE_WITHIN = timedelta(days=10)
#: A word that more customers bear says nothing.
MAX_BEARERS = 50


#: Payer, amount and currency of a transfer.
Likeness = tuple[str | None, int, str]


@dataclass(slots=True)
class OpenItems:
    """The invoices and payers of one matching batch, indexed.

    Attributes:
        earlier: Past payments, as `by_likeness` groups them.
        by_reference: By reference without zeros, as `references.plain` writes it.
        by_number: By each way to write the invoice's number.
        by_account, by_amount, by_amount_and_day, by_amount_and_word: Open invoices only, oldest
            first; the day is that of the issue.
        by_word: One invoice of each account, by each word of its names.
    """

    invoices: MutableMapping[int, IssuedInvoice]
    payers: Mapping[str, Mapping[int, PayerHistory]] = field(default_factory=dict)
    earlier: MutableMapping[Likeness, list[EarlierTransfer]] = field(default_factory=dict)
    by_reference: dict[str, IssuedInvoice] = field(init=False, default_factory=dict)
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
            self._name(invoice)
            for group in self._groups(invoice):
                group.append(invoice)

    def _name(self, invoice: IssuedInvoice) -> None:
        self.by_reference[references.plain(invoice.reference)] = invoice
        for number in _ways_to_write(invoice.number):
            self.by_number[number] = invoice

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
            self._name(after)
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


def _age(invoice: IssuedInvoice) -> tuple[date, int]:
    return invoice.issued_on, invoice.id


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
