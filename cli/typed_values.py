"""Errors of values that were typed and that Postgres can't take, as a sentence."""

import re

from sqlalchemy.exc import DataError

from worker.server_errors import first_line

#: The words of psycopg2, and of Python for a file's name.
_NUL = re.compile(r"NUL \(0x00\)|embedded null byte")


def sentence_of(error: BaseException) -> str | None:
    """Return the sentence for a value that can't be stored; None for any other error."""
    is_nul = isinstance(error, ValueError) and _NUL.search(str(error)) is not None
    if is_nul or isinstance(error, UnicodeEncodeError):
        return "A value that was given has a character that can't be stored."
    if isinstance(error, DataError):
        return f"A value that was given can't be stored: {first_line(error.orig)}."
    return None
