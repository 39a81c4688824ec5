"""No text from outside controls a terminal, forges a line, or leaves its cell: of no command, log or page."""

import datetime as dt
import io
import json
import logging
import os
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import cli
from billing.printable import printable
from billing.stripe import events, inbox
from cli import screen
from cli.bank import transfer_report
from tests import stripe_objects as objects
from tests.billing.statements import writing
from worker import logs
from worker.database import transaction

#: A colour, a cleared screen, a forged line, a text from right to left, markup of rich, an emoji's name.
HOSTILE = (
    "a\x1b[31m\x1b[2J\x9b2J\r\nok\u202e\u2066x\u200b\x7f[red]b[/red][link=http://x]c[/link]:bomb:"
)
SAFE = (
    r"a\x1b[31m\x1b[2J\x9b2J\r\nok\u202e\u2066x\u200b\x7f[red]b[/red][link=http://x]c[/link]:bomb:"
)


def is_harmless(text):
    return all(character.isprintable() or character == "\n" for character in text)


def drawn(show):
    """What a screen writes to a terminal that shows colours."""
    out = io.StringIO()
    show(screen.Screen(file=out, width=400, force_terminal=True, color_system=None))
    return out.getvalue()


@given(st.text(st.characters(blacklist_categories=())))
@example("\ud800")
@example("\U000e0001")
@example("\u2028\x85")
def test_a_printable_text_is_left_alone_and_any_other_is_made_printable(text):
    shown = printable(text)

    assert shown.isprintable()
    assert printable(shown) == shown
    assert shown == text or not text.isprintable()


def test_a_space_of_another_kind_is_a_space():
    assert printable("1\xa0000\u2009EUR") == "1 000 EUR"


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(lambda console: console.print(HOSTILE), id="a line"),
        pytest.param(lambda console: console.print(HOSTILE, style="red"), id="a line in a colour"),
        pytest.param(lambda console: console.print("by", HOSTILE), id="a part of a line"),
    ],
)
def test_a_screen_writes_a_text_as_it_is_and_on_one_line(show):
    written = drawn(show)

    assert SAFE in written
    assert written.count("\n") == 1
    assert is_harmless(written)


@pytest.mark.parametrize("place", ["title", "heading", "cell", "list"])
def test_a_table_holds_a_text_in_its_cell(monkeypatch, place):
    value = [HOSTILE] if place == "list" else HOSTILE if place == "cell" else "x"
    title = HOSTILE if place == "title" else "title"
    heading = HOSTILE if place == "heading" else "heading"

    def show(console):
        monkeypatch.setattr(screen, "console", console)
        screen.table(title, [heading], [[value]])

    written = drawn(show)

    assert SAFE in written
    assert is_harmless(written)
    assert len(written.strip().splitlines()) == 5


@pytest.fixture
def hostile_account(ledger):
    account = ledger.open_account(HOSTILE[:50], credits=100)
    with transaction() as ctx:
        body = json.dumps(objects.event(about=objects.customer(email=HOSTILE), note=HOSTILE))
        inbox.store(ctx, events.parse(body.encode()), source="webhook", received_at=ctx.now)
    return account


@pytest.mark.parametrize(
    "words",
    [
        ("accounts", "show", "1"),
        ("accounts", "explain", "1"),
        ("dead-letters", "list"),
        ("stripe", "events", "--state", "received"),
        ("stripe", "show", "1"),
    ],
    ids=" ".join,
)
def test_a_command_prints_what_strangers_wrote_without_their_codes(
    billing, billing_json, hostile_account, debit, words
):
    debit(account_id=1, operation=HOSTILE, key=f"k{HOSTILE}")

    assert is_harmless(billing(*words))
    assert isinstance(billing_json(*words), dict)


def test_json_holds_the_text_itself_and_no_code(billing, billing_json, hostile_account):
    printed = billing("stripe", "show", "1", "--json")

    assert is_harmless(printed)
    assert json.loads(printed)["payload"]["note"] == HOSTILE


@pytest.mark.parametrize(
    "words",
    [
        ("accounts", "show", HOSTILE),
        ("accounts", "suspend", HOSTILE, "--because", "x"),
        (HOSTILE,),
        ("accounts", HOSTILE),
        ("transfers", "confirm", "1", HOSTILE, "--as", HOSTILE, "--version", "1"),
    ],
    ids=["show", "suspend", "command", "subcommand", "confirm"],
)
def test_an_error_quotes_what_was_typed_without_its_codes(hostile_account, words):
    from click.testing import CliRunner

    from cli.main import main

    answer = CliRunner().invoke(main, words)

    assert answer.exit_code in {1, 2}
    assert is_harmless(answer.output), answer.output


STRANGE_ENTRY = writing.entry(
    details=writing.batch(
        writing.transaction(remittance="<Ustrd>Anna \u202e[red]x[/red]\u200b\n=1+1</Ustrd>")
    )
)


def test_a_statement_is_shown_without_the_payers_codes(billing, tmp_path):
    file = tmp_path / "\u202e.xml"
    file.write_bytes(writing.camt(STRANGE_ENTRY).encode())

    assert is_harmless(billing("statements", "read", str(file)))


def test_the_report_of_transfers_holds_no_override_of_directions():
    end = transfer_report.LineEnd(next(iter(transfer_report.NAMES)), HOSTILE, "EUR", 1, 100)
    page = transfer_report.page([], [], now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), ends=[end])

    assert is_harmless(page)


def test_a_log_entry_for_people_is_one_line_of_plain_text(capsys):
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logs.configure("INFO")
        logs.logger("x").warning("seen", reason=HOSTILE, facts={"a": HOSTILE})
        logging.getLogger("kombu").warning("peer said %s", HOSTILE)
        written = capsys.readouterr().err
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

    assert written.count("\n") == 2
    assert is_harmless(written)


def test_only_the_screen_makes_a_console_of_rich():
    files = Path(cli.__file__).parent.rglob("*.py")

    assert [f.name for f in files if "import Console" in f.read_text()] == ["screen.py"]


def test_a_terminal_that_can_not_show_a_letter_is_no_reason_to_stop():
    import subprocess

    program = Path(sys.executable).with_name("billing")
    words = [program, "accounts", "show", "Łódź"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LANG": "C"}

    answer = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr


def test_an_operator_without_a_name_is_known_by_its_number(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)

    assert screen.operator() == "operator:uid-54321"
