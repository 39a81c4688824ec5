"""The bench runs, audits its books, and says what it measured in the form that is promised."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from bench import measure, one_by_one

#: What takes a quarter of a minute, on a busy machine.
TIMEOUT_S = 280
pytestmark = pytest.mark.timeout(300)


def run(*arguments, **options):
    """Runs the bench; one that takes too long is ended with its workers, which else go on reading."""
    command = [sys.executable, "-m", "bench", "--seconds", "0", *arguments]
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
    assert list(rows) == [
        "celery_door",
        "celery_door_2",
        "debit_many",
        "celery_door_30k_accounts",
        "celery_door_metadata",
        "no_op",
        "no_op_2",
        "no_op_solo",
        "naive",
        "naive_2",
        "naive_solo",
    ]
    for row in rows.values():
        assert row.keys() == {"per_second", "cpu_ms", "low", "high"}
        assert 0 < row["low"] <= row["per_second"] <= row["high"]
    for kind in ("no_op", "naive"):
        peer = max([name for name in rows if name.startswith(kind)], key=lambda n: rows[n]["low"])
        assert f"celery_door/{peer}" in shown["ratios"], "the fastest way of the stock app"
    assert all(ratio > 0 for ratio in shown["ratios"].values())
    assert redis_client.dbsize() == 0, "the bench leaves nothing behind"


def test_the_inbox_and_holds_are_measured_and_the_machine_with_them():
    shown = json.loads(bench("inbox", "holds", "--count", "160", "--rounds", "2", "--json"))

    rates = {row["name"]: row["per_second"] for row in shown["rows"]}
    assert list(rates) == [
        "inbox_uniform",
        "inbox_uniform_alone",
        "inbox_hot",
        "inbox_hot_alone",
        "inbox_30k_accounts",
        "one_by_one_uniform",
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
        "bank_import_whole",
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
    assert row.keys() == {"name", "per_second", "cpu_ms", "low", "high"}
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


def test_a_row_of_growth_that_nobody_knows_is_refused():
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "growth"],
        env={**os.environ, "BENCH_GROWTH": "bank_settle"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 1
    assert "BENCH_GROWTH names no row: ['bank_settle']" in ran.stderr


def test_a_bench_that_nobody_knows_is_refused():
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "nothing"], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 2
    assert "debits" in ran.stderr


def test_renewals_delivery_senders_and_backfill_are_measured():
    names = ("renewals", "delivery", "senders", "backfill")
    shown = json.loads(bench(*names, "--count", "100", "--rounds", "1", "--json"))

    assert [row["name"] for row in shown["rows"]] == [
        "events_delivered",
        "events_delivered_slow",
        "send_message",
        "send_messages_together",
        "send_row",
        "send_rows_together",
        "stripe_backfill",
        "renewals",
        "renewals_with_rollover",
    ]
    assert all(row["per_second"] > 0 for row in shown["rows"])


def test_the_cpu_of_a_process_counts_once_however_often_it_is_named():
    own = psutil.Process()
    with subprocess.Popen([sys.executable, "-c", "sum(range(10**6)); input()"], stdin=-1) as child:
        child_process = psutil.Process(child.pid)
        once = measure._cpu_s([own])
        twice = measure._cpu_s([own, own, child_process])
        child.communicate(b"\n")

    assert twice - once < 0.5 * once


def test_a_run_that_is_too_short_is_repeated_with_more(monkeypatch):
    monkeypatch.setattr(measure, "LONG_ENOUGH_S", 5.0)
    counts = []

    def measured(count):
        counts.append(count)
        return measure.Row("x", per_second=100.0, cpu_ms=1.0)

    measure.lasting(measured, 10)

    assert counts[0] == 10
    assert 500 <= counts[-1] < 1000


def test_the_median_shows_the_spread_of_its_rounds():
    rows = [measure.Row("x", rate, 1.0) for rate in (30.0, 10.0, 20.0)]

    row = measure.median(rows)

    assert (row.per_second, row.low, row.high) == (20.0, 10.0, 30.0)


def test_without_pgbench_its_rows_are_left_out_with_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(one_by_one, "_program", lambda: None)

    assert one_by_one.rows() == []
    assert "pgbench is missing" in capsys.readouterr().err


def test_sweeps_and_reads_are_measured_too(redis_client):
    shown = json.loads(bench("sweeps", "access", "--count", "20", "--rounds", "1", "--json"))

    rows = {row["name"]: row for row in shown["rows"]}
    assert list(rows) == [
        "access_by_account",
        "access_by_key",
        "bare_select",
        "trials_reminded",
        "trials_ended",
        "trials_reminded_with_credits",
        "trials_ended_with_credits",
    ]
    assert rows["access_by_key"]["p99_ms"] > 0
    assert "memory_mb" in shown["ratios"]
