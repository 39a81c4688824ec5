"""A tokenizer for OFX in SGML and XML.

It expands only numeric references and the named ones below, and fetches nothing.
"""

import html
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from billing.statements.errors import DoctypeRefused, LineTooLong, TooManyTags
from billing.statements.limits import MAX_LINE_CHARS, MAX_OFX_TAGS
from billing.statements.source import text_of, without_controls

_CHUNK = 65_536
_TAG = re.compile(r"(/?)([A-Z][A-Z0-9_.]*)\s*(/?)>(.*)", re.DOTALL)
# Sections that may contain `<`, and their ends: comments, CDATA, processing instructions.
_SECTIONS = {"!--": "-->", "![CDATA[": "]]>", "?": "?>"}
_DECLARATIONS = ("!DOCTYPE", "!ENTITY", "!ELEMENT", "!ATTLIST", "!doctype")
# Named references of SGML OFX (OFX 1.6, 2.3.2.1), and the numeric references of XML.
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});")


class Tag(NamedTuple):
    """A tag with the text after it.

    `has_markup` says whether the text contained angle brackets that are no OFX tag.
    """

    name: str
    closes: bool
    text: str
    has_markup: bool
    line: int


def tags_of(source: BinaryIO, encoding: str) -> Iterator[Tag]:
    """Yield all tags of an OFX file in order.

    OFX tags are in capitals. Anything else in angle brackets stays in the text of the tag before
    it, which is marked. Comments and processing instructions are dropped, as in XML; CDATA is text.
    Raises DoctypeRefused, LineTooLong and TooManyTags.
    """
    name, closes, text, has_markup, at = "", False, "", False, 0
    for count, (line, piece) in enumerate(_pieces(source, encoding)):
        if count > MAX_OFX_TAGS:
            raise TooManyTags(f"line {line}", limit=MAX_OFX_TAGS)
        match = _TAG.fullmatch(piece)
        if match:
            if name:
                yield Tag(name, closes, _plain(text), has_markup, at)
            slash, name, empty, text = match.groups()
            closes, has_markup, at = bool(slash), False, line
            if empty:  # <MEMO/> is an empty value
                text = ""
        else:
            inner_text, is_markup = _inner(piece, line)
            text += inner_text
            has_markup = has_markup or is_markup
            if len(text) > MAX_LINE_CHARS:
                raise LineTooLong(f"line {line}", limit=MAX_LINE_CHARS)
    if name:
        yield Tag(name, closes, _plain(text), has_markup, at)


def _inner(piece: str, line: int) -> tuple[str, bool]:
    """The text of a piece that is no OFX tag, and whether the piece is other markup."""
    if piece.startswith("!--"):
        return piece.partition("-->")[2], False
    if piece.startswith("?"):
        return piece.partition("?>")[2], False
    if piece.startswith("![CDATA["):
        inside, _, after = piece.removeprefix("![CDATA[").partition("]]>")
        return inside.replace("&", "&amp;") + after, False
    if piece.startswith(_DECLARATIONS):
        raise DoctypeRefused(f"line {line}")
    return f"<{piece}", True


def _plain(text: str) -> str:
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
    return without_controls(text).strip()


def _pieces(source: BinaryIO, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield line numbers and the text between each `<` and the next.

    A section stays whole. Text before the first `<` is dropped.
    """
    section: list[str] = []
    end, size, start, is_head = "", 0, 0, True
    for line, piece in _split(source, encoding):
        if not section:
            end = next((end for mark, end in _SECTIONS.items() if piece.startswith(mark)), "")
            size, start = 0, line
            is_head = is_head and bool(end)
            if is_head and piece.startswith("?"):
                end = ""  # some banks forget the end of a declaration before the first tag
        section.append(piece)
        size += len(piece) + 1
        if size > MAX_LINE_CHARS:
            raise LineTooLong(f"line {line}", limit=MAX_LINE_CHARS)
        if end in piece:
            yield start, "<".join(section)
            section = []
    if section:
        yield start, "<".join(section)


def _split(source: BinaryIO, encoding: str) -> Iterator[tuple[int, str]]:
    text = text_of(source, encoding)
    line, rest, is_before = 1, "", True
    try:
        while chunk := text.read(_CHUNK):
            *pieces, rest = (rest + chunk).split("<")
            for piece in pieces:
                if not is_before:
                    yield line, piece
                is_before = False
                line += piece.count("\n")
            if len(rest) > MAX_LINE_CHARS:
                raise LineTooLong(f"line {line}", limit=MAX_LINE_CHARS)
        if not is_before:
            yield line, rest
    finally:
        text.detach()
