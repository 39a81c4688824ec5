"""A person suspends, reactivates and cancels by command, with every effect of such a change."""

import json

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from cli.main import main
from models.accounts import StatusChange
from worker import clock
from worker.database import transaction


@pytest.fixture
def acme(life):
    """An account in trial by the real clock, with its credits."""
    life.now = clock.now()
    life.try_out("acme")
    life.seed("acme")
    return life


def billing(*words, exit_code=0):
    result = CliRunner().invoke(main, ["accounts", *words])
    assert result.exit_code == exit_code, (result.output, result.exception)
    return result.output


def changes():
    rows = select(StatusChange.status_from, StatusChange.status_to, StatusChange.actor)
    with transaction() as ctx:
        found = ctx.session.execute(rows.order_by(StatusChange.id)).all()
    return [(before, after, actor.partition(":")[0]) for before, after, actor in found]


def test_a_suspension_by_command_is_one_by_hand_and_is_reactivated_by_command(acme):
    assert billing("suspend", "acme") == "acme: went from trial to suspended (manual)\n"
    assert billing("suspend", "acme") == "acme: is suspended (manual) already\n"
    assert billing("reactivate", "acme") == "acme: went from suspended to trial\n"

    assert changes() == [("trial", "suspended", "operator"), ("suspended", "trial", "operator")]
    assert acme.lots("acme") == {"trial": 1000}


def test_a_cancellation_by_command_ends_the_trial_and_its_credits(acme):
    answer = json.loads(billing("cancel", str(acme.ids["acme"]), "--json"))

    assert answer == {
        "account_id": acme.ids["acme"],
        "has_changed": True,
        "status_before": "trial",
        "status": "cancelled",
        "reasons": [],
    }
    assert (acme.trial("acme").outcome, acme.lots("acme")) == ("cancelled", {})


@pytest.mark.parametrize("first", ["trial", "cancelled"])
def test_a_reactivation_by_command_activates_with_the_plans_credits(acme, first):
    if first == "cancelled":
        billing("cancel", "acme")

    billing("reactivate", "acme")

    assert (acme.status("acme"), acme.lots("acme")) == ("active", {"plan": 1000})
    assert billing("reactivate", "acme") == "acme: is active already\n"


def test_a_reactivation_by_command_lifts_every_reason(acme):
    for reason in ("payment_failed", "dispute", "manual"):
        acme.change_status("acme", "suspended", reason=reason)
    billing("cancel", "acme")

    billing("reactivate", "acme")

    assert (acme.status("acme"), acme.reasons("acme")) == ("active", [])


def test_a_suspension_without_a_reason_from_before_is_lifted_too(acme):
    acme.set_host("acme", status="suspended")
    with transaction() as ctx:
        ctx.session.connection().exec_driver_sql("DELETE FROM billing.status_writes")

    billing("reactivate", "acme")

    assert (acme.status("acme"), acme.reasons("acme")) == ("active", [])


@pytest.mark.parametrize("verb", ["suspend", "reactivate", "cancel"])
def test_a_dry_run_changes_nothing(acme, verb):
    assert "would go from trial" in billing(verb, "acme", "--dry-run")

    assert (acme.status("acme"), changes()) == ("trial", [])
    assert acme.lots("acme") == {"trial": 1000}


@pytest.mark.parametrize(
    ("account", "sentence"),
    [("nobody", "No account has the id or slug nobody"), ("aws-admin", "is a system account")],
)
def test_a_change_that_can_not_be_made_says_why(acme, account, sentence):
    acme.open_account("aws-admin")

    assert sentence in billing("suspend", account, exit_code=1)
