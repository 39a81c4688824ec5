"""Many processes and threads debit at once, and nobody overspends."""

import multiprocessing
import random
import threading

import sqlalchemy as sa

from billing.usage import post
from billing_client import Debit, new_key
from worker.database import engine, transaction


def debit_25_times(account_id, results):
    outcomes = []
    for _ in range(25):
        with transaction() as ctx:
            message = Debit(account_id, "image_prompt_extraction", new_key())
            (answer,) = post.apply(ctx, [message])
        outcomes.append(answer.outcome)
    results.put(outcomes)


def test_8_processes_debiting_one_account_accept_exactly_what_it_has(ledger):
    account = ledger.open_account("acme", credits=100)
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [spawn.Process(target=debit_25_times, args=(account, results)) for _ in range(8)]

    for process in processes:
        process.start()
    outcomes = [outcome for _ in processes for outcome in results.get(timeout=60)]
    for process in processes:
        process.join()

    assert (outcomes.count("taken"), outcomes.count("refused")) == (50, 150)
    seen = ledger.see("acme")
    assert (seen.credits, seen.app_credits, len(seen.refusals)) == (0, 0, 150)
    assert ledger.audit().agrees


def run_together(work, count):
    errors = []

    def guarded(number):
        try:
            work(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_sets_over_the_same_accounts_do_not_deadlock(ledger):
    accounts = [ledger.open_account(f"a{n}", credits=1000) for n in range(20)]

    def apply_sets(seed):
        dice = random.Random(seed)
        for _ in range(10):
            messages = [
                Debit(dice.choice(accounts), "image_prompt_extraction", new_key())
                for _ in range(30)
            ]
            with transaction() as ctx:
                post.apply(ctx, messages)

    run_together(apply_sets, 4)

    total = sum(ledger.see(f"a{n}").credits for n in range(20))
    assert total == 20_000 - 4 * 10 * 30 * 2
    assert ledger.audit().agrees


def test_one_key_sent_for_two_accounts_at_once_is_each_accounts_own(ledger):
    """The second transaction breaks on the key, goes again, and has a uuid of its own."""
    accounts = [ledger.open_account(slug, credits=100) for slug in ("one", "other")]
    from billing.postgres.transient import is_transient

    for number in range(20):
        barrier = threading.Barrier(2)

        def debit(which, key=f"key:{number}", barrier=barrier):
            message = Debit(accounts[which], "image_prompt_extraction", key)
            barrier.wait()
            for _ in range(3):
                try:
                    with transaction() as ctx:
                        post.apply(ctx, [message])
                    break
                except sa.exc.IntegrityError as error:
                    assert is_transient(error)

        run_together(debit, 2)

    spent = 200 - ledger.see("one").credits - ledger.see("other").credits
    assert spent == 20 * 4
    assert ledger.audit().agrees


def test_the_app_may_insert_rows_that_point_at_an_account_while_it_is_locked(ledger):
    """The lock is FOR NO KEY UPDATE: a foreign key's check passes it."""
    account = ledger.open_account("acme", credits=100)

    with transaction() as ctx:
        post.apply(ctx.at(ledger.now), [Debit(account, "clustering", "1")])
        with engine().begin() as app:
            app.execute(sa.text("SET LOCAL lock_timeout = '1s'"))
            app.execute(
                sa.text(
                    "INSERT INTO igny8_sites (tenant_id, name, slug) VALUES (:account, 's', 's')"
                ),
                {"account": account},
            )

    assert ledger.see("acme").credits == 90
