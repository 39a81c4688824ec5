"""Units of an XML file: elements with their texts by path and the units inside them."""

import marshal
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

# Texts of a unit by their path; empty ones are left out.
Leaves = dict[str, list[str]]
# The parts of a unit that are not compressed yet; most entries have one or two parts.
_OPEN_PARTS = 64


class Unit(NamedTuple):
    """A unit; `parts` are the last of the units inside it, `blocks` the others, compressed."""

    kind: str
    line: int
    leaves: Leaves
    parts: list[Any]
    blocks: list[bytes]


def add_part(unit: Unit, part: Unit) -> None:
    """Add a finished unit to the one around it; the many of a batch are compressed."""
    unit.parts.append(part)
    if len(unit.parts) > _OPEN_PARTS:
        rows = [_row_of(part) for part in unit.parts]
        unit.blocks.append(zlib.compress(marshal.dumps(rows), 1))
        unit.parts.clear()


def parts_of(unit: Unit) -> Iterable[Unit]:
    """The units inside a unit, to be iterated once."""
    return _unpacked_parts(unit) if unit.blocks else unit.parts


def _unpacked_parts(unit: Unit) -> Iterator[Unit]:
    for block in unit.blocks:
        for row in marshal.loads(zlib.decompress(block)):  # noqa: S302 - our own bytes
            yield _unit_of(row)
    yield from unit.parts


def _row_of(unit: Unit) -> tuple[Any, ...]:
    """The unit as plain values, for marshal."""
    return (*unit[:3], [_row_of(part) for part in unit.parts], unit.blocks)


def _unit_of(row: tuple[Any, ...]) -> Unit:
    kind, line, leaves, parts, blocks = row
    return Unit(kind, line, leaves, [_unit_of(part) for part in parts], blocks)
