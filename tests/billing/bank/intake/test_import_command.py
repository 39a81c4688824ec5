"""`billing statements import` and its neighbours, and the drop folder that beat sweeps."""

import io
import json
import os

import pytest
from click.testing import CliRunner

from billing.bank.intake import files as bank_files
from cli.main import main
from flows.bank import drop_folder
from flows.bank import import_file as import_file_flow
from tasks.bank import import_statement, sweep_files
from tests.billing.bank.story import Bank, line, statement, statements
from tests.billing.statements.writing import OWN_IBAN
from worker.database import transaction

GOOD = statement(line("10.00", text="one"), day="2026-02-01")


def billing(*arguments):
    return CliRunner().invoke(main, ["statements", *map(str, arguments)])


def test_files_are_imported_and_each_outcome_is_shown(database, tmp_path):
    (tmp_path / "good.xml").write_bytes(GOOD)
    (tmp_path / "bad.xml").write_bytes(b"%PDF-1.7")

    result = billing("import", tmp_path / "good.xml", tmp_path / "bad.xml", "--json")

    assert result.exit_code == 1
    good, bad = json.loads(result.output)["files"]
    assert (good["result"]["outcome"], good["result"]["statements"][0]["new_lines"]) == (
        "imported",
        1,
    )
    assert (bad["result"]["outcome"], bad["result"]["error"]) == ("refused", "UnknownFormat")


def test_the_same_files_again_are_repeats(database, tmp_path):
    (tmp_path / "good.xml").write_bytes(GOOD)
    (tmp_path / "bad.xml").write_bytes(b"%PDF-1.7")
    billing("import", tmp_path / "good.xml", tmp_path / "bad.xml")

    result = billing("import", tmp_path / "good.xml", tmp_path / "bad.xml", "--json")

    outcomes = [one["result"]["outcome"] for one in json.loads(result.output)["files"]]
    assert outcomes == ["repeat", "refused"]


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_an_import_shows_at_once_why_statements_are_held(database, tmp_path, more):
    (tmp_path / "good.xml").write_bytes(GOOD)

    for _ in range(2):  # what was imported before is still held
        result = billing("import", tmp_path / "good.xml", "--json", *more)

        [file] = json.loads(result.output)["files"]
        [why] = [said for said in file["result"]["held"] if said.startswith("account_unknown")]
        assert why.endswith("is not registered as an account of ours")


def test_a_dry_run_shows_the_outcome_and_stores_nothing(database, tmp_path):
    (tmp_path / "good.xml").write_bytes(GOOD)

    result = billing("import", tmp_path / "good.xml", "--dry-run", "--json")

    [file] = json.loads(result.output)["files"]
    assert file["result"]["statements"][0]["new_lines"] == 1
    assert Bank().statements() == []


def test_an_account_is_registered_and_listed(database):
    billing("account", OWN_IBAN, "--currency", "EUR", "--format", "camt.053")

    [account] = json.loads(billing("account", "--json").output)["accounts"]
    assert (account["number"], account["format"]) == (OWN_IBAN, "camt.053")


@pytest.mark.parametrize(
    "more", [["--currency", "XXQ", "--format", "MT940"], ["--currency", "EUR"], []]
)
def test_an_account_without_currency_and_format_is_not_registered(database, more):
    result = billing("account", OWN_IBAN, *more)

    assert result.exit_code != 0
    assert json.loads(billing("account", "--json").output) == {"accounts": []}


def test_held_statements_are_listed_and_released(database):
    bank = Bank()
    bank.register()
    bank.receive(statement(line("10.00"), closing=900))

    [held] = json.loads(billing("list", "--held", "--json").output)["statements"]
    billing("release", held["digest"][:8], "--because", "the bank confirmed it")

    assert json.loads(billing("list", "--held", "--json").output)["statements"] == []
    assert "balance_mismatch" in held["reasons"][0]


def test_gaps_are_listed_by_themselves(database):
    bank = Bank()
    bank.register()
    made = statements([line("1.00")], [line("2.00")], [line("3.00")])
    bank.receive(made[0], made[2])

    [gap] = json.loads(billing("list", "--json").output)["gaps"]

    assert gap["difference_minor"] == 200


def test_a_file_in_the_drop_folder_is_imported_and_moved_aside(database, tmp_path, monkeypatch):
    _leave(tmp_path / "good.xml", GOOD)
    _leave(tmp_path / "bad.pdf", b"%PDF-1.7")
    _leave(tmp_path / ".hidden", GOOD)
    (tmp_path / "still-written.xml").write_bytes(GOOD)

    outcomes = drop_folder.sweep(tmp_path)

    assert sorted(one.outcome for one in outcomes) == ["imported", "refused"]
    assert (tmp_path / "imported" / "good.xml").exists()
    assert (tmp_path / "refused" / "bad.pdf").exists()
    assert {path.name for path in tmp_path.iterdir() if not path.is_dir()} == {
        ".hidden",
        "still-written.xml",
    }


def test_a_folder_named_like_an_account_has_the_files_of_that_account(database, tmp_path):
    csv = b"Date,Amount,Currency,Description\n2026-02-01,1.00,EUR,a\n2026-02-13,2.00,EUR,b\n"
    Bank().register("BANK/12345", source_format="CSV")
    for place, name in enumerate((OWN_IBAN, "BANK_12345", "archive", "imported")):
        (tmp_path / name).mkdir()
        _leave(tmp_path / name / "day.csv", csv + b"2026-02-14,%d.00,EUR,c\n" % (place + 3))

    outcomes = drop_folder.sweep(tmp_path)

    assert [one.outcome for one in outcomes] == ["imported", "imported"]
    assert {row.account for row in Bank().statements()} == {OWN_IBAN, "BANK/12345"}
    assert (tmp_path / OWN_IBAN / "imported" / "day.csv").exists()
    assert (tmp_path / "archive" / "day.csv").exists()


def test_two_files_of_one_name_are_both_kept(database, tmp_path):
    for content in (GOOD, statement(line("2.00"), number=2, opening=1000)):
        _leave(tmp_path / "today.xml", content)
        drop_folder.sweep(tmp_path)

    assert {path.name for path in (tmp_path / "imported").iterdir()} == {"today.xml", "today.xml.1"}


def test_the_task_imports_a_file_of_the_database_by_its_id(database):
    file_id = _received(GOOD)

    import_statement.apply(kwargs={"file_id": file_id}, throw=True)

    assert len(Bank().statements()) == 1


def test_a_file_whose_message_was_lost_is_imported_by_the_sweep(database):
    _received(GOOD)

    sweep_files.apply(throw=True)

    assert len(Bank().statements()) == 1


def test_a_crash_between_two_statements_leaves_whole_ones_and_the_rest_comes_again(
    database, monkeypatch
):
    both = b"".join([GOOD.partition(b"</Stmt>")[0], b"</Stmt>", _second_statement()])
    file_id = _received(both)
    store, calls = import_file_flow.store.store, []

    def dies_at_the_second(*arguments, **named):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return store(*arguments, **named)

    monkeypatch.setattr(import_file_flow.store, "store", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        import_file_flow.import_file(file_id)
    assert len(Bank().statements()) == 1

    import_file_flow.import_file(file_id)

    assert len(Bank().statements()) == 2


def _second_statement():
    second = statement(line("2.00"), number=2, opening=1000, day="2026-02-02")
    return second.partition(b"</GrpHdr>")[2]


def _received(content):
    with transaction() as ctx:
        return bank_files.receive(ctx.at(Bank().now), io.BytesIO(content), name="a file").id


def _leave(path, content):
    path.write_bytes(content)
    os.utime(path, (0, 0))
