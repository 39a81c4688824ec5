"""Lines of a text file, cut from pieces."""

import io

import pytest

from billing.statements import source
from billing.statements.errors import LineTooLong, TooManyLines


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "no end"])
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64])
def test_lines_do_not_depend_on_where_a_piece_ends(monkeypatch, end, last, piece):
    monkeypatch.setattr(source, "_PIECE", piece)
    lines = ["first", "", "sec\x01ond", "ä" * 9]
    data = (end.join(lines) + end + last).encode()

    read = list(source.lines_of(io.BytesIO(data), "utf-8"))

    expected = ["first", "", "second", "ä" * 9, *([last] if last else [])]
    assert read == list(enumerate(expected, 1))


@pytest.mark.parametrize("piece", [1, 5, 64])
@pytest.mark.parametrize(
    ("line", "is_fine"), [("1234\n", True), ("12345", True), ("12345\n", False), ("123456", False)]
)
def test_a_line_is_bounded_with_its_end(monkeypatch, piece, line, is_fine):
    monkeypatch.setattr(source, "_PIECE", piece)
    monkeypatch.setattr(source, "MAX_LINE_CHARS", 5)
    lines = source.lines_of(io.BytesIO(f"ok\n{line}".encode()), "utf-8")

    assert next(lines) == (1, "ok")
    if is_fine:
        assert list(lines) == [(2, line.strip())]
    else:
        with pytest.raises(LineTooLong, match="line 2"):
            next(lines)


@pytest.mark.parametrize("end", ["", "\n"])
def test_lines_are_bounded_in_number(monkeypatch, end):
    monkeypatch.setattr(source, "MAX_LINES", 2)
    assert len(list(source.lines_of(io.BytesIO(f"1\n2{end}".encode()), "utf-8"))) == 2

    with pytest.raises(TooManyLines):
        list(source.lines_of(io.BytesIO(f"1\n2\n3{end}".encode()), "utf-8"))
