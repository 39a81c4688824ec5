"""XML of unknown origin, one finished unit at a time.

Nothing is fetched, expanded, or built up without bound.

Expat from the standard library calls us for each tag; there is no tree. A unit is an element that a
table names, such as one transaction; its texts are collected by path and handed over when it ends.
"""

import re
from typing import BinaryIO, Protocol
from xml.parsers import expat

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
# Long enough to find a start tag that two chunks share.
_OVERLAP = 64
# The bracket of a start tag, and the prefix before its name.
_PREFIX = re.compile(rb"(<)[\w.-]+:\Z")
# Paths learnt by heart; a file with more different tags than this has them looked up anew.
_MAX_LEARNT = 5_000
_ENCODING_ERRORS = {
    expat.errors.XML_ERROR_UNKNOWN_ENCODING,
    expat.errors.XML_ERROR_INCORRECT_ENCODING,
}

Leaves = dict[str, list[str]]
# kind of unit -> path inside it -> kind of the unit that begins there
Units = dict[str, dict[str, str]]

# The unit around everything. Its paths are single names, for a message may stand in any envelope.
OUTSIDE = "outside"


class Handler(Protocol):
    """Who takes the units."""

    def begin(self, kind: str, around: Leaves, line: int) -> None:
        """A unit begins; `around` is what its parent unit has so far."""

    def finish(self, kind: str, leaves: Leaves, around: Leaves, line: int) -> None:
        """A unit that began at `line` is whole; `around` is what its parent unit has so far."""


class _Node:
    """A place that an element can have.

    Its path in its unit, and the places below it that were seen so far.
    """

    __slots__ = ("children", "depth", "kind", "parent", "path", "unit")

    def __init__(
        self, parent: "_Node | None", path: str, unit: str, kind: str | None, depth: int
    ) -> None:
        self.parent = parent or self  # expat balances the tags, so nothing goes above the root
        self.path = path
        self.unit = unit  # the kind of unit that the element is part of
        self.kind = kind  # the kind of unit that begins with the element
        self.depth = depth
        self.children: dict[str, _Node | None] = {}


class UnitReader:
    """Feeds a source to expat and a handler with units.

    Inside the first unit only elements of its namespace count, all others are passed over.
    `wrappers` are elements whose children count as their parent's. `raw_count` is how often a start
    tag `counted` stands in the bytes, comments and CDATA included. `read` raises the errors of
    XmlRefused.
    """

    def __init__(
        self, units: Units, handler: Handler, *, wrappers: frozenset[str], counted: str
    ) -> None:
        self.namespace = ""
        self.raw_count = 0
        self._units = units
        self._handler = handler
        self._wrappers = wrappers
        self._counted = re.compile(counted.encode() + rb"[\s/>]")
        self._tail = b""
        self._tags = self._learnt = self._skipped = self._begun = self._last_unit_end = 0
        self._shift = 0  # how many bytes of the source the parser was not given
        self._node = _Node(None, "", OUTSIDE, None, 0)
        self._children = self._node.children
        self._texts: list[str] = []
        # the element that began last, while it has no children: the one that may have a text
        self._leaf: _Node | None = None
        self._leaves: Leaves = {}
        self._line = 0
        self._outer: list[tuple[Leaves, int]] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.ordered_attributes = True  # a list, empty for most, is cheaper than a dict
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        # the list's own method: a text is the most frequent event, and this one needs no Python
        self._parser.CharacterDataHandler = self._texts.append
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.EntityDeclHandler = self._refuse_doctype

    def read(self, source: BinaryIO) -> None:
        """Read the source to its end."""
        _skip_blanks(source)
        try:
            while chunk := source.read(_CHUNK):
                self._count(chunk)
                self._take(chunk)
                if len(self._parser.intern) > MAX_XML_NAMES:
                    raise TooManyNames(limit=MAX_XML_NAMES)
                if source.tell() - self._last_unit_end > MAX_UNIT_BYTES + _CHUNK:
                    raise ElementTooLarge(f"byte {self._last_unit_end}", limit=MAX_UNIT_BYTES)
            self._end_of_source()
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            refusal = EncodingRefused if reason in _ENCODING_ERRORS else MalformedXml
            raise refusal(f"line {error.lineno}", reason=reason) from None
        except (LookupError, ValueError) as error:
            if self._node.depth:
                raise  # not pyexpat's word for an encoding that it can't map, but a bug of ours
            raise EncodingRefused("line 1", reason=str(error)) from None
        self.raw_count += self._starts_in(self._tail, len(self._tail))

    def _take(self, chunk: bytes) -> None:
        self._parser.Parse(chunk, False)  # expat takes no keywords

    def _end_of_source(self) -> None:
        self._parser.Parse(b"", True)

    def _count(self, chunk: bytes) -> None:
        self._tags += chunk.count(b"<") + chunk.count(b"/>")
        if self._tags > MAX_XML_TAGS:
            raise TooManyTags(limit=MAX_XML_TAGS)
        # UTF-16 shows its ASCII once the NULs are gone
        seen = self._tail + chunk.replace(b"\0", b"")
        keep = max(len(seen) - _OVERLAP, 0)
        self.raw_count += self._starts_in(seen, keep)
        self._tail = seen[keep:]

    def _starts_in(self, seen: bytes, end: int) -> int:
        """How many start tags `counted` begin in the first `end` bytes.

        Names are looked for, and what stands before each: a search that begins with a tag's `<`
        would stop at every tag of the file.
        """
        count = 0
        for match in self._counted.finditer(seen):
            at = match.start()
            if seen[at - 1 : at] == b":":  # a prefix; behind a `/` it would be an end tag
                prefix = _PREFIX.search(seen, max(at - _OVERLAP, 0), at)
                at = prefix.end(1) if prefix else 0
            count += seen[at - 1 : at] == b"<" and at <= end
        return count

    def _refuse_doctype(self, *_: object) -> None:
        raise DoctypeRefused(f"line {self._parser.CurrentLineNumber}")

    def _start(self, name: str, attributes: list[str]) -> None:
        texts = self._texts
        if texts:
            if not "".join(texts).isspace():
                self._refuse_mixture()
            texts.clear()
        node = self._children.get(name) or self._learn(name)
        if node is None:
            self._begin_skipping()
            return
        self._node = self._leaf = node
        self._children = node.children
        if node.kind is not None:
            self._begin(node.kind, name)
        elif attributes:
            for place in range(0, len(attributes), 2):
                path = f"{node.path}@{attributes[place]}"
                self._leaves.setdefault(path, []).append(attributes[place + 1])

    def _end(self, _: str) -> None:
        node, texts = self._node, self._texts
        if texts:
            plain = texts[0].strip() if len(texts) == 1 else "".join(texts).strip()
            texts.clear()
            if plain:
                if node is not self._leaf:
                    self._refuse_mixture()
                leaves, path = self._leaves, node.path
                if path in leaves:
                    leaves[path].append(plain)
                else:
                    leaves[path] = [plain]
        above = self._node = node.parent
        self._children = above.children
        if node.kind is not None:
            self._finish(node.kind)

    def _begin_skipping(self) -> None:
        """Pass over an element with all that is in it: other handlers stand in until its end."""
        self._leaf = None
        self._skip("", [])
        self._parser.StartElementHandler = self._skip
        self._parser.EndElementHandler = self._end_skipped

    def _skip(self, _: str, __: list[str]) -> None:
        self._skipped += 1
        if self._node.depth + self._skipped > MAX_XML_DEPTH:
            self._refuse_depth()

    def _end_skipped(self, _: str) -> None:
        self._skipped -= 1
        self._texts.clear()
        if not self._skipped:
            self._parser.StartElementHandler = self._start
            self._parser.EndElementHandler = self._end

    def _refuse_mixture(self) -> None:
        line = f"line {self._parser.CurrentLineNumber}"
        raise MarkupInText(line, field=self._node.path or self._node.unit)

    def _begin(self, kind: str, name: str) -> None:
        if self._node.unit == OUTSIDE:
            self.namespace = name.rpartition(" ")[0]
        self._begun += 1
        if self._begun > MAX_XML_UNITS:
            raise TooManyUnits(limit=MAX_XML_UNITS)
        around = self._leaves
        self._outer.append((around, self._line))
        self._leaves, self._line = {}, self._parser.CurrentLineNumber
        self._handler.begin(kind, around, self._line)

    def _finish(self, kind: str) -> None:
        leaves, line = self._leaves, self._line
        self._leaves, self._line = self._outer.pop()
        self._last_unit_end = self._parser.CurrentByteIndex + self._shift
        self._handler.finish(kind, leaves, self._leaves, line)

    def _learn(self, name: str) -> _Node | None:
        """The place of an element that was not seen here before; None for one to be passed over."""
        above = self._node
        if name in above.children:
            return None
        if above.depth >= MAX_XML_DEPTH:
            self._refuse_depth()
        unit = above.kind or above.unit
        namespace, _, local = name.rpartition(" ")
        inside = "" if above.kind or unit == OUTSIDE else above.path
        path = inside if local in self._wrappers else f"{inside}/{local}".removeprefix("/")
        kind = self._units[unit].get(path)
        known = unit == OUTSIDE or namespace == self.namespace
        node = _Node(above, "" if kind else path, unit, kind, above.depth + 1) if known else None
        if self._learnt < _MAX_LEARNT:
            self._learnt += 1
            above.children[name] = node
        return node

    def _refuse_depth(self) -> None:
        raise TooDeep(f"line {self._parser.CurrentLineNumber}", limit=MAX_XML_DEPTH)


def _skip_blanks(source: BinaryIO) -> None:
    """Go behind blank lines before the XML declaration: gateways add them, expat refuses them."""
    head = source.read(_CHUNK)
    source.seek(len(head) - len(head.lstrip(b" \t\r\n")))
