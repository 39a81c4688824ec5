"""The drop folder: one file that can't be read is reported, and never stops those behind it."""

import os
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from billing.bank.intake import store
from flows.bank import drop_folder
from models.operations import DeadLetter
from tasks.bank import sweep_files
from tests.billing.bank.story import Bank, line, statement
from tests.billing.statements.writing import OWN_IBAN
from worker.database import transaction
from worker.settings import settings

GOOD = statement(line("10.00", text="one"), day="2026-02-01")


def leave(path, content=GOOD):
    path.write_bytes(content)
    age(path)


def age(path):
    long_ago = time.time() - 60
    os.utime(path, (long_ago, long_ago), follow_symlinks=False)


def dead_letters():
    with transaction() as ctx:
        return list(ctx.session.scalars(sa.select(DeadLetter).order_by(DeadLetter.id)))


def dangling_link(path):
    path.symlink_to(path.parent / "nothing")


def link_to_a_file(path):
    path.symlink_to("/etc/hostname")


def pipe(path):
    os.mkfifo(path)


def socket(path):
    os.mknod(path, 0o600 | 0o140000)


@pytest.mark.parametrize("make", [dangling_link, link_to_a_file, pipe, socket])
def test_what_is_no_plain_file_is_reported_and_passed_over(make, database, tmp_path):
    make(tmp_path / "a.xml")
    age(tmp_path / "a.xml")
    leave(tmp_path / "b.xml")

    outcomes = drop_folder.sweep(tmp_path)

    assert [outcome.outcome for outcome in outcomes] == ["unreadable", "imported"]
    [letter] = dead_letters()
    assert (letter.error, letter.task) == ("FileUnreadable", "bank.sweep_files")
    assert "a.xml" in letter.reason


@pytest.fixture
def refusing(monkeypatch):
    """The user of these tests may be root, for whom every file can be opened."""
    opened = os.open

    def open_(path, flags, *mode, **more):
        if str(path).endswith("closed.xml"):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, *mode, **more)

    monkeypatch.setattr("flows.bank.drop_folder.os.open", open_)


def test_a_file_without_permission_is_reported_and_passed_over(refusing, database, tmp_path):
    leave(tmp_path / "a-closed.xml")
    leave(tmp_path / "b.xml")

    outcomes = drop_folder.sweep(tmp_path)

    assert [outcome.outcome for outcome in outcomes] == ["unreadable", "imported"]
    assert "Permission denied" in dead_letters()[0].reason


def test_hundreds_of_unreadable_files_leave_the_one_behind_them_its_turn(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(drop_folder, "AT_ONCE", 3)
    for number in range(5):
        dangling_link(tmp_path / f"a{number}.xml")
        age(tmp_path / f"a{number}.xml")
    leave(tmp_path / "b.xml")

    outcomes = drop_folder.sweep(tmp_path)

    assert outcomes[-1].outcome == "imported"


def test_a_name_that_is_no_text_is_imported_like_any_other(database, tmp_path):
    leave(tmp_path / os.fsdecode(b"a\xff\xfe.xml"))
    leave(tmp_path / "b.xml", statement(line("2.00"), number=2, opening=1000))

    outcomes = drop_folder.sweep(tmp_path)

    assert [outcome.outcome for outcome in outcomes] == ["imported", "imported"]
    assert not list(tmp_path.glob("*.xml"))


def test_a_file_that_vanishes_before_it_is_opened_is_no_trouble(database, tmp_path, monkeypatch):
    leave(tmp_path / "a.xml")
    leave(tmp_path / "b.xml")
    opened = os.open

    def vanish(path, flags, *mode, **more):
        if str(path).endswith("a.xml"):
            Path(path).unlink()
        return opened(path, flags, *mode, **more)

    monkeypatch.setattr("flows.bank.drop_folder.os.open", vanish)

    outcomes = drop_folder.sweep(tmp_path)

    assert [outcome.outcome for outcome in outcomes] == ["imported"]
    assert dead_letters() == []


def test_a_file_that_cant_be_moved_is_imported_and_reported(database, tmp_path):
    leave(tmp_path / "a.xml")
    leave(tmp_path / "b.pdf", b"%PDF-1.7")
    (tmp_path / "imported").write_text("a file where the folder should be")

    outcomes = drop_folder.sweep(tmp_path)

    assert [outcome.outcome for outcome in outcomes] == ["unreadable", "refused"]
    assert len(Bank().statements()) == 1
    assert "imported" not in dead_letters()[0].error


def test_a_folder_that_is_missing_is_reported_once_and_ends_no_sweep(
    database, tmp_path, monkeypatch
):
    monkeypatch.setenv("BILLING_STATEMENT_FOLDER", str(tmp_path / "nothing"))
    settings.cache_clear()

    answers = [sweep_files.run() for _ in range(2)]

    settings.cache_clear()
    assert answers == [{"files": 0, "refused": 0, "unreadable": 1}] * 2
    [letter] = dead_letters()
    assert letter.attempts == 2


def test_an_account_folder_closed_to_us_is_reported_and_the_next_one_is_read(
    database, tmp_path, monkeypatch
):
    Bank().register("BANK/12345")
    (tmp_path / "BANK_12345").mkdir()
    (tmp_path / OWN_IBAN).mkdir()
    leave(tmp_path / OWN_IBAN / "b.xml")
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("BANK_12345"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr("flows.bank.drop_folder.os.scandir", scandir)

    outcomes = drop_folder.sweep(tmp_path)

    assert [outcome.outcome for outcome in outcomes] == ["unreadable", "imported"]


def test_a_file_whose_import_breaks_becomes_a_dead_letter_and_the_others_are_read(
    database, tmp_path, monkeypatch
):
    leave(tmp_path / "a.xml")
    leave(tmp_path / "b.xml", statement(line("2.00"), number=2, opening=1000))
    read = store.read

    def break_(source, *, name, today):
        if name == "a.xml":
            raise RuntimeError("a bug")
        return read(source, name=name, today=today)

    monkeypatch.setattr(store, "read", break_)

    outcomes = drop_folder.sweep(tmp_path)
    again = drop_folder.import_received()

    assert [outcome.outcome for outcome in outcomes] == ["imported"]
    assert again == []
    [letter] = dead_letters()
    assert (letter.error, letter.task) == ("RuntimeError", "bank.import_statement")
    assert letter.arguments.keys() == {"file_id"}


def test_a_sweep_begins_no_file_after_its_time(database, tmp_path):
    leave(tmp_path / "a.xml")
    leave(tmp_path / "b.xml", statement(line("2.00"), number=2, opening=1000))

    assert len(drop_folder.sweep(tmp_path, budget_s=0.0)) == 1
    assert len(drop_folder.sweep(tmp_path)) == 1
