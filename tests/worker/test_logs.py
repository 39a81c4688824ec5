"""Log lines are for machines or for people, and never quote a message: not in a traceback, not from a library."""

import json
import logging

import pytest
import sqlalchemy as sa

from worker import logs
from worker.settings import Settings
from worker.task import Dead

SECRET = "the-secret-of-acme"


@pytest.fixture
def logged(monkeypatch, capsys):
    """Configures logging as a worker does, in one form, and gives what was written."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def configure(log_format):
        monkeypatch.setattr(
            logs,
            "settings",
            lambda: Settings.model_construct(log_format=log_format, log_level="INFO"),
        )
        logs.configure()
        return lambda: capsys.readouterr().err

    yield configure
    root.handlers[:] = handlers
    root.setLevel(level)


def break_over(secret):
    try:
        int(secret)
    except ValueError as error:
        raise KeyError(secret) from error


def test_json_is_one_object_a_line_with_event_level_logger_and_time(logged):
    read = logged("json")

    logs.logger("worker.task").info("task_done", task="credits.debit", took_ms=1.5)

    line = json.loads(read())
    line.pop("timestamp")
    assert line == {
        "event": "task_done",
        "level": "info",
        "logger": "worker.task",
        "task": "credits.debit",
        "took_ms": 1.5,
    }


def test_a_librarys_lines_have_the_same_form(logged):
    read = logged("json")

    logging.getLogger("kombu").warning("%s is away", "redis")

    assert json.loads(read())["event"] == "redis is away"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_tells_where_and_what_but_not_with_which_values(logged, log_format):
    read = logged(log_format)

    try:
        break_over(SECRET)
    except KeyError:
        logs.logger("worker.task").exception("task_broke")

    text = read()
    assert "in break_over" in text
    assert "builtins.KeyError" in text
    assert "builtins.ValueError" in text
    assert SECRET not in text


def test_an_error_of_a_connection_keeps_its_words(logged):
    read = logged("json")

    try:
        raise ConnectionRefusedError("127.0.0.1:6379 refused")
    except OSError:
        logs.logger("worker.transport.transport").exception("lost")

    assert "127.0.0.1:6379 refused" in json.loads(read())["exception"]


@pytest.mark.parametrize("name", ["celery.worker.strategy", "celery.app.trace", "stripe"])
def test_librarys_lines_that_carry_arguments_or_results_are_not_written(logged, name):
    read = logged("json")

    logging.getLogger(name).warning("Task credits.debit received: %s", SECRET)

    assert read() == ""


def test_an_error_of_celery_is_written_with_its_place_and_task_but_without_its_text(logged):
    read = logged("json")
    context = {"name": "credits.grant", "id": "m-1", "args": SECRET, "exc": SECRET}

    try:
        break_over(SECRET)
    except KeyError:
        trace = logging.getLogger("celery.app.trace")
        trace.exception("%(exc)s", context, extra={"data": context})

    text = read()
    line = json.loads(text)
    assert (line["event"], line["task"], line["message_id"]) == (
        "library_error",
        "credits.grant",
        "m-1",
    )
    assert "in break_over" in line["exception"]
    assert SECRET not in text


def test_the_end_of_a_task_that_is_logged_already_is_written_once(logged):
    read = logged("json")

    try:
        raise Dead("Malformed")
    except Dead:
        logging.getLogger("celery.app.trace").exception("%(exc)s", {"exc": "Dead"})

    assert read() == ""


def test_an_error_of_postgres_keeps_the_servers_words(logged, database):
    read = logged("json")
    url = database.url.set(password="wrong", username="nobody-here")

    try:
        sa.create_engine(url).connect()
    except sa.exc.OperationalError:
        logs.logger("worker.task").exception("task_broke")

    assert "nobody-here" in json.loads(read())["exception"]


def test_an_error_of_postgres_about_a_value_is_written_without_it(logged, database):
    read = logged("json")

    try:
        with database.connect() as connection:
            connection.execute(sa.text("SELECT CAST(:text AS int)"), {"text": SECRET})
    except sa.exc.DataError:
        logs.logger("worker.task").exception("task_broke")

    assert SECRET not in read()
