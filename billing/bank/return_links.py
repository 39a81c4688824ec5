"""Which earlier transfer a return takes back: one that shares an identifier and the amount.

Pure. Where several could be meant, or the amount differs, it is a person's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from billing.statements.references import is_usable_bank_id

#: Where a line or a transaction names itself; `corrects` names the one that it undoes.
_NAMES = (
    "uetr",
    "transaction_id",
    "bank_reference",
    "detail_bank_reference",
    "customer_reference",
    "end_to_end_id",
)


@dataclass(frozen=True, slots=True)
class Original:
    """An earlier transfer that a return may take back."""

    id: int
    amount_minor: int
    names: frozenset[str]
    is_reversed: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """What a return is of. `original`: the one; `doubtful`: those that it may be of; `why`."""

    original: int | None
    doubtful: tuple[int, ...]
    why: str


def names_of(payload: Mapping[str, Any], detail: Mapping[str, Any]) -> frozenset[str]:
    """The identifiers that can tell a payment from others; a placeholder is none."""
    found = [said.get(name) for said in (payload, detail) for name in _NAMES]
    found.append(payload.get("corrects"))
    return frozenset(text.strip() for text in found if text and is_usable_bank_id(text))


def link(amount_minor: int, names: frozenset[str], earlier: Iterable[Original]) -> Returned:
    """The transfer that a return of this (positive) amount takes back."""
    sharing = sorted(
        (one for one in earlier if names & one.names and not one.is_reversed),
        key=lambda one: one.id,
    )
    equal = [one for one in sharing if one.amount_minor == amount_minor]
    if len(equal) == 1:
        return Returned(equal[0].id, (), "it shares an identifier and the amount")
    if len(equal) > 1:
        ids = tuple(one.id for one in equal)
        return Returned(None, ids, f"a return of one of {len(ids)} transfers")
    if sharing:
        ids = tuple(one.id for one in sharing)
        return Returned(None, ids, "a return of another amount than what came")
    return Returned(None, (), "a return of a transfer that has not come yet")
