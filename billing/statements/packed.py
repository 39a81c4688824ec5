"""Entries kept small: blocks of compressed JSON.

Unpacked one block at a time while somebody walks them.
"""

import json
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any, Generic, TypeVar, overload

from billing.statements.canonical import Detail, Entry, Reference, Status

Item = TypeVar("Item")
Row = list[Any]

# Items per block: enough for compression to bite, few enough that an unpacked block is some 200 kB.
BLOCK = 256
# A batch with more details than this is packed by itself, not inside its entry's block.
INLINE_DETAILS = 64
# zlib's fastest level: five times smaller already, in a third of the time of the default.
_LEVEL = 1

_DETAIL = {name: place for place, name in enumerate(Detail._fields)}
_ENTRY = {name: place for place, name in enumerate(Entry._fields)}
_BOOKED, _VALUE, _STATUS, _DETAILS = (
    _ENTRY[name] for name in ("booking_date", "value_date", "status", "details")
)
_REFERENCES, _REMITTANCE = _DETAIL["references"], _DETAIL["remittance"]


def _pack_detail(detail: Detail) -> Row | None:
    return list(detail)


def _unpack_detail(row: Row) -> Detail:
    row[_REFERENCES] = tuple(Reference(*pair) for pair in row[_REFERENCES])
    row[_REMITTANCE] = tuple(row[_REMITTANCE])
    return Detail(*row)


def _pack_entry(entry: Entry) -> Row | None:
    if len(entry.details) > INLINE_DETAILS:
        return None
    row = list(entry)
    row[_BOOKED] = entry.booking_date and entry.booking_date.toordinal()
    row[_VALUE] = entry.value_date and entry.value_date.toordinal()
    return row


def _unpack_entry(row: Row) -> Entry:
    row[_BOOKED] = row[_BOOKED] and date.fromordinal(row[_BOOKED])
    row[_VALUE] = row[_VALUE] and date.fromordinal(row[_VALUE])
    row[_STATUS] = row[_STATUS] and Status(row[_STATUS])
    row[_DETAILS] = tuple(_unpack_detail(detail) for detail in row[_DETAILS])
    return Entry(*row)


class Packed(Sequence[Item], Generic[Item]):
    """A sequence that can be walked many times and is never unpacked as a whole."""

    def __init__(
        self,
        blocks: list[bytes | Item],
        starts: list[int],
        length: int,
        unpack: Callable[[Row], Item],
    ) -> None:
        self._blocks = blocks
        self._starts = starts
        self._length = length
        self._unpack = unpack

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        for block in self._blocks:
            yield from self._open(block)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, place: int | slice) -> Item | tuple[Item, ...]:
        if isinstance(place, slice):
            return tuple(self[at] for at in range(*place.indices(self._length)))
        at = place + self._length if place < 0 else place
        if not 0 <= at < self._length:
            raise IndexError(place)
        block = bisect_right(self._starts, at) - 1
        return self._open(self._blocks[block])[at - self._starts[block]]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))
        )

    __hash__ = None  # type: ignore[assignment]  # compared by content, and too long to hash

    def _open(self, block: bytes | Item) -> list[Item]:
        if isinstance(block, bytes):
            return [self._unpack(row) for row in json.loads(zlib.decompress(block))]
        return [block]


def _same(one: object, other: object) -> bool:
    return one == other


class Packing(Generic[Item]):
    """Takes items one at a time and ends as a Packed sequence."""

    def __init__(self, pack: Callable[[Item], Row | None], unpack: Callable[[Row], Item]) -> None:
        self._pack = pack
        self._unpack = unpack
        self._rows: list[Row] = []
        self._blocks: list[bytes | Item] = []
        self._starts: list[int] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, item: Item) -> None:
        """Take one item."""
        row = self._pack(item)
        if row is None:
            self._close_block()
            self._starts.append(self._length)
            self._blocks.append(item)
        else:
            self._rows.append(row)
        self._length += 1
        if len(self._rows) == BLOCK:
            self._close_block()

    def finish(self) -> Packed[Item]:
        """The sequence of all items taken."""
        self._close_block()
        return Packed(self._blocks, self._starts, self._length, self._unpack)

    def _close_block(self) -> None:
        if self._rows:
            self._starts.append(self._length - len(self._rows))
            self._blocks.append(
                zlib.compress(json.dumps(self._rows, separators=(",", ":")).encode(), _LEVEL)
            )
            self._rows = []


def packing_entries() -> Packing[Entry]:
    """A packing of entries."""
    return Packing(_pack_entry, _unpack_entry)


def packing_details() -> Packing[Detail]:
    """A packing of the details of one large batch."""
    return Packing(_pack_detail, _unpack_detail)
