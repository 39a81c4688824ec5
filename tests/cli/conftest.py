"""The operator's commands, run in this process on the suite's servers."""

import json

import pytest
from click.testing import CliRunner

from cli.main import main
from tests.worker.rawmessages import message, raw
from worker.app import app
from worker.debits.reader import DebitReader
from worker.transport import queues


@pytest.fixture
def billing(redis_client):
    """Runs a command, which must end with this exit code; gives what it printed."""

    def call(*words, exit_code=0):
        answer = CliRunner().invoke(main, [*words])
        assert answer.exit_code == exit_code, (answer.output, answer.exception)
        return answer.output

    return call


@pytest.fixture
def billing_json(billing):
    return lambda *words, **options: json.loads(billing(*words, "--json", **options))


@pytest.fixture
def debit(redis_client):
    """Queues a debit as a plain Celery message, and has it read."""
    app.loader.import_default_modules()
    reader = DebitReader(app, "debits@test")

    def send_and_read(**fields):
        redis_client.lpush("debits", raw(message(**fields)))
        reader.read_batch()

    send_and_read.read = reader.read_batch
    return send_and_read


@pytest.fixture
def unpriced(ledger, debit):
    """A debit of account 1 that died for want of a price."""
    ledger.open_account("acme", credits=100)
    debit(account_id=1, operation="translation", units=3, key="k1")
    return ledger


def depth(queue):
    return queues.depth(queues.connection(), queue)
