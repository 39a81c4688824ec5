"""The output of `billing statements read`, as a table and as JSON."""

import json
import zipfile

import pytest
from click.testing import CliRunner

from cli.main import main
from tests.billing.statements.writing import camt, entry, mt940


@pytest.fixture
def run(tmp_path):
    def run(*arguments, **files):
        paths = []
        for name, text in files.items():
            path = tmp_path / name
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            paths.append(str(path))
        return CliRunner().invoke(main, ["statements", "read", *paths, *arguments])

    return run


def test_a_file_is_printed_as_one_line_of_json(run):
    result = run("--json", good=camt(entry(), entry("5.00"), closing="15.00"))

    printed = json.loads(result.output)
    assert (result.exit_code, printed["outcome"], printed["error"]) == (0, "read", None)
    [statement] = printed["statements"]
    assert (statement["format"], statement["closing"]["amount_minor"]) == ("camt.053", 1500)
    assert [read_entry["amount_minor"] for read_entry in statement["entries"]] == [1000, 500]


def test_several_files_are_several_lines_and_one_refusal_ends_with_1(run):
    result = run(
        "--json",
        held=camt(entry(), closing="9.00"),
        bad="hello",
        good=mt940(closing=":62F:C260131EUR0,00"),
    )

    outcomes = [json.loads(line)["outcome"] for line in result.output.splitlines()]
    assert (result.exit_code, outcomes) == (1, ["held", "refused", "read"])
    refused = json.loads(result.output.splitlines()[1])
    assert refused["error"]["name"] == "UnknownFormat"
    assert refused["statements"] == []


def test_people_see_a_table_and_why_a_statement_is_held(run):
    result = run(held=camt(entry(), closing="9.00"))

    assert result.exit_code == 0
    assert "10.00 EUR" in result.output
    assert "held: balance_mismatch" in result.output
    assert "difference 100 minor units" in result.output


def test_people_see_why_a_file_is_refused(run):
    result = run(bad=camt(entry("NaN")))

    assert result.exit_code == 1
    assert "BadAmount: 'NaN' is not an amount (line 1, Ntry[1])" in result.output.replace("\n", "")


def test_markup_in_a_file_does_not_paint_the_screen(run):
    result = run(ok=mt940(":61:2601310131C10,00NTRFNONREF", ":86:[b]x[/b]"))

    assert "[b]x[/b]" in result.output


def test_a_missing_file_is_a_mistake_of_usage(run):
    assert run("no-such-file").exit_code == 2
    assert run().exit_code == 2


def test_a_long_statement_shows_its_beginning(run):
    result = run(long=camt(*[entry()] * 60, closing="600.00"))

    assert "and 10 more entries" in result.output


def test_people_see_what_was_decided_for_a_file_and_what_was_passed_over(run, tmp_path):
    path = tmp_path / "both.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.xml", camt(entry(), closing="10.00"))
        archive.writestr("readme.pdf", b"%PDF-1.4")

    table = CliRunner().invoke(main, ["statements", "read", str(path)])
    [statement] = json.loads(run("--json", **{"both.zip": path.read_bytes()}).output)["statements"]

    assert "note: passed over" in table.output
    assert "readme.pdf" in table.output
    assert "member 'readme.pdf'" in statement["notes"][0]
