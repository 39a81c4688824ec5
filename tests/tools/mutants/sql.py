"""The changes of an SQL text, in a string of Python or the body of a function."""

import re

#: What is no statement's text: strings, comments, and the fields of an f-string.
_ASIDE = re.compile(r"'(?:[^']|'')*'|--[^\n]*|# [^\n]*|\{[^{}]*\}|\"[^\"\s]*\"")
_IS_SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|ORDER BY|AND|ON CONFLICT)\b")
_WORDS = {
    "AND": "OR",
    "OR": "AND",
    "ASC": "DESC",
    "DESC": "ASC",
    "FIRST": "LAST",
    "LAST": "FIRST",
    "LEAST": "GREATEST",
    "GREATEST": "LEAST",
    "min": "max",
    "max": "min",
    "true": "false",
    "false": "true",
    "TRUE": "FALSE",
    "FALSE": "TRUE",
    "bool_or": "bool_and",
    "bool_and": "bool_or",
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "=": "<>",
    "<>": "=",
    "+": "-",
    "-": "+",
    "IS NULL": "IS NOT NULL",
    "IS NOT NULL": "IS NULL",
    "IS DISTINCT FROM": "=",
    "IS NOT DISTINCT FROM": "<>",
    "NOT EXISTS": "EXISTS",
    "EXISTS": "NOT EXISTS",
    "LEFT JOIN": "JOIN",
}
_CLAUSES = (
    "SELECT FROM WHERE SET ON HAVING RETURNING VALUES WHEN IF ELSIF CASE THEN ELSE ORDER DECLARE"
)
_TOKEN = re.compile(
    r"(?P<word>\bIS (?:NOT )?DISTINCT FROM\b|\bIS (?:NOT )?NULL\b|\b(?:NOT )?EXISTS\b|\bLEFT JOIN\b"
    r"|\b[A-Za-z_]+\b(?!\s*:?=>)|<=|>=|<>|(?<![:<>=!|\-@])[<>=](?![>=@|])|(?<![\w%(]\()(?<=\s)[+-](?=\s))"
    r"|(?P<number>(?<![\w.\"'%])\d+(?![\w.]))"
)
_ORDER = re.compile(r"\bORDER BY\s+[\w.]+(?=\s*(?:[,;)\"]|$|\s(?:FOR|LIMIT|DESC\b)))", re.MULTILINE)


def edits(text):
    """`(start, end, new, change)` of each change, in the order of the text; none where it is no SQL."""
    if not _IS_SQL.search(text):
        return
    text = _ASIDE.sub(lambda aside: "\x00" * len(aside.group()), text)
    clause, is_between = "", False
    for token in _TOKEN.finditer(text):
        old = token.group()
        if old in _CLAUSES.split():
            clause = old
        if old == "BETWEEN":
            is_between = True
        elif old == "AND" and is_between:
            is_between = False
        elif token["number"]:
            if clause != "ORDER":
                yield token.start(), token.end(), str(int(old) + 1), f"{old} → {int(old) + 1}"
        elif old in _WORDS and not _assigns(old, clause) and not _is_syntax(text, token):
            yield token.start(), token.end(), _WORDS[old], f"{old} → {_WORDS[old]}"
    for order in _ORDER.finditer(text):
        if not text[order.end() :].lstrip().startswith("DESC"):
            yield order.end(), order.end(), " DESC", f"{order.group()} → {order.group()} DESC"


def _assigns(word, clause):
    """Whether an equals sign sets a column or a setting; then its change is no SQL."""
    return word == "=" and clause in {"SET", "DECLARE", ""}


def _is_syntax(text, token):
    """Whether a word is part of a longer phrase: DO UPDATE, IF NOT EXISTS, OR REPLACE."""
    return text[token.end() :].lstrip().startswith("REPLACE") or (
        token.group() == "EXISTS" and text[: token.start()].rstrip().endswith("IF NOT")
    )
