"""`billing transfers`: the review queue, the decisions of reviewers, and the report."""

import json

import pytest
from click.testing import CliRunner

from billing.bank.matching.types import ENGINE_VERSION
from cli.main import main
from tasks.bank import announce_transfer, bill_due, confirm_transfer, match_due, reject_transfer
from tests.billing.bank.story import line

BY_DEV = ("--as", "dev@example.com")


def billing(*arguments):
    return CliRunner().invoke(main, ["transfers", *map(str, arguments)])


@pytest.fixture
def acme(shop):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(line("89.00", text="first month", payer="<b>Anna</b> [red]"))
    return shop


def listed():
    return json.loads(billing("review", "--json").output)["transfers"]


def test_the_queue_shows_reasons_and_candidates(acme):
    [one] = listed()

    assert (one["id"], one["amount_minor"], one["version"]) == (1, 8900, 2)
    assert one["candidates"][0]["parts"] == [[1, 8900]]
    assert "1 open invoices" in one["review"]
    shown = billing("review").output
    assert "89.00 EUR" in shown
    assert "[red]" in shown.replace("\n", "")


def test_confirming_names_the_invoice_by_its_number(acme):
    result = billing("confirm", 1, "bt-2026-000001", *BY_DEV, "--version", 2)

    assert (result.exit_code, result.output) == (0, "transfer 1: done\n")
    assert acme.invoices("acme") == [("paid", 8900, 8900)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(("confirm", 1, "BT-2026-000009", "--version", 2), "UnknownInvoice", id="no"),
        pytest.param(("confirm", 9, "BT-2026-000001", "--version", 2), "UnknownTransfer", id="9"),
        pytest.param(("confirm", 1, "BT-2026-000001", "--version", 1), "TransferChanged", id="old"),
        pytest.param(("split", 1, "BT-2026-000001", "--version", 2), "NUMBER=AMOUNT", id="form"),
        pytest.param(("split", 1, "BT-2026-000001=1e9", "--version", 2), "BadAmount", id="1e9"),
        pytest.param(("split", 1, "BT-2026-000001=-1", "--version", 2), "BadAmount", id="minus"),
        pytest.param(
            ("undo", 1, "--because", "x", "--version", 2), "NothingToUndo", id="nothing to undo"
        ),
    ],
)
def test_an_impossible_request_is_refused_in_words(acme, arguments, says):
    result = billing(*arguments, *BY_DEV)

    assert result.exit_code == 1
    assert says in result.output
    assert "Traceback" not in result.output


def test_only_staff_decide_here_too(acme):
    acme.hire("x@example.com", role="owner")

    result = billing("confirm", 1, "BT-2026-000001", "--as", "x@example.com", "--version", 2)

    assert "NotAllowed" in result.output


def test_a_transfer_is_split_undone_and_given_to_another(acme):
    billing("split", 1, "BT-2026-000001=50.00", "--credit", 1, *BY_DEV, "--version", 2)
    assert (acme.invoices("acme"), acme.credit("acme")) == ([("open", 5000, 8900)], 3900)

    billing("undo", 1, "--because", "no", *BY_DEV, "--version", 3)
    assert (acme.invoices("acme"), acme.credit("acme")) == ([("open", 0, 8900)], 0)
    billing("keep-as-credit", 1, 1, "--because", "later", *BY_DEV, "--version", 4)
    assert acme.credit("acme") == 8900
    billing(
        "reassign",
        *(1, "--invoice", "BT-2026-000001", "--because", "now", *BY_DEV, "--version", 5),
    )
    assert (acme.invoices("acme"), acme.credit("acme")) == ([("paid", 8900, 8900)], 0)


def test_credit_is_used_and_a_refund_asked_for(acme):
    billing("keep-as-credit", 1, 1, "--because", "later", *BY_DEV, "--version", 2)

    assert "89.00 EUR used" in billing("use-credit", "BT-2026-000001", *BY_DEV).output
    assert "done" in billing("refund", 1, "1.00", "--because", "x", *BY_DEV, "--version", 3).output


@pytest.mark.parametrize(
    ("command", "state"),
    [("duplicate", "duplicate"), ("ignore", "ignored"), ("reject", "waiting")],
)
def test_a_transfer_that_pays_nothing_leaves_the_queue(acme, command, state):
    billing(command, 1, "--because", "no", *BY_DEV, "--version", 2)

    assert acme.transfers() == [(state, 8900)]


def test_the_report_is_one_page_with_amounts_and_without_the_payers_markup(acme, tmp_path):
    page = tmp_path / "report.html"

    billing("report", page)

    written = page.read_text()
    assert "Waiting for review" in written
    assert "89.00 EUR" in written
    assert "<b>Anna" not in written
    assert "&lt;b&gt;Anna&lt;/b&gt;" in written


def test_the_tasks_of_the_main_app_announce_confirm_and_reject(shop, monkeypatch):
    account = shop.open_account("acme", status="trial")
    plan = shop.plan("starter")
    announce_transfer.apply(kwargs={"account_id": account, "plan_id": plan, "key": "k"}, throw=True)
    assert shop.status("acme") == "pending_payment"
    shop.receive(line("89.00", currency="USD", text="one"))

    shown = listed()
    assert shown == [] or shown[0]["candidates"] == []
    match_due.apply(throw=True)
    bill_due.apply(throw=True)


def test_a_confirmation_by_message_is_a_reviewers_decision(acme):
    told = {"transfer_id": 1, "version": 2, "user_id": 1}
    reject_transfer.apply(kwargs={**told, "reason": "not theirs"}, throw=True)

    confirm_transfer.apply(kwargs={**told, "version": 3, "invoice_id": 1}, throw=True)

    assert acme.invoices("acme") == [("paid", 8900, 8900)]
    assert [actor for *_, actor in acme.decisions()] == ["rule", "user:1", "user:1"]


def test_the_run_command_matches_new_transfers(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.match = lambda: None
    shop.receive(line("89.00", reference=invoice.reference))

    assert json.loads(billing("run", "--json").output)["settled"] == 1


def test_every_decision_about_a_transfer_is_told_with_its_rule_and_reason(acme):
    billing("reject", 1, "--because", "not theirs", *BY_DEV, "--version", 2)

    told = json.loads(billing("show", 1, "--json").output)["decisions"]

    assert [(one["rule"], one["outcome"], one["engine_version"]) for one in told] == [
        ("S4", "suggest", ENGINE_VERSION),
        ("person", "reject", ENGINE_VERSION),
    ]
    assert "not theirs" in billing("show", 1).output


def test_a_shortfall_is_accepted_and_a_dry_run_changes_nothing(acme):
    billing(
        "split", 1, "BT-2026-000001=88.85", "--credit", acme.ids["acme"], *BY_DEV, "--version", 2
    )
    words = ("accept-shortfall", "BT-2026-000001", "--because", "the bank's fee", *BY_DEV)

    dry = billing(*words, "--dry-run")
    before = acme.invoices("acme")
    done = billing(*words)

    assert "0.15 EUR would be accepted as missing" in dry.output
    assert "0.15 EUR accepted as missing" in done.output
    assert (before, acme.invoices("acme")) == ([("open", 8885, 8900)], [("paid", 8885, 8900)])


def test_a_shortfall_of_an_invoice_without_money_is_refused_by_name(acme):
    words = ("accept-shortfall", "BT-2026-000001", "--because", "the bank's fee", *BY_DEV)

    result = billing(*words)

    assert result.exit_code == 1
    assert "PartsRefused" in result.output
