"""How units with the very same tags are written, and what the careful reader makes of them."""

import io
import re
from typing import NamedTuple

from billing.statements.camt.units import Leaves, UnitReader, Units
from billing.statements.errors import StatementRefused

# A tag without prefix, odd blanks or reference; nearly all of ISO 20022 messages are like it.
_TAG = re.compile(r'(/?)([A-Za-z]\w*)((?: [A-Za-z]\w*="[A-Za-z0-9.:-]+")*)(/?)', re.ASCII)
_ATTRIBUTE = re.compile(r' (\w+)="([^"]+)"', re.ASCII)
# A larger unit is a batch, hardly two of them alike.
_MAX_TAG_CHARS = 2_000


class Step(NamedTuple):
    """A unit begins or is whole, after some texts."""

    taken: tuple[tuple[str, int], ...]  # path, and which of the texts
    kind: str
    begins: bool
    is_fresh: bool  # all that the unit has are these texts, no two of one path
    place: int  # the group at its tag, by which its line is counted


class Shape(NamedTuple):
    """How units with the same tags are written, and what the careful reader made of them."""

    form: re.Pattern[str]  # one group for each text, and one at the beginning of each unit
    constants: tuple[str, ...]  # the attributes; they count as texts behind the last group
    steps: tuple[Step, ...]
    units: int
    depth: int


NO_SHAPE = Shape(re.compile(r"(?!)"), (), (), 0, 0)


class Context(NamedTuple):
    """What the careful reader has to know: its units and wrappers, and where a unit stands."""

    units: Units
    wrappers: frozenset[str]
    within: tuple[str, ...]  # the units around it, from the root
    tag: str


def learn_shape(tags: tuple[str, ...], context: Context) -> Shape:
    """Have the careful reader read the tags with numbers for texts; for odd ones no shape."""
    marked = _mark(tags, context.tag)
    if marked is None:
        return NO_SHAPE
    notes = _Notes()
    reader = UnitReader(context.units, notes, wrappers=context.wrappers, counted=context.tag)
    opening = "".join(f"<{tag}>" for tag in context.within)
    closing = "".join(f"</{tag}>" for tag in (context.tag, *reversed(context.within)))
    try:
        reader.read(io.BytesIO(f"{opening}{''.join(marked.lines)}{closing}".encode()))
    except StatementRefused:
        return NO_SHAPE
    around = len(context.within)
    return _shape_of(tags, marked, notes.noted[around:-around])


class _Marked(NamedTuple):
    """Tags, each on a line of its own, with a number for each text and attribute.

    The numbers are in the order of the file.
    """

    lines: list[str]
    attributes: dict[int, str]
    texts: dict[int, int]  # the number of a tag -> the number of the text behind it
    depth: int


def _mark(tags: tuple[str, ...], first: str) -> _Marked | None:
    """None when a tag is not of the plain kind, or the first is another."""
    if not tags or tags[0] != first or sum(map(len, tags)) > _MAX_TAG_CHARS:
        return None
    lines: list[str] = []
    attributes: dict[int, str] = {}
    texts: dict[int, int] = {}
    depth = deepest = 0
    for at, tag in enumerate(tags):
        match = _TAG.fullmatch(tag)
        if match is None or "xmlns" in tag:
            return None
        ends, name, rest, is_empty = match.groups()
        line = f"\n<{ends}{name}"
        for attribute, value in _ATTRIBUTE.findall(rest):
            number = len(attributes) + len(texts)
            attributes[number] = value
            line += f' {attribute}="{number}"'
        line += f"{is_empty}>"
        if not ends:
            deepest = max(deepest, depth + 1)
            depth += not is_empty
        else:
            depth -= 1
        if not ends and tags[at + 1 : at + 2] == (f"/{name}",):
            texts[at] = len(attributes) + len(texts)
            line += str(texts[at])
        lines.append(line)
    return _Marked(lines, attributes, texts, deepest)


class _Note(NamedTuple):
    """What the handler was told: a unit begins, or is whole."""

    kind: str
    begins: bool
    line: int
    taken: list[tuple[int, str]]  # number and path of what was not noted before
    is_fresh: bool


class _Notes:
    """Takes the units of marked tags and notes what they had when."""

    def __init__(self) -> None:
        self.noted: list[_Note] = []
        self._known: set[str] = set()

    def begin(self, kind: str, around: Leaves, line: int) -> None:
        """A unit begins."""
        self._note(kind, True, line, around)

    def finish(self, kind: str, leaves: Leaves, around: Leaves, line: int) -> None:
        """A unit is whole."""
        self._note(kind, False, line, leaves)

    def _note(self, kind: str, begins: bool, line: int, leaves: Leaves) -> None:
        marks = [(mark, path) for path, marks in leaves.items() for mark in marks]
        taken = sorted((int(mark), path) for mark, path in marks if mark not in self._known)
        self._known.update(mark for mark, _ in marks)
        is_fresh = len(taken) == len(marks) == len(leaves) > 0
        self.noted.append(_Note(kind, begins, line, taken, is_fresh))


def _shape_of(tags: tuple[str, ...], marked: _Marked, noted: list[_Note]) -> Shape:
    """The shape of units with these tags, of which the careful reader told the handler so much."""
    starts = {note.line - 2 for note in noted if note.begins}  # the first tag is in the second line
    form, places, group = "", {}, 0
    where: dict[int, int] = {}  # number of a text or attribute -> its place among the texts
    for at, tag in enumerate(tags):
        form += r"\s*+"
        if at in starts:
            group += 1
            form += "()"
            places[at] = group
        form += re.escape(f"<{tag}>")
        if at in marked.texts:
            where[marked.texts[at]] = group
            group += 1
            form += "([^<&]*+)"
    where |= {number: group + at for at, number in enumerate(marked.attributes)}
    steps = tuple(
        Step(
            tuple((path, where[number]) for number, path in note.taken),
            note.kind,
            note.begins,
            note.is_fresh,
            places[note.line - 2] if note.begins else 0,
        )
        for note in noted
    )
    constants = tuple(marked.attributes.values())
    return Shape(re.compile(form + r"\s*+"), constants, steps, len(starts), marked.depth)
