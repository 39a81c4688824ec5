"""`billing credits …`: what beat does, by hand; and a dry run that tells and changes nothing."""

import json

import pytest
from click.testing import CliRunner

from cli import credits as commands
from tasks import credit_cycles


def run(*words):
    result = CliRunner().invoke(commands.credits, [*words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def acme(ledger):
    """An account that is two boundaries behind by the real clock, with an expired gift."""
    from worker import clock

    ledger.now = clock.now()
    ledger.pass_time(days=-70)
    ledger.open_account("acme")
    ledger.seed("acme")
    ledger.grant("acme", 5, key="gift", expires_at=clock.now().replace(year=2099))
    ledger.open_account("forgotten", created_at=clock.now())
    return ledger


@pytest.mark.parametrize(
    ("command", "what"),
    [
        pytest.param("renew", ["renewed", "renewed"], id="renewals"),
        pytest.param("expire", ["renewed", "renewed"], id="expiry, of the lots that are due"),
        pytest.param("repair", ["begun"], id="repairs"),
    ],
)
def test_a_dry_run_says_what_the_run_then_does(acme, command, what):
    before = acme.history("acme")

    rehearsed = json.loads(run(command, "--dry-run", "--json"))
    assert (acme.history("acme"), acme.see("forgotten").entries) == (before, [])
    done = json.loads(run(command, "--json"))

    assert [one["what"] for one in rehearsed["swept"]] == what
    assert [one["granted"] for one in rehearsed["swept"]] == [
        one["granted"] for one in done["swept"]
    ]
    assert json.loads(run(command, "--json"))["swept"] == []


def test_people_get_a_table(acme):
    assert "would be done" in run("renew", "--dry-run")


def test_the_tasks_say_how_much_they_did(acme):
    assert credit_cycles.renew_due.run() == {"renewed": 2}
    assert credit_cycles.expire_due.run() == {}
    assert credit_cycles.repair_calendars.run() == {"begun": 1}
    assert credit_cycles.repair_calendars.run() == {}
