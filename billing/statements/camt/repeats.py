"""Units whose markup was read before: where only the texts differ, no parser is needed for them.

A bank writes its entries alike, tag for tag. The careful reader shows once which text of such an
entry has which path; after that an entry with the very same tags is cut at its brackets. Whatever
is not plainly right, be it a tag never seen, a reference, a comment or a stray bracket, goes to the
parser at its place in the file, which reads it or refuses it as if it had read all the others too.
"""

import re

from billing.statements.camt.shapes import NO_SHAPE, Context, Shape, learn_shape
from billing.statements.camt.units import Handler, UnitReader, Units
from billing.statements.limits import MAX_XML_DEPTH, MAX_XML_UNITS

# What no plain unit has: control characters, among them a lone carriage return.
_CONTROLS = bytes({*range(32)} - {ord("\t"), ord("\n")})
_TAGS = re.compile("<([^<>]*)>")
# Larger units are batches, hardly two of them alike.
_MAX_BYTES = 16_384
_MAX_TAGS = 400
# A bank uses some dozens; at their largest these take 2 MB.
_MAX_SHAPES = 64
# After so many more units not read by their shape than read by it no more are tried: a try that
# fails costs half of what one that succeeds saves.
_PATIENCE = 256
# End tags that end no unit for us, as in a comment; given one by one the parser would begin each
# time where the comment begins.
_MAX_MISSES = 2


class RepeatsReader(UnitReader):
    """A UnitReader that reads most units of the tag `counted` by their shape.

    `within` are the units around such a one, from the root; `by_shape` is how many needed no
    parser. Says and refuses what UnitReader does.
    """

    def __init__(
        self,
        units: Units,
        handler: Handler,
        *,
        wrappers: frozenset[str],
        counted: str,
        within: tuple[str, ...],
    ) -> None:
        super().__init__(units, handler, wrappers=wrappers, counted=counted)
        self._context = Context(units, wrappers, within, counted)
        self._start_tag, self._end_tag = f"<{counted}>".encode(), f"</{counted}>".encode()
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self.by_shape = 0
        self._shape = NO_SHAPE  # of the unit read last
        self._patience = _PATIENCE
        self._kept = b""  # the beginning of a unit whose end was not in the bytes so far
        self._fed = self._lines = 0
        # Whether the parser stands right behind a unit with a plain tag: then a plain tag after it
        # is of the same namespace, and is no comment.
        self._is_behind = False
        self._began = self._ended = self._line_there = -1
        self._is_utf8 = True
        self._parser.XmlDeclHandler = self._note_encoding

    def _note_encoding(self, _: str, encoding: str | None, __: int) -> None:
        self._is_utf8 = encoding is None or encoding.upper() == "UTF-8"

    def _take(self, chunk: bytes) -> None:
        known = self._kept + chunk
        self._kept = b""
        *whole, rest = known.split(self._end_tag) if self._patience > 0 else [known]
        misses = 0
        for at, piece in enumerate(whole, 1):
            if self._is_behind and self._read_plain(piece):
                continue
            self._feed_unit(piece)
            misses = 0 if self._is_behind else misses + 1
            if misses > _MAX_MISSES:
                rest = self._end_tag.join([*whole[at:], rest])
                break
        if self._is_behind and whole:
            self._kept = rest
        else:
            self._feed(rest)

    def _end_of_source(self) -> None:
        self._feed(self._kept)
        super()._end_of_source()

    def _feed(self, part: bytes) -> None:
        """Give bytes to the parser, and for the units it was not given their line ends."""
        self._is_behind = False
        self._shift -= self._lines
        part = b"\n" * self._lines + part
        self._lines = 0
        self._fed += len(part)
        self._parser.Parse(part, False)

    def _feed_unit(self, piece: bytes) -> None:
        """Give a piece that ends before an end tag to the parser, and see whether it was a unit."""
        length = len(piece) - piece.rfind(self._start_tag)
        self._feed(piece + self._end_tag)
        end = self._fed - len(self._end_tag)
        was_unit = self._ended == end and self._began == end - length
        self._is_behind = was_unit and self._is_utf8

    def _begin(self, kind: str, name: str) -> None:
        if name.rpartition(" ")[2] == self._context.tag:
            self._began = self._parser.CurrentByteIndex
        super()._begin(kind, name)

    def _finish(self, kind: str) -> None:
        self._ended = self._parser.CurrentByteIndex
        self._line_there = self._parser.CurrentLineNumber
        super()._finish(kind)

    def _read_plain(self, piece: bytes) -> bool:
        """Read a unit, without its end tag, by its shape; False when it is not plain enough."""
        text = _plain_text(piece)
        match = self._match(text) if text is not None else None
        if text is None or match is None:
            self._patience -= 1
            return False
        shape = self._shape
        if (
            self._begun + shape.units > MAX_XML_UNITS
            or self._node.depth + shape.depth > MAX_XML_DEPTH
        ):
            self._patience -= 1
            return False
        self._patience = min(self._patience + 1, _PATIENCE)
        self.by_shape += 1
        self._begun += shape.units
        self._last_unit_end = self._fed + self._shift + len(piece)
        self._shift += len(piece) + len(self._end_tag)
        line = self._line_there + self._lines
        self._lines += text.count("\n")
        self._play(match, text, line)
        return True

    def _match(self, text: str) -> re.Match[str] | None:
        """The text by its shape, which is then `self._shape`: mostly that of the unit before."""
        match = self._shape.form.fullmatch(text)
        if match is None:
            tags = tuple(_TAGS.findall(text))
            if len(tags) > _MAX_TAGS:
                return None
            if tags in self._shapes:
                self._shape = self._shapes[tags]
                match = self._shape.form.fullmatch(text)
            elif len(self._shapes) < _MAX_SHAPES:
                # not to be used at once: the parser has yet to see the names
                self._shapes[tags] = learn_shape(tags, self._context)
        return match

    def _play(self, match: re.Match[str], text: str, first_line: int) -> None:
        """Hand over the units as the parser's events would have."""
        leaves, line, handler = self._leaves, self._line, self._handler
        texts = match.groups() + self._shape.constants
        outer = []
        for taken, kind, begins, is_fresh, tag in self._shape.steps:
            if is_fresh:
                leaves = {path: [said] for path, at in taken if (said := texts[at].strip())}
            else:
                for path, at in taken:
                    if said := texts[at].strip():
                        leaves.setdefault(path, []).append(said)
            if begins:
                outer.append((leaves, line))
                line = first_line + text.count("\n", 0, match.start(tag))
                handler.begin(kind, leaves, line)
                leaves = {}
            else:
                done, began = leaves, line
                leaves, line = outer.pop()
                handler.finish(kind, done, leaves, began)


def _plain_text(piece: bytes) -> str | None:
    """The piece as text with plain line ends; None where it has what XML forbids, or may."""
    if len(piece) > _MAX_BYTES or b"]]>" in piece:
        return None
    plain = piece.replace(b"\r\n", b"\n") if b"\r" in piece else piece
    if len(plain.translate(None, _CONTROLS)) != len(plain):
        return None
    if plain.isascii():
        return plain.decode("ascii")
    try:
        text = plain.decode()
    except UnicodeDecodeError:
        return None
    return None if "\ufffe" in text or "\uffff" in text else text
