"""Sequences of entries in compressed blocks, unpacked one block at a time while iterated."""

import marshal
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from functools import lru_cache
from operator import eq
from typing import Any, Generic, TypeVar, overload

from billing.statements.canonical import Detail, Entry, Reference, Status

Item = TypeVar("Item")
Row = list[Any] | tuple[Any, ...]

# Items in a block: enough for a good compression; unpacked they are some 200 kB.
BLOCK = 256
# A block of long entries ends earlier: 256 of the largest would be 30 MB.
BLOCK_BYTES = 1_048_576
# The details of a larger batch are packed by themselves, not in the block of their entry.
INLINE_DETAILS = 64
# zlib's fastest level makes blocks five times smaller, in a third of the default's time. The blocks
# are written by marshal, the fastest module for plain values; they never leave their process.
_LEVEL = 1

_DETAIL = {name: place for place, name in enumerate(Detail._fields)}
_ENTRY = {name: place for place, name in enumerate(Entry._fields)}
_BOOKED, _VALUE, _STATUS, _DETAILS = (
    _ENTRY[name] for name in ("booking_date", "value_date", "status", "details")
)
_REFERENCES = _DETAIL["references"]
_STATUSES: dict[str | None, Status | None] = {None: None, **{it.value: it for it in Status}}

_day = lru_cache(maxsize=4096)(date.fromordinal)


def _pack_detail(detail: Detail) -> Row:
    references = detail.references
    if not references:
        return tuple(detail)
    row: list[Any] = list(detail)
    row[_REFERENCES] = tuple(map(tuple, references))
    return tuple(row)


def _unpack_detail(row: Row) -> Detail:
    detail = Detail._make(row)
    references = row[_REFERENCES]
    if not references:
        return detail
    return detail._replace(references=tuple(map(Reference._make, references)))


def _pack_entry(entry: Entry) -> Row | None:
    row: list[Any] = list(entry)
    details = row[_DETAILS]
    if len(details) > INLINE_DETAILS:
        return None
    booked, value, status = row[_BOOKED], row[_VALUE], row[_STATUS]
    row[_BOOKED] = booked and booked.toordinal()
    row[_VALUE] = value and value.toordinal()
    row[_STATUS] = status and status._value_  # `value` costs a call
    row[_DETAILS] = tuple([_pack_detail(detail) for detail in details])
    return row


def _unpack_entry(row: Row) -> Entry:
    values = list(row)
    booked, value = values[_BOOKED], values[_VALUE]
    values[_BOOKED] = booked and _day(booked)
    values[_VALUE] = value and _day(value)
    values[_STATUS] = _STATUSES[values[_STATUS]]
    values[_DETAILS] = tuple([_unpack_detail(detail) for detail in values[_DETAILS]])
    return Entry._make(values)


class Packed(Sequence[Item], Generic[Item]):
    """A sequence that can be iterated many times and is never unpacked as a whole."""

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
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # compared by content, and too long to hash

    def _open(self, block: bytes | Item) -> list[Item]:
        if isinstance(block, bytes):
            rows = marshal.loads(zlib.decompress(block))  # noqa: S302 - our own bytes
            return [self._unpack(marshal.loads(row)) for row in rows]  # noqa: S302 - the same
        return [block]


class Packing(Generic[Item]):
    """A Packed sequence under construction: takes items one at a time."""

    def __init__(self, pack: Callable[[Item], Row | None], unpack: Callable[[Row], Item]) -> None:
        self._pack = pack
        self._unpack = unpack
        self._rows: list[bytes] = []
        self._bytes = 0
        self._blocks: list[bytes | Item] = []
        self._starts: list[int] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, item: Item) -> None:
        """Add one item."""
        row = self._pack(item)
        if row is None:
            self._close_block()
            self._starts.append(self._length)
            self._blocks.append(item)
        else:
            packed = marshal.dumps(row)
            self._rows.append(packed)
            self._bytes += len(packed)
        self._length += 1
        if len(self._rows) == BLOCK or self._bytes > BLOCK_BYTES:
            self._close_block()

    def extend(self, items: Iterable[Item]) -> None:
        """Add several items."""
        for item in items:
            self.add(item)

    def finish(self) -> Packed[Item]:
        """The sequence of all items."""
        self._close_block()
        return Packed(self._blocks, self._starts, self._length, self._unpack)

    def _close_block(self) -> None:
        if self._rows:
            self._starts.append(self._length - len(self._rows))
            self._blocks.append(zlib.compress(marshal.dumps(self._rows), _LEVEL))
            self._rows, self._bytes = [], 0


def packing_entries() -> Packing[Entry]:
    """Begin a packed sequence of entries."""
    return Packing(_pack_entry, _unpack_entry)


def packing_details() -> Packing[Detail]:
    """Begin a packed sequence of the details of one large batch."""
    return Packing(_pack_detail, _unpack_detail)
