"""Texts from outside in a form that controls no terminal, log or page."""

import unicodedata

#: Categories of characters that look like a space: a bank's no-break space is common.
_SPACES = "Zs"


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text with each character that can't be seen as its escape, such as `\x1b`.

    These are control characters, line ends, escape sequences, bidirectional overrides, characters
    without a width, and lone surrogates. `keep`: characters that stay.
    """
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c in keep else _escaped(c) for c in text])


def _escaped(character: str) -> str:
    if unicodedata.category(character) == _SPACES:
        return " "
    return character.encode("unicode_escape").decode()
