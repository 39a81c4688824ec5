"""A reader for untrusted XML that passes on one finished unit at a time.

A unit is an element that a table names, such as one transaction. Its texts are collected by path
and passed on when it ends. There is no tree: expat, from the standard library, calls a method for
each tag. Nothing is fetched, no entity is expanded, and nothing grows without bound.
"""

import re
from collections.abc import Callable
from typing import BinaryIO
from xml.parsers import expat

from billing.statements.camt.units import Leaves, Unit, add_part
from billing.statements.errors import (
    DoctypeRefused,
    ElementTooLarge,
    EncodingRefused,
    MalformedXml,
    MarkupInText,
    TooDeep,
    TooManyNames,
    TooManyTags,
    TooManyUnits,
)
from billing.statements.limits import (
    MAX_UNIT_BYTES,
    MAX_XML_DEPTH,
    MAX_XML_NAMES,
    MAX_XML_TAGS,
    MAX_XML_UNITS,
)

_CHUNK = 65_536
# Bytes of a chunk that are searched again with the next: a start tag may stand in both.
_OVERLAP = 64
# Places that are stored; those of further tags are computed each time.
_MAX_PLACES = 5_000
_ENCODING_ERRORS = {
    expat.errors.XML_ERROR_UNKNOWN_ENCODING,
    expat.errors.XML_ERROR_INCORRECT_ENCODING,
}

# kind of unit -> path inside it -> kind of the unit that begins there
Units = dict[str, dict[str, str]]
# The unit around everything. Its paths are single names, for a message may stand in any envelope.
OUTSIDE = "outside"
# The kind of an element that is skipped with everything in it.
_SKIPPED = "skipped"
# Takes the kind and the line of a container that begins.
Begin = Callable[[str, int], None]
# Takes a finished unit, and the texts so far of the container around it.
Finish = Callable[[Unit, Leaves], None]


class _Place:
    """The place of an element: its path in its unit, and the places of its children so far."""

    __slots__ = ("children", "depth", "kind", "parent", "path", "unit")

    def __init__(
        self, parent: "_Place | None", path: str, unit: str, kind: str | None, depth: int
    ) -> None:
        self.parent = parent or self  # expat balances the tags, so nothing goes above the root
        self.path = path
        self.unit = unit  # the kind of unit that the element is part of
        self.kind = kind  # the kind of unit that begins with the element
        self.depth = depth
        self.children: dict[str, _Place] = {}


class UnitReader:
    """Feeds a source to expat and passes units to `begin` and `finish`.

    `containers` are the kinds of units whose inner units are passed on one by one; `begin` takes
    each container. Any other unit is passed on whole. Inside the first unit only elements of its
    namespace count; all others are skipped. `wrappers` are elements whose children count as their
    parent's. `raw_count` is the number of start tags `counted` in the bytes, comments and CDATA
    included.
    """

    def __init__(
        self,
        units: Units,
        begin: Begin,
        finish: Finish,
        *,
        containers: frozenset[str],
        wrappers: frozenset[str],
        counted: str,
    ) -> None:
        self.namespace = ""
        self.raw_count = 0
        self._units = units
        self._on_begin = begin
        self._on_finish = finish
        self._containers = containers | {OUTSIDE}
        self._wrappers = wrappers
        self._counted = re.compile(rb"<(?:[\w.-]{1,50}:)?" + counted.encode() + rb"[\s/>]")
        self._tail = b""
        self._tags = self._places = self._skipped = self._begun = self._last_unit_end = 0
        # the current element, and the element that began last, which alone may have a text
        self._place = self._leaf = _Place(None, "", OUTSIDE, None, 0)
        self._texts: list[str] = []
        self._unit = Unit(OUTSIDE, 0, {}, [], [])
        self._leaves = self._unit.leaves
        self._outer: list[Unit] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.ordered_attributes = True  # a list, empty for most, is cheaper than a dict
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        # texts are the most frequent event, and this method runs no Python code
        self._parser.CharacterDataHandler = self._texts.append
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.EntityDeclHandler = self._refuse_doctype

    def read(self, source: BinaryIO) -> None:
        """Read the source to its end; raises the errors of XmlRefused."""
        _skip_blanks(source)
        try:
            while chunk := source.read(_CHUNK):
                self._count(chunk)
                self._parser.Parse(chunk, False)  # expat takes no keywords
                if len(self._parser.intern) > MAX_XML_NAMES:
                    raise TooManyNames(limit=MAX_XML_NAMES)
                if source.tell() - self._last_unit_end > MAX_UNIT_BYTES + _CHUNK:
                    raise ElementTooLarge(f"byte {self._last_unit_end}", limit=MAX_UNIT_BYTES)
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            refusal = EncodingRefused if reason in _ENCODING_ERRORS else MalformedXml
            raise refusal(f"line {error.lineno}", reason=reason) from None
        except (LookupError, ValueError) as error:
            if self._place.depth:
                raise  # a bug of ours, and not an encoding that pyexpat can't map
            raise EncodingRefused("line 1", reason=str(error)) from None

    def _count(self, chunk: bytes) -> None:
        self._tags += chunk.count(b"<") + chunk.count(b"/>")
        if self._tags > MAX_XML_TAGS:
            raise TooManyTags(limit=MAX_XML_TAGS)
        # UTF-16 shows its ASCII once the NULs are gone
        window = self._tail + chunk.replace(b"\0", b"")
        matches = self._counted.finditer(window)
        self.raw_count += sum(match.end() > len(self._tail) for match in matches)
        self._tail = window[-_OVERLAP:]

    def _refuse_doctype(self, *_: object) -> None:
        raise DoctypeRefused(f"line {self._parser.CurrentLineNumber}")

    def _start(self, name: str, attributes: list[str]) -> None:
        texts = self._texts
        if texts:
            if not "".join(texts).isspace():
                self._refuse_mixture()
            texts.clear()
        try:
            place = self._place.children[name]
        except KeyError:
            place = self._find_place(name)
        self._place = self._leaf = place
        if place.kind is not None:
            self._begin(place.kind, name)
        elif attributes:
            for at in range(0, len(attributes), 2):
                path = f"{place.path}@{attributes[at]}"
                self._leaves.setdefault(path, []).append(attributes[at + 1])

    def _end(self, _: str) -> None:
        place, texts = self._place, self._texts
        if texts:
            text = "".join(texts).strip()
            texts.clear()
            if text:
                if place is not self._leaf:
                    self._refuse_mixture()
                leaves, path = self._leaves, place.path
                if path in leaves:
                    leaves[path].append(text)
                else:
                    leaves[path] = [text]
        self._place = place.parent
        if place.kind is not None:
            self._finish()

    def _begin(self, kind: str, name: str) -> None:
        if kind == _SKIPPED:
            self._parser.StartElementHandler = self._start_skipped
            self._parser.EndElementHandler = self._end_skipped
            return
        if self._place.unit == OUTSIDE:
            self.namespace = name.rpartition(" ")[0]
        self._begun += 1
        if self._begun > MAX_XML_UNITS:
            raise TooManyUnits(limit=MAX_XML_UNITS)
        self._outer.append(self._unit)
        self._unit = Unit(kind, self._parser.CurrentLineNumber, {}, [], [])
        self._leaves = self._unit.leaves
        if kind in self._containers:
            self._on_begin(kind, self._unit.line)

    def _finish(self) -> None:
        unit, parent = self._unit, self._outer.pop()
        self._unit, self._leaves = parent, parent.leaves
        self._last_unit_end = self._parser.CurrentByteIndex
        if parent.kind in self._containers:
            self._on_finish(unit, parent.leaves)
        else:
            add_part(parent, unit)

    def _start_skipped(self, _: str, __: list[str]) -> None:
        self._skipped += 1
        if self._place.depth + self._skipped > MAX_XML_DEPTH:
            self._refuse_depth()

    def _end_skipped(self, _: str) -> None:
        self._texts.clear()
        if self._skipped:
            self._skipped -= 1
            return
        self._place = self._place.parent
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end

    def _refuse_mixture(self) -> None:
        line = f"line {self._parser.CurrentLineNumber}"
        raise MarkupInText(line, field=self._place.path or self._place.unit)

    def _refuse_depth(self) -> None:
        raise TooDeep(f"line {self._parser.CurrentLineNumber}", limit=MAX_XML_DEPTH)

    def _find_place(self, name: str) -> _Place:
        """Compute the place of a new element, and store it."""
        parent = self._place
        if parent.depth >= MAX_XML_DEPTH:
            self._refuse_depth()
        unit = parent.kind or parent.unit
        namespace, _, local = name.rpartition(" ")
        inside = "" if parent.kind or unit == OUTSIDE else parent.path
        path = inside if local in self._wrappers else f"{inside}/{local}".removeprefix("/")
        kind = self._units[unit].get(path)
        if unit != OUTSIDE and namespace != self.namespace:
            kind = _SKIPPED
        place = _Place(parent, "" if kind else path, unit, kind, parent.depth + 1)
        if self._places < _MAX_PLACES:
            self._places += 1
            parent.children[name] = place
        return place


def _skip_blanks(source: BinaryIO) -> None:
    """Skip blank lines before the XML declaration: gateways add them, expat refuses them."""
    head = source.read(_CHUNK)
    source.seek(len(head) - len(head.lstrip(b" \t\r\n")))
