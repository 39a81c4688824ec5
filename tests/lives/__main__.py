"""Run many lives: `python -m tests.lives --lives 1000 --seed 7 --workers 2`."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path


def write(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def _servers():
    """A database and a Redis of our own, as in the tests."""
    folder = Path(tempfile.mkdtemp(prefix="billing-lives-"))
    os.environ["BILLING_DATA"] = os.environ["BILLING_ALIVE_DIR"] = str(folder)
    try:
        from devstack import running_stack

        with running_stack(folder, durable=False) as urls:
            os.environ.update(urls.environment())
            from worker import schema
            from worker.database import engine

            schema.upgrade()
            yield
            engine().dispose()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.lives", description=__doc__)
    parser.add_argument("--lives", type=int, default=100)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first life; the next has one more"
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes, with servers of their own"
    )
    parser.add_argument("--show", type=int, default=5, help="violations that are shown whole")
    options = parser.parse_args()
    if options.workers > 1:
        sys.exit(_in_processes(options))
    from tests.lives.run import run

    with _servers():
        result = run(
            range(options.seed, options.seed + options.lives), show=options.show, tell=write
        )
    write(f"{result.lives} lives, {len(result.violations)} violations, {result.pairs} pairs")
    for what, count in result.reached.most_common():
        if isinstance(what, str):
            write(f"{count:7} {what}")
    sys.exit(1 if result.violations else 0)


def _in_processes(options):
    share = -(-options.lives // options.workers)
    command = [sys.executable, "-m", "tests.lives", "--lives", str(share), "--show"]
    running = [
        subprocess.Popen([*command, str(options.show), "--seed", str(options.seed + n * share)])
        for n in range(options.workers)
    ]
    return max(process.wait() for process in running)


if __name__ == "__main__":
    main()
