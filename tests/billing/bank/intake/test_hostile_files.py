"""Hostile and awkward files, imported: read, held with reasons, or refused by name; never by half."""

import io
import subprocess
import sys

import pytest
import sqlalchemy as sa

from billing.bank.intake import files as bank_files
from models.bank import Statement, StatementFile, StatementLine
from tasks.bank import import_statement
from tests.billing.bank.intake import bulky_files
from tests.billing.bank.intake.hostile_files import OF_EACH_KIND
from worker.database import transaction

#: Errors that are of the file as a whole, and so name no place in it.
_OF_THE_WHOLE = {
    "ArchiveRefused",
    "EmptyFile",
    "Truncated",
    "UnknownFormat",
    "ElementTooLarge",
    "Bai2Refused",
}
_CASES = [
    pytest.param(content, expected, id=f"{kind}: {name}")
    for kind, found in OF_EACH_KIND.items()
    for name, content, expected in found
]


@pytest.mark.parametrize(("content", "expected"), _CASES)
def test_each_file_is_read_held_or_refused_and_nothing_is_left_by_half(database, content, expected):
    file_id = _received(content)

    for _ in range(2):  # the message may come twice
        import_statement.apply(kwargs={"file_id": file_id}, throw=True)

    file, outcome, stored = _became(file_id)
    assert outcome == expected
    if file.state == "refused":
        assert stored == (0, 0, 0)
        assert file.error in _OF_THE_WHOLE or "(" in file.reason
        assert "Traceback" not in file.reason
    else:
        statements, promised, linked = stored
        assert statements and promised == linked


def test_a_refused_file_is_refused_again_and_its_bytes_stay(database):
    file_id = _received(b"\x00\x01 no statement")
    import_statement.apply(kwargs={"file_id": file_id}, throw=True)

    import_statement.apply(kwargs={"file_id": file_id}, throw=True)

    with transaction() as ctx:
        content = io.BytesIO()
        bank_files.write_content(ctx.session, file_id, content)
        assert bank_files.load(ctx.session, file_id).state == "refused"
        assert content.read() == b"\x00\x01 no statement"


@pytest.mark.parametrize("shape", bulky_files.SHAPES)
def test_the_largest_files_stay_within_a_hundred_megabytes(shape):
    command = [sys.executable, "-m", "tests.billing.bank.intake.bulky_files", shape]

    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    outcome, megabytes = said.split()
    assert outcome == bulky_files.OUTCOMES[shape]
    assert float(megabytes) < 100


def _received(content):
    content = content() if callable(content) else content
    plain = content if isinstance(content, bytes) else content.encode()
    with transaction() as ctx:
        return bank_files.receive(ctx, io.BytesIO(plain), name="a file").id


def _became(file_id):
    """The file, what became of it in words, and its statements, the lines they promise and have."""
    with transaction() as ctx:
        file = ctx.session.get_one(StatementFile, file_id)
        statements = ctx.session.scalars(sa.select(Statement)).all()
        linked = ctx.session.scalar(sa.select(sa.func.count()).select_from(StatementLine))
        # the account of these files is nobody's, and they are of a day long past
        reasons = {hold["reason"] for one in statements for hold in one.holds}
        reasons = sorted(reasons - {"date_out_of_range", "account_unknown"})
        words = {"refused": f"refused {file.error}", "imported": " ".join(["held", *reasons])}
        outcome = "read" if file.state == "imported" and not reasons else words[file.state]
        ctx.session.expunge_all()
        return file, outcome, (len(statements), sum(one.line_count for one in statements), linked)
