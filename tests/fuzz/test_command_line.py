"""Whatever is typed behind `billing` ends in an answer or a sentence, never in a traceback."""

import contextlib
import tempfile

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.main import main
from tests.seeds import part

#: Commands that start servers, do not end by themselves, or change the schema or the server's roles.
LEFT_OUT = {"alive", "demo", "migrate", "relay", "roles", "run", "stack"}
#: They print statements for Postgres, with the name of a role as it was typed.
PRINTS_SQL = {"allow-app"}
HOSTILE = (
    "", "0", "-1", "1", "9" * 30, "1e400", "nan", "\x1b[2J", "\u202e", "\ud800", "a" * 5000, "'; --",
    "%s", "{}", "--", "-", "/", "..", "/dev/null/x", "cus_1", "price_1", "evt_1", "BT-1=1", "1.005",
    "2026-02-30", "acme", "EUR", "\0",
)  # fmt: skip
NO_MATTER = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


def leaves(command, words):
    """Every command with the words that lead to it."""
    if not isinstance(command, click.Group):
        return [(words, command)]
    context = click.Context(command)
    names = [name for name in command.list_commands(context) if (*words, name)[0] not in LEFT_OUT]
    return [
        leaf
        for name in names
        for leaf in leaves(command.get_command(context, name), (*words, name))
    ]


COMMANDS = leaves(main, ())


@st.composite
def typed(draw):
    """The words of a command, with values of any kind for its arguments and options."""
    value = st.sampled_from(HOSTILE) | st.text(max_size=20) | st.integers().map(str)
    words, command = draw(st.sampled_from(COMMANDS))
    line = list(words)
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            count = draw(st.integers(0, 3)) if parameter.nargs == -1 else 1
            line += [draw(value) for _ in range(count)]
        elif draw(st.booleans()) and "--help" not in parameter.opts:
            line.append(parameter.opts[-1])
            if not parameter.is_flag:
                line.append(draw(value))
    return line


def run(**options):
    @settings(deadline=None, database=None, suppress_health_check=NO_MATTER, **options)
    @given(typed())
    def check(line):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            answer = CliRunner().invoke(main, line)
        assert answer.exit_code in {0, 1, 2}, line
        is_answered = answer.exception is None or isinstance(answer.exception, SystemExit)
        assert is_answered, (line, answer.exc_info)
        shown = answer.output if line[0] not in PRINTS_SQL else ""
        assert all(c.isprintable() or c in "\n\t" for c in shown), line

    check()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["accounts", "show", "a\0"], "has a character that can't be stored"),
        (["statements", "import", "\0"], "has a character that can't be stored"),
        (["accounts", "show", "a\ud800"], "has a character that can't be stored"),
    ],
)
def test_a_value_that_can_not_be_stored_is_refused_in_words(database, redis_client, line, sentence):
    answer = CliRunner().invoke(main, line)

    assert answer.exit_code == 1
    assert sentence in answer.output


def test_any_words_behind_a_command_are_answered(database, redis_client):
    run(max_examples=100, derandomize=True)


@pytest.mark.long
def test_many_words_behind_commands_are_answered(database, redis_client):
    run(max_examples=part(5_000))
