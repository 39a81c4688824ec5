"""The bench runs, audits its books, and says what it measured in the form that is promised."""

import json
import os
import signal
import subprocess
import sys

import pytest

#: What takes a quarter of a minute, on a busy machine.
TIMEOUT_S = 280
pytestmark = pytest.mark.timeout(300)


def run(*arguments, **options):
    """Runs the bench; one that takes too long is ended with its workers, which else go on reading."""
    command = [sys.executable, "-m", "bench", *arguments]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **piped, start_new_session=True, **options) as process:
        try:
            stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, stderr
    return subprocess.CompletedProcess(command, 0, stdout, stderr)


def bench(*arguments):
    return run(*arguments).stdout


def test_debits_are_measured_side_by_side_and_printed_as_json(redis_client):
    shown = json.loads(bench("debits", "--count", "200", "--rounds", "1", "--json"))

    rows = {row.pop("name"): row for row in shown["rows"]}
    waits = rows.pop("celery_door_at_1000")
    assert 0 < waits["p50_ms"] <= waits["p99_ms"]
    assert list(rows) == ["celery_door", "celery_door_2", "debit_many", "no_op", "naive"]
    for row in rows.values():
        assert row.keys() == {"per_second", "cpu_ms"}
        assert row["per_second"] > 0
    assert shown["ratios"].keys() >= {"celery_door/no_op", "celery_door/naive"}
    assert all(ratio > 0 for ratio in shown["ratios"].values())
    assert redis_client.dbsize() == 0, "the bench leaves nothing behind"


def test_the_inbox_and_holds_are_measured_and_the_machine_with_them():
    shown = json.loads(bench("inbox", "holds", "--count", "160", "--rounds", "1", "--json"))

    rates = {row["name"]: row["per_second"] for row in shown["rows"]}
    assert list(rates) == [
        "inbox_uniform",
        "inbox_uniform_alone",
        "one_by_one_uniform",
        "inbox_hot",
        "inbox_hot_alone",
        "one_by_one_hot",
        "hold_placed",
        "hold_captured",
    ]
    assert all(rate > 0 for rate in rates.values())
    assert shown["ratios"].keys() == {
        "inbox_uniform/one_by_one_uniform",
        "inbox_hot/one_by_one_hot",
    }
    before, *after = shown["facts"]["machine_speed"]
    assert before > 0
    assert len(after) == 2, "once after each bench"


def test_bank_is_measured_and_its_year_is_simulated():
    shown = json.loads(bench("bank", "--count", "200", "--rounds", "1", "--json"))

    rows = {row["name"]: row for row in shown["rows"]}
    assert list(rows) == [
        "bank_read_camt",
        "bank_read_mt940",
        "bank_store_lines",
        "bank_settle_transfers",
        "bank_match_year",
    ]
    assert rows["bank_read_camt"]["mb"] >= 0
    [year] = shown["facts"]["bank_year"]
    assert year["wrong_automatic"] == 0
    assert year["automatic_share"] >= 0.9


def test_stripes_events_are_measured_and_without_dj_stripe_its_row_is_absent():
    environment = {n: v for n, v in os.environ.items() if n != "BENCH_DJSTRIPE_PYTHON"}
    ran = run("stripe", "--count", "200", "--rounds", "1", "--json", env=environment)
    shown = json.loads(ran.stdout)

    (row,) = shown["rows"]
    assert row.keys() == {"name", "per_second", "cpu_ms"}
    assert (row["name"], row["per_second"] > 0) == ("stripe_events", True)
    assert shown["ratios"] == {}
    assert "dj_stripe is left out" in ran.stderr


def test_other_queues_are_measured_while_trials_end():
    shown = json.loads(bench("starving", "--count", "100", "--rounds", "1", "--json"))

    rows = {row["name"]: row for row in shown["rows"]}
    assert list(rows) == [
        "debits_alone",
        "grants_alone",
        "debits_during_sweeps",
        "grants_during_sweeps",
        "trials_swept_meanwhile",
    ]
    assert rows["grants_during_sweeps"]["p99_ms"] > 0


def test_growth_is_measured_at_once_and_at_a_hundred_times():
    environment = {**os.environ, "BENCH_GROWTH": "bank_undecided_transfers"}
    shown = json.loads(run("growth", "--json", env=environment).stdout)

    [name] = shown["ratios"]
    assert name == "bank_undecided_transfers"
    assert shown["facts"][name].keys() == {"1x", "100x"}
    assert shown["facts"][name]["100x"]["statements"] < 2


def test_a_bench_that_nobody_knows_is_refused():
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "nothing"], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 2
    assert "debits" in ran.stderr


def test_sweeps_and_reads_are_measured_too(redis_client):
    shown = json.loads(bench("sweeps", "access", "--count", "20", "--rounds", "1", "--json"))

    rows = {row["name"]: row for row in shown["rows"]}
    assert list(rows) == [
        "trials_reminded",
        "trials_ended",
        "trials_reminded_with_credits",
        "trials_ended_with_credits",
        "access_by_account",
        "access_by_key",
        "bare_select",
    ]
    assert rows["access_by_key"]["p99_ms"] > 0
    assert "memory_mb" in shown["ratios"]
