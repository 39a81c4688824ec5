"""The changes that a mutant may have: one edit of a Python source or of an SQL text each."""

import ast
import re
from typing import NamedTuple

from tests.tools.mutants import sql


class Edit(NamedTuple):
    """Characters `start` to `end` of the source become `new`; `change` says so in words."""

    start: int
    end: int
    new: str
    change: str


_SWAPPED = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
    ast.Mod: ("%", "//"),
}
_CALLS = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "asc": "desc",
    "desc": "asc",
    "is_": "is_not",
    "is_not": "is_",
    "in_": "not_in",
    "not_in": "in_",
}
#: A query's conditions: each of them is left out once.
_CONDITIONS = {"where", "filter", "and_", "having"}


def of_python(source):
    """Every edit of a module, in the order of the source."""
    return sorted(set(_Module(source).edits()))


class _Module:
    def __init__(self, source):
        self._source = source
        self._tree = ast.parse(source)
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = source.splitlines()

    def edits(self):
        for node in _walk(self._tree):
            if type(node) in _MAKERS:
                yield from _MAKERS[type(node)](self, node)
        for statement in self._tree.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign):
                yield from self._table(statement)

    def _place(self, line, column):
        text = self._lines[line - 1].encode()[:column].decode()
        return self._starts[line - 1] + len(text)

    def _start(self, node):
        return self._place(node.lineno, node.col_offset)

    def _end(self, node):
        return self._place(node.end_lineno, node.end_col_offset)

    def _text(self, node):
        return self._source[self._start(node) : self._end(node)]

    def _replace(self, node, new):
        yield Edit(self._start(node), self._end(node), new, f"{_short(self._text(node))} → {new}")

    def _swap(self, operator, left, right):
        """Another operator between two nodes."""
        if type(operator) not in _SWAPPED:
            return
        old, new = _SWAPPED[type(operator)]
        gap = self._source[self._end(left) : self._start(right)]
        found = re.search(re.escape(old).replace("\\ ", r"\s+"), gap)
        start = self._end(left) + found.start()
        yield Edit(start, start + len(found.group()), new, f"{old} → {new}")

    def _compare(self, node):
        terms = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, terms, terms[1:], strict=False):
            yield from self._swap(operator, left, right)
            if isinstance(operator, ast.In | ast.NotIn) and isinstance(right, ast.Tuple | ast.List):
                yield from self._without_each(right.elts)

    def _bool_op(self, node):
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from self._swap(node.op, left, right)
        for value in node.values:
            yield from self._replace(value, str(isinstance(node.op, ast.And)))

    def _bin_op(self, node):
        if not isinstance(node.left, ast.Constant | ast.JoinedStr) or not isinstance(
            getattr(node.left, "value", None), str
        ):
            yield from self._swap(node.op, node.left, node.right)

    def _aug_assign(self, node):
        yield from self._swap(node.op, node.target, node.value)

    def _unary_op(self, node):
        if isinstance(node.op, ast.Not | ast.USub):
            yield from self._replace(node, f"({self._text(node.operand)})")

    def _if(self, node):
        if not isinstance(node.test, ast.BoolOp):
            yield from self._replace(node.test, "False")
            yield from self._replace(node.test, "True")

    def _comprehension(self, node):
        for condition in node.ifs:
            yield from self._replace(condition, "True")

    def _constant(self, node):
        if isinstance(node.value, bool):
            yield from self._replace(node, str(not node.value))
        elif isinstance(node.value, int):
            yield from self._replace(node, str(node.value + 1))
        elif isinstance(node.value, str):
            yield from self._sql(node)

    def _sql(self, node):
        for start, end, new, change in sql.edits(self._text(node)):
            yield Edit(self._start(node) + start, self._start(node) + end, new, f"SQL {change}")

    def _expression(self, node):
        """A call for its effect is left out."""
        if isinstance(node.value, ast.Call):
            yield from self._replace(node, "None")

    def _call(self, node):
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        if name in _CALLS:
            end = self._end(node.func)
            yield Edit(end - len(name), end, _CALLS[name], f"{name} → {_CALLS[name]}")
        if name in _CONDITIONS:
            for argument in node.args:
                if not isinstance(argument, ast.Starred):
                    yield from self._replace(argument, "True")

    def _set(self, node):
        yield from self._without_each(node.elts)

    def _table(self, statement):
        """The rows of a module's table."""
        for node in ast.walk(statement.value) if statement.value else ():
            if isinstance(node, ast.Dict):
                rows = zip(node.keys, node.values, strict=True)
                yield from self._without_spans(
                    [(key or value, value) for key, value in rows],
                    [
                        self._text(key or value)
                        for key, value in zip(node.keys, node.values, strict=True)
                    ],
                )
            if isinstance(node, ast.List):
                yield from self._without_each(node.elts)

    def _without_each(self, nodes):
        yield from self._without_spans([(node, node) for node in nodes], map(self._text, nodes))

    def _without_spans(self, spans, names):
        if len(spans) < 2:
            return
        for number, ((first, last), name) in enumerate(zip(spans, names, strict=True)):
            if number + 1 < len(spans):
                start, end = self._start(first), self._start(spans[number + 1][0])
            else:
                start, end = self._end(spans[number - 1][1]), self._end(last)
            yield Edit(start, end, "", f"without {_short(name)}")


_MAKERS = {
    ast.Compare: _Module._compare,
    ast.BoolOp: _Module._bool_op,
    ast.BinOp: _Module._bin_op,
    ast.AugAssign: _Module._aug_assign,
    ast.UnaryOp: _Module._unary_op,
    ast.If: _Module._if,
    ast.IfExp: _Module._if,
    ast.comprehension: _Module._comprehension,
    ast.Constant: _Module._constant,
    ast.JoinedStr: _Module._sql,
    ast.Expr: _Module._expression,
    ast.Call: _Module._call,
    ast.Set: _Module._set,
}


def _walk(tree):
    """The nodes that matter: no annotations, decorators, docstrings, assertions, limits, parts of f-strings."""
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        yield node
        nodes += _children(node)


def _children(node):
    if isinstance(node, ast.JoinedStr | ast.Assert | ast.arg):
        return
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "type_params", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_aside(node, child):
                yield child


def _is_aside(parent, child):
    if isinstance(child, ast.Expr):
        return isinstance(child.value, ast.Constant)
    is_limit = isinstance(child, ast.Constant) and type(child.value) in {int, bool}
    return is_limit and isinstance(parent, ast.Assign) and _is_upper(parent.targets[0])


def _is_upper(target):
    return isinstance(target, ast.Name) and target.id.isupper()


def _short(text):
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
